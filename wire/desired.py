"""The desired state, as Git declares it: releases, policy, rate card. Frozen values, no I/O.

`actions/desired_files.py` makes them of the repository's files; they travel through the log as
control records (canonical JSON, see `to_json`), so that a replay sees what the run saw.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from analytics.evidence.spec import BreachRules
from wire.times import DAY_MS


@dataclass(frozen=True, slots=True)
class Version:
    """A model version and the digest of its artefact (``sha256:...``)."""

    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """One attempt to replace the stable version. `share` of phones per arm, in [0, 0.5]."""

    rollout_id: str
    attempt: int
    candidate: Version
    step: int
    share: float
    salt: str
    control: str = "plain"  # plain | sham
    hold_until_ms: int = 0  # the candidate is withdrawn until then, whatever `share` says


@dataclass(frozen=True, slots=True)
class Release:
    """One `kind: ModelRelease` manifest. `path` is where it lies in the repository."""

    name: str
    path: str
    app_id: str
    model_id: str
    owner: str
    cost_center: str
    project: str
    stable: Version
    rollout: Rollout | None = None
    known_versions: tuple[str, ...] = ()  # older ones still on phones: accepted, never compared
    strata: tuple[str, ...] = ("platform", "region", "device_tier")
    class_groups: int = 0  # > 0: prediction_class is one of this many registered classes or groups
    guardrails: tuple[str, ...] = ()  # names of Policy.guardrails; empty = all of them


@dataclass(frozen=True, slots=True)
class Guardrail:
    """What may not get worse. `metric` is a registered metric, or one of the unit rates below.

    Unit metrics: ``unit.error``, ``unit.crash``, ``unit.silence``, ``label.incorrect`` (rates),
    ``unit.energy``, ``unit.data`` (distributions). `margin`: ratio minus 1, or total variation.
    """

    metric: str
    weight: float
    margin: float


@dataclass(frozen=True, slots=True)
class Gate:
    """What an automatic rollback must pass. Milliseconds; counts per 24 h of log time."""

    dry_run: bool = True
    cooldown_ms: int = 3_600_000
    rollbacks_per_day: int = 3
    concurrent_rollbacks_max: int = 2
    hold_ms: int = 14 * DAY_MS
    freezes: tuple[tuple[int, int], ...] = ()  # [start_ms, end_ms) in which nothing is committed


@dataclass(frozen=True, slots=True)
class Policy:
    """Thresholds, clocks and vocabularies. Everything that decides is here, and in Git."""

    alpha: float
    alpha_margin: float
    window_ms: int
    accepted_age_ms: int
    observation_ms: int  # the "first 24 h after enrolment"
    cohort_ms: int  # width of an enrolment cohort, for the silence guardrail
    silence_grace_ms: int  # how long after observation a bet may still arrive
    drift_window_ms: int
    regions: tuple[str, ...]
    app_versions: Mapping[str, tuple[str, ...]]
    sdk_versions: tuple[str, ...]
    guardrails: tuple[Guardrail, ...]
    gate: Gate = field(default_factory=Gate)
    evidence: BreachRules = field(default_factory=BreachRules)
    proof: str = "none"  # of a unit: "none" | "grant"


@dataclass(frozen=True, slots=True)
class Prices:
    """One dated entry of the rate card; money in micro-units of `currency`."""

    effective_from_ms: int
    currency: str
    cloud_call_micros: int  # per inference placed in the cloud or at the edge
    cellular_gb_micros: int  # per 1e9 bytes over cellular, borne by the user
    egress_gb_micros: int  # per 1e9 bytes received by phones, borne by the provider
    energy_kwh_micros: int  # per 3.6e9 mJ, borne by the user


@dataclass(frozen=True, slots=True)
class Known:
    """Names of one model that earlier states declared and this one does not; see `wire.known`."""

    app_id: str
    model_id: str
    versions: tuple[str, ...]
    app_versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Desired:
    """One commit's whole desired state. `effective_ms`: log time from which it holds.

    `known` are names of earlier states: their uploads are taken, nothing of them is judged.
    """

    commit: str
    releases: tuple[Release, ...]
    policy: Policy
    prices: tuple[Prices, ...] = ()
    effective_ms: int = 0
    known: tuple[Known, ...] = ()


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a desired state cannot be worked under: in which manifest, in which field.

    `path` is a release's file; "" stands for the one manifest of this kind.
    """

    kind: str
    path: str
    field: str
    problem: str
    accepted: str

    def __str__(self) -> str:
        return f"{self.path or self.kind}: {self.field}: {self.problem}; accepted: {self.accepted}"


def guardrails_of(release: Release, policy: Policy) -> list[Guardrail]:
    """The policy's guardrails that apply to a release; one that names none has all of them.

    A release without `class_groups` has no registered classes to compare, so ``prediction.class``
    does not apply to it; nothing else is ever left out.
    """
    return [
        g
        for g in policy.guardrails
        if (not release.guardrails or g.metric in release.guardrails)
        and (g.metric != "prediction.class" or release.class_groups > 0)
    ]


def to_json(desired: Desired) -> bytes:
    """Canonical JSON: equal values give equal bytes."""
    return msgspec.json.encode(desired, order="deterministic")


def from_json(body: bytes) -> Desired:
    """The inverse of `to_json`."""
    return msgspec.json.decode(body, type=Desired)


def sha256(desired: Desired) -> str:
    """Digest of what decides: everything but the commit and the moment."""
    decides = (desired.releases, desired.policy, desired.prices)
    return hashlib.sha256(msgspec.json.encode(decides, order="deterministic")).hexdigest()
