"""The files that a GitOps repository needs, as text: policy, rate card, releases.

`holdfast init` adds them to a repository, `holdfast demo` makes a repository of them.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from analytics.evidence.spec import USUAL_RULES
from wire.times import DAY_MS

DIRECTORY: Final = "holdfast"


@dataclass(frozen=True, slots=True)
class Clocks:
    """The policy's times; milliseconds."""

    window_ms: int = 60_000
    observation_ms: int = DAY_MS
    cohort_ms: int = 3_600_000
    silence_grace_ms: int = DAY_MS
    drift_window_ms: int = 900_000


@dataclass(frozen=True, slots=True)
class Model:
    """One model with a stable version and, if `candidate` is given, a rollout."""

    app_id: str
    model_id: str
    stable: str
    candidate: str
    share: float
    class_groups: int = 10
    is_qualified: bool = (
        False  # the rollout's id begins with the app: other apps have the model too
    )


# metric, share of alpha, margin (ratio minus 1; total variation for classes)
_GUARDRAILS: Final = (
    ("inference.latency", 0.2, 0.05),
    ("prediction.class", 0.2, 0.02),
    ("unit.energy", 0.1, 0.05),
    ("unit.data", 0.1, 0.05),
    ("unit.error", 0.1, 0.10),
    ("unit.crash", 0.1, 0.10),
    ("unit.silence", 0.1, 0.10),
    ("label.incorrect", 0.1, 0.10),
)


def digest_of(version: str) -> str:
    """A made-up artefact digest for an example version."""
    return "sha256:" + hashlib.sha256(version.encode()).hexdigest()


def policy_text(
    clocks: Clocks,
    *,
    regions: tuple[str, ...],
    apps: tuple[str, ...],
    app_version: str = "1.0.0",
    sdk_version: str = "0.1.0",
    dry_run: bool = True,
) -> str:
    """`kind: Policy`: thresholds, clocks, vocabularies, guardrails, gate."""
    guardrails = "\n".join(
        f"    - metric: {metric}\n      weight: {weight}\n      margin: {margin}"
        for metric, weight, margin in _GUARDRAILS
    )
    versions = "\n".join(f'    {app}: ["{app_version}"]' for app in apps)
    return f"""\
apiVersion: holdfast.dev/v1
kind: Policy
metadata:
  name: policy
spec:
  # A release that is no worse is rolled back with probability at most alpha per rollout attempt,
  # one that is at most the margin worse with probability at most alphaMargin.
  alpha: 0.0001
  alphaMargin: 0.05
  windowMs: {clocks.window_ms}
  acceptedAgeMs: {7 * DAY_MS}
  observationMs: {clocks.observation_ms}
  cohortMs: {clocks.cohort_ms}
  silenceGraceMs: {clocks.silence_grace_ms}
  driftWindowMs: {clocks.drift_window_ms}
  # A breach stands on this much, whatever its evidence: see docs/threat-model.md.
  evidence:
    breachUnitsMin: {USUAL_RULES.units_min}
    breachWindowsMin: {USUAL_RULES.windows_min}
    factorMax: {USUAL_RULES.factor_max:g}
    rareShare: {USUAL_RULES.rare_share:g}
  # Only registered names are accepted in uploads.
  regions: [{", ".join(f'"{r}"' for r in regions)}]
  appVersions:
{versions}
  sdkVersions: ["{sdk_version}"]
  guardrails:
{guardrails}
  gate:
    dryRun: {str(dry_run).lower()}
    cooldownMs: 3600000
    rollbacksPerDay: 3
    concurrentRollbacksMax: 2
    holdMs: {14 * DAY_MS}
    freezes: []
"""


def rate_card_text() -> str:
    """`kind: RateCard` with example prices, to be replaced by one's own."""
    return """\
apiVersion: holdfast.dev/v1
kind: RateCard
metadata:
  name: rate-card
spec:
  # Money in micro-units: 150 = 0.00015 EUR. These are examples: put your own contracts here.
  prices:
    - effectiveFrom: "2026-01-01T00:00:00Z"
      currency: EUR
      cloudCallMicros: 150
      cellularGbMicros: 3000000
      egressGbMicros: 50000
      energyKwhMicros: 300000
"""


def release_text(model: Model) -> str:
    """`kind: ModelRelease`: what runs, what is tried, on whom, and who pays."""
    name = f"{model.app_id}-{model.model_id}"
    rollout_id = (
        f"{name}-{model.candidate}" if model.is_qualified else f"{model.model_id}-{model.candidate}"
    )
    return f"""\
# The {model.model_id} model of the {model.app_id} app.
apiVersion: holdfast.dev/v1
kind: ModelRelease
metadata:
  name: {name}
spec:
  appId: {model.app_id}
  modelId: {model.model_id}
  owner: team-{model.app_id}@example.org
  costCenter: AI-{model.app_id}
  project: {model.app_id}
  stable:
    version: "{model.stable}"
    digest: {digest_of(model.stable)}
  candidate:
    version: "{model.candidate}"
    digest: {digest_of(model.candidate)}
  rollout:
    id: {rollout_id}
    attempt: 1
    step: 1
    share: {model.share}   # of phones get the candidate; as many are its control
    salt: "{digest_of(model.model_id + model.candidate)[7:15]}"
    control: plain
    holdUntil: ""
  strata: [platform, region, device_tier]
  guardrails: []   # empty: all of the policy
  classGroups: {model.class_groups}
"""


def repository_files(models: tuple[Model, ...], policy: str) -> dict[str, str]:
    """Path -> text of a whole repository."""
    releases = {f"releases/{m.app_id}-{m.model_id}.yaml": release_text(m) for m in models}
    return {
        f"{DIRECTORY}/policy.yaml": policy,
        f"{DIRECTORY}/rate-card.yaml": rate_card_text(),
        **releases,
    }
