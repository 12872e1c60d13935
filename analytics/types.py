"""The words of the domain as values: outcomes, windows, verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What a look at the evidence says. Absence of evidence is ``INCONCLUSIVE``."""

    PASS = "pass"
    BREACH = "breach"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class VerdictKind(StrEnum):
    """What a verdict is about; only ``RELEASE`` may cause a rollback, the others alert."""

    RELEASE = "release"
    DRIFT = "drift"
    COST = "cost"
    RECOVERY = "recovery"
    ENROLMENT = "enrolment"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What a verdict was computed from: enough to recompute it by hand.

    Logarithms are natural. Effects are ratios minus 1 for distributions and rates (``0.2`` is
    20 % worse) and total variation in [0, 1] for categories; NaN when there is none.
    """

    alpha: float = 0.0
    attempt: int = 1
    log_e_equal: float = 0.0
    log_e_equal_sup: float = 0.0
    log_threshold_equal: float = 0.0
    log_e_margin: float = 0.0
    log_e_margin_sup: float = 0.0
    log_threshold_margin: float = 0.0
    margin: float = 0.0
    metric: str = ""
    bet: str = ""
    units_candidate: int = 0
    units_control: int = 0
    windows: int = 0
    effect: float = float("nan")
    effect_low: float = float("nan")
    effect_high: float = float("nan")
    strata: Mapping[str, float] = field(default_factory=dict)
    named_cohorts: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    assignment_log_e: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision about one release at the close of one log-time window.

    ``verdict_id`` is a hash of what was judged and of the input, so a replay gives the same id;
    ``incident_id`` is the same for every breach of one rollout attempt: one incident, one commit.
    Analysts are not shown what `is_withheld`: it differs from another verdict by too few units.
    Of a breach that does they are shown the numbers `told` instead; None: its own.
    """

    verdict_id: str
    incident_id: str
    kind: VerdictKind
    outcome: Outcome
    app_id: str
    model_id: str
    rollout_id: str
    candidate_version: str
    stable_version: str
    window_start_ms: int
    window_ms: int
    input_sha256: str
    policy_sha256: str
    arithmetic: Arithmetic
    is_withheld: bool = False
    told: Arithmetic | None = None
