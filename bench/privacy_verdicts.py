"""Verdicts of small rollouts, a few units a window, until they breach; and pairs of those shown."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any, Final

import numpy as np

from analytics.cells import aggregate, merge
from analytics.types import Outcome, Verdict
from bench.privacy_fleet import START_MS
from streams.partial import Cohort, WindowPartial
from streams.rollout_watch import start_watch
from streams.series import UNIT_SHAPES, UnitSeries
from wire.desired import Guardrail, Policy, Release, Rollout, Version
from wire.smallest_cell import UPLOADS_MIN
from wire.times import DAY_MS, MINUTE_MS

_WINDOWS_MAX: Final = 400
_REGIONS: Final = ("DE", "FR", "US")
_COLUMNS: Final = (
    "units_candidate", "units_control", "effect", "effect_low", "effect_high", "log_e_equal_sup",
    "log_e_margin_sup", "JSONExtractFloat(arithmetic, 'assignment_log_e')",
    "JSONExtractFloat(arithmetic, 'metrics', 'inference.latency')",
)  # fmt: skip
_LIMITS: Final = {
    "log_e_equal_sup": "log_threshold_equal",
    "log_e_margin_sup": "log_threshold_margin",
}
"""A breach says at least that it reached these, which is no secret."""
_POLICY: Final = Policy(
    alpha=1e-2, alpha_margin=0.05, window_ms=MINUTE_MS, accepted_age_ms=7 * DAY_MS,
    observation_ms=DAY_MS, cohort_ms=DAY_MS, silence_grace_ms=DAY_MS, drift_window_ms=DAY_MS,
    regions=_REGIONS, app_versions={"app": ("1",)}, sdk_versions=("1",),
    guardrails=(Guardrail("inference.latency", 1.0, 0.05),),
)  # fmt: skip


@dataclass(slots=True)
class Judged:
    """Verdicts of one rollout, and the units of each arm that came in each window."""

    rollout_id: str
    verdicts: list[Verdict] = field(default_factory=list)
    came: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Told:
    """A column of two verdicts that are shown, one after the other; `limit` of a breach."""

    kind: str
    first: str
    second: str
    limit: float | None
    came: tuple[int, int]

    def isolates(self, difference: float, second: float) -> bool:
        """Whether it is told what one to nine units changed."""
        is_said = self.limit is not None and second == self.limit
        return bool(difference) and not is_said and any(0 < n < UPLOADS_MIN for n in self.came)


def judged(rng: np.random.Generator, rollouts: int) -> Iterator[Judged]:
    """Each rollout from its first window to its breach."""
    for number in range(rollouts):
        rollout_id = f"r{number:04d}"
        version = Version("2", "sha256:" + "b" * 64)
        release = Release(
            name=rollout_id, path=f"{rollout_id}.yaml", app_id="app", model_id=f"v{number:04d}",
            owner="", cost_center="", project="", stable=Version("1", "sha256:" + "a" * 64),
            rollout=Rollout(rollout_id, 1, version, 1, 0.5, "salt"),
        )  # fmt: skip
        watch = start_watch(release, _POLICY, "0" * 64, attempt=1)
        found = Judged(rollout_id)
        mean = float(rng.uniform(1, 12))
        while watch.breach is None and len(found.verdicts) < _WINDOWS_MAX:
            window, came = _window(rng, release, len(found.verdicts), mean)
            found.verdicts.append(watch.judge(window))
            found.came.append(came)
        yield found


def _window(
    rng: np.random.Generator, release: Release, number: int, mean: float
) -> tuple[WindowPartial, tuple[int, int]]:
    assert release.rollout is not None  # noqa: S101
    rollout_id = release.rollout.rollout_id
    series = [
        UnitSeries("app", release.model_id, rollout_id, arm, 1, "android", region, "mid", 0.0)
        for arm in ("candidate", "control")
        for region in _REGIONS
    ]
    key = rng.integers(0, len(series), int(rng.poisson(2 * mean)))
    slower = np.where(key < len(_REGIONS), 2.5, 1.0)
    values = (rng.lognormal(3, 0.5, len(key)) * slower).astype(np.float32)
    start = START_MS + number * MINUTE_MS
    parts = aggregate(
        key.astype(np.int32), np.zeros(len(key), np.int64), {0: (values, None)}, UNIT_SHAPES
    )
    day = start // DAY_MS * DAY_MS
    enrolled = Counter({Cohort(series[k], day): n for k, n in Counter(key.tolist()).items()})
    window = WindowPartial(
        start,
        MINUTE_MS,
        unit_series=series,
        units=merge(parts),
        enrolled=enrolled,
        bets=enrolled.copy(),
    )  # fmt: skip
    came = int((key < len(_REGIONS)).sum())
    return window, (came, len(key) - came)


def draw_verdicts(
    rollouts: Sequence[Judged], shown: Mapping[str, Sequence[Any]], count: int
) -> Iterator[Told]:
    """Pairs of verdicts of one rollout that follow each other; `shown` has thresholds by id."""
    steps = [
        (one, before, after)
        for one in rollouts
        for before, after in pairwise(
            i for i, v in enumerate(one.verdicts) if v.verdict_id in shown
        )
    ]
    breaches = [s for s in steps if s[0].verdicts[s[2]].outcome is Outcome.BREACH]
    others = [s for s in steps if s[0].verdicts[s[2]].outcome is not Outcome.BREACH]
    every = (
        _told(column, one, before, after, shown)
        for one, before, after in [*breaches, *others]
        for column in _COLUMNS
    )
    return islice(every, count)


def _told(
    column: str, one: Judged, before: int, after: int, shown: Mapping[str, Sequence[Any]]
) -> Told:
    first, second = one.verdicts[before], one.verdicts[after]
    came = np.array(one.came[before + 1 : after + 1]).sum(axis=0)
    is_breach = second.outcome is Outcome.BREACH
    limit = None
    if is_breach and column in _LIMITS:
        limit = float(shown[second.verdict_id][list(_LIMITS).index(column)])
    kind = "a breach and the verdict before" if is_breach else "two verdicts"
    asked = _asked(column, first.verdict_id), _asked(column, second.verdict_id)
    return Told(kind, asked[0], asked[1], limit, (int(came[0]), int(came[1])))


def thresholds() -> str:
    """Verdicts that are shown, with their thresholds in the order of `_LIMITS`."""
    return f"SELECT verdict_id, {', '.join(_LIMITS.values())} FROM hf.verdicts"  # noqa: S608


def _asked(column: str, verdict_id: str) -> str:
    return f"SELECT {column} FROM hf.verdicts WHERE verdict_id = '{verdict_id}'"  # noqa: S608
