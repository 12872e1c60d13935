"""Always-on drift of many series: alerts, never rollbacks.

There is no concurrent control here. If a residual's conditional mean stays within the tolerance,
a false alarm takes at least `threshold` windows on average; whether it does is measured, not
proven, and every alert says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from typing import Final

from analytics.detectors.base import Finding, Plain, State, as_int, as_list, as_mapping, as_text
from analytics.drift_baseline import DAY_MS
from analytics.drift_series import Alarm, DriftRules, SeriesDrift, series_restored
from analytics.drift_statistics import SeriesKind, SeriesWindow
from analytics.types import Outcome

_CAVEAT: Final = (
    "No concurrent control: this says that the series left its own past, not what made it. "
    "The false-alarm rate is measured, not proven."
)


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """Which series drifts."""

    app_id: str
    model_id: str
    model_version: str
    metric: str


@dataclass(frozen=True, slots=True)
class DriftAlert:
    """A series whose alarm began in this window; it alerts again only after it has recovered.

    `effect` is a ratio minus 1 for distributions and odds, total variation in [0, 1] for
    categories (NaN bounds), since the likeliest onset; the bounds are two standard errors, no
    more. `is_within_budget`: whether the mail budget has room; the others are for the record.
    """

    key: SeriesKey
    window_start_ms: int
    statistic: str
    findings: tuple[Finding, ...]
    observed: float
    expected: float
    effect: float
    effect_low: float
    effect_high: float
    n: int
    is_within_budget: bool
    detail: str


@dataclass(frozen=True, slots=True)
class DriftTally:
    """What became of the series of one step; `inconclusive_count` were thin."""

    learning_count: int = 0
    inconclusive_count: int = 0
    pass_count: int = 0
    breach_count: int = 0


@dataclass(slots=True)
class DriftMonitor:
    """All series of a service; memory is bounded: the least recently updated leaves first."""

    rules: DriftRules
    evicted_count: int = 0
    over_budget_count: int = 0
    tally: DriftTally = field(default_factory=DriftTally)
    _series: dict[SeriesKey, SeriesDrift] = field(default_factory=dict)
    _budget_ms: int = field(init=False)  # alerts times a day, so that refilling is exact
    _refilled_ms: int = -1

    def __post_init__(self) -> None:
        self._budget_ms = self.rules.alerts_per_day * DAY_MS

    def step(
        self, window_start_ms: int, windows: Mapping[SeriesKey, SeriesWindow]
    ) -> list[DriftAlert]:
        """Alerts of one closed drift window, the strongest first."""
        self._refill(window_start_ms)
        found: list[tuple[SeriesKey, SeriesWindow, SeriesDrift, Alarm]] = []
        touched = []
        for key, window in sorted(windows.items(), key=lambda item: item[0]):
            series = self._touch(key, window.kind)
            was_learning = series.is_learning
            alarm = series.update(window_start_ms, window)
            touched.append((series, was_learning))
            if alarm is not None:
                found.append((key, window, series, alarm))
        self.tally = _tally(touched)
        found.sort(key=lambda item: (-item[3].findings[0].statistic, item[0]))
        return [self._alert(window_start_ms, *item) for item in found]

    def relearn(self, key: SeriesKey) -> None:
        """Forget a series: its present level becomes the normal one after another warm-up."""
        self._series.pop(key, None)

    def _touch(self, key: SeriesKey, kind: SeriesKind) -> SeriesDrift:
        series = self._series.pop(key, None) or SeriesDrift(kind, self.rules)
        self._series[key] = series  # last in the dict is the last updated
        if len(self._series) > self.rules.series_max:
            del self._series[next(iter(self._series))]
            self.evicted_count += 1
        return series

    def _refill(self, now_ms: int) -> None:
        if self._refilled_ms >= 0:
            gained = max(now_ms - self._refilled_ms, 0) * self.rules.alerts_per_day
            self._budget_ms = min(self._budget_ms + gained, self.rules.alerts_per_day * DAY_MS)
        self._refilled_ms = max(now_ms, self._refilled_ms)

    def _spend(self) -> bool:
        if self._budget_ms < DAY_MS:
            self.over_budget_count += 1
            return False
        self._budget_ms -= DAY_MS
        return True

    def _alert(
        self,
        window_start_ms: int,
        key: SeriesKey,
        window: SeriesWindow,
        series: SeriesDrift,
        alarm: Alarm,
    ) -> DriftAlert:
        effect, low, high = (
            (series.class_shift(), float("nan"), float("nan"))
            if series.kind is SeriesKind.CATEGORY
            else (exp(e) - 1.0 for e in (alarm.effect, alarm.effect_low, alarm.effect_high))
        )
        first, second = alarm.findings
        return DriftAlert(
            key=key,
            window_start_ms=window_start_ms,
            statistic=alarm.statistic,
            findings=alarm.findings,
            observed=alarm.observed,
            expected=alarm.expected,
            effect=effect,
            effect_low=low,
            effect_high=high,
            n=window.n,
            is_within_budget=self._spend(),
            detail=f"{alarm.statistic} {alarm.observed:.4g}, expected {alarm.expected:.4g}; "
            f"evidence {first.statistic:.0f} of {first.threshold:.0f}, ADWIN agrees "
            f"({second.detail}). {_CAVEAT}",
        )

    def state(self) -> State:
        return {
            "evicted_count": self.evicted_count,
            "over_budget_count": self.over_budget_count,
            "budget_ms": self._budget_ms,
            "refilled_ms": self._refilled_ms,
            "tally": [
                self.tally.learning_count,
                self.tally.inconclusive_count,
                self.tally.pass_count,
                self.tally.breach_count,
            ],
            "series": [
                {
                    "key": [key.app_id, key.model_id, key.model_version, key.metric],
                    "state": series.state(),
                }
                for key, series in self._series.items()
            ],
        }

    def restore(self, state: Mapping[str, Plain]) -> None:
        self.evicted_count = as_int(state["evicted_count"])
        self.over_budget_count = as_int(state["over_budget_count"])
        self._budget_ms = as_int(state["budget_ms"])
        self._refilled_ms = as_int(state["refilled_ms"])
        self.tally = DriftTally(*map(as_int, as_list(state["tally"])))
        self._series.clear()
        for item in map(as_mapping, as_list(state["series"])):
            key = SeriesKey(*map(as_text, as_list(item["key"])))
            self._series[key] = series_restored(self.rules, as_mapping(item["state"]))


def _tally(touched: list[tuple[SeriesDrift, bool]]) -> DriftTally:
    learning = sum(was_learning for _, was_learning in touched)
    watched = [series.outcome for series, was_learning in touched if not was_learning]
    return DriftTally(
        learning_count=learning,
        inconclusive_count=watched.count(Outcome.INCONCLUSIVE),
        pass_count=watched.count(Outcome.PASS),
        breach_count=watched.count(Outcome.BREACH),
    )
