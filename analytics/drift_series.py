"""Drift of one series: learn for a warm-up, freeze, then watch; alarms latch until recovered."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics import drift_baseline, drift_rates
from analytics.detectors.adwin import Adwin
from analytics.detectors.base import (
    DetectorWindow,
    Finding,
    Plain,
    State,
    as_float,
    as_floats,
    as_int,
    as_ints,
    as_list,
    as_mapping,
    as_text,
)
from analytics.detectors.shiryaev_roberts import ShiryaevRoberts
from analytics.drift_baseline import DAY_MS, WEEK_MS, Baseline, Seasons
from analytics.drift_rates import RateBaseline
from analytics.drift_statistics import (
    RATE_SHARE,
    STATISTICS,
    SeriesKind,
    SeriesWindow,
    Statistic,
    padded,
    statistics_of,
    total_variation,
)
from analytics.types import Outcome

_RECENT_WINDOWS: Final = 32
_PRIMING_WINDOWS: Final = 672  # a week: reference enough, and 2 ms a series
_RECENT_DECAY: Final = 0.9  # of pooled class counts per window: about ten windows
_ROWS_PER_COLUMN: Final = 3


@dataclass(frozen=True, slots=True)
class DriftRules:
    """How drift is watched; counts of windows, one window being `window_ms` of log time.

    A series is learning until `warmup_windows` have gone by and half of them were usable.
    `alerts_per_day` is a promise to people: more alerts are recorded, but not within the budget.
    After `relearn_windows` of a standing alarm the new level is learned as the normal one.
    """

    window_ms: int = 900_000
    warmup_windows: int = 1344  # two weeks
    seasons: Seasons = ((DAY_MS, 4), (WEEK_MS, 3))
    count_min: int = 30
    threshold: float = 1e4
    alerts_per_day: int = 10
    series_max: int = 2048
    relearn_windows: int = 1344

    def __post_init__(self) -> None:
        rows = self.warmup_windows // 2
        if rows < _ROWS_PER_COLUMN * drift_baseline.columns(self.seasons):
            raise ValueError(f"{self.warmup_windows} windows are too few for {self.seasons}")
        longest_ms = max((period for period, _ in self.seasons), default=0)
        if rows * self.window_ms < longest_ms:
            raise ValueError("half the warm-up must cover the longest season")


@dataclass(frozen=True, slots=True)
class Alarm:
    """A statistic of a series that has just been found to drift; see `DriftAlert`."""

    statistic: str
    findings: tuple[Finding, ...]
    observed: float
    expected: float
    effect: float
    effect_low: float
    effect_high: float


@dataclass(slots=True)
class _Watch:
    """One statistic after the warm-up: residual, both detectors, the standing alarm."""

    statistic: Statistic
    baseline: Baseline | RateBaseline
    rules: DriftRules
    last_ms: int
    last_residual: float
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT_WINDOWS))
    alarmed_windows: int = 0
    sr: ShiryaevRoberts = field(init=False)
    adwin: Adwin = field(init=False)

    def __post_init__(self) -> None:
        self.sr = ShiryaevRoberts(
            threshold=self.rules.threshold,
            count_min=self.rules.count_min,
            directions=self.statistic.directions,
        )
        self.adwin = Adwin(count_min=self.rules.count_min)

    def update(self, start_ms: int, value: float, count: int) -> Alarm | None:
        expected = self.baseline.expected(start_ms)
        residual = self.baseline.residual(start_ms, value, count)
        gap = max((start_ms - self.last_ms) // self.rules.window_ms, 1)
        z = self.baseline.score(residual, self.last_residual, gap)
        self.last_ms, self.last_residual = start_ms, residual
        self.recent.append(residual)
        tolerance_z = self.baseline.tolerance_z(self.statistic.tolerance, start_ms, count)
        window = DetectorWindow(start_ms, count, z, tolerance_z)
        first, second = self.sr.update(window), self.adwin.update(window)
        if first.outcome is not Outcome.BREACH:
            self.alarmed_windows = 0
            return None
        is_seconded = second.outcome is Outcome.BREACH and second.direction == first.direction
        if not self.alarmed_windows and not is_seconded:
            return None
        self.alarmed_windows += 1
        if self.alarmed_windows > 1:
            return None
        middle, windows = _since_onset(np.array(self.recent, np.float64))
        effect, low, high = self.baseline.effects(middle, windows, start_ms, count)
        return Alarm(
            statistic=self.statistic.name,
            findings=(first, second),
            observed=value,
            expected=expected,
            effect=effect,
            effect_low=low,
            effect_high=high,
        )

    def state(self) -> State:
        return {
            "baseline": self.baseline.state(),
            "last_ms": self.last_ms,
            "last_residual": self.last_residual,
            "recent": np.array(self.recent, np.float64),
            "alarmed_windows": self.alarmed_windows,
            "sr": self.sr.state(),
            "adwin": self.adwin.state(),
        }


def _since_onset(residuals: NDArray[np.float64]) -> tuple[float, int]:
    """Mean since the likeliest onset among the recent windows, and how many there are since.

    The onset maximises ``k * mean(last k)**2``, the likelihood of a step in white noise.
    """
    counts = np.arange(1, len(residuals) + 1)
    means = np.cumsum(residuals[::-1]) / counts
    k = int((counts * means * means).argmax())
    return float(means[k]), k + 1


def _watch_restored(statistic: Statistic, rules: DriftRules, state: Mapping[str, Plain]) -> _Watch:
    restored = drift_rates.restored if statistic.name == RATE_SHARE else drift_baseline.restored
    watch = _Watch(
        statistic,
        restored(rules.seasons, as_mapping(state["baseline"])),
        rules,
        as_int(state["last_ms"]),
        as_float(state["last_residual"]),
    )
    watch.recent.extend(as_floats(state["recent"]).tolist())
    watch.alarmed_windows = as_int(state["alarmed_windows"])
    watch.sr.restore(as_mapping(state["sr"]))
    watch.adwin.restore(as_mapping(state["adwin"]))
    return watch


@dataclass(slots=True)
class SeriesDrift:
    """One series of one kind. `outcome` is what the last window said, thin or learning included."""

    kind: SeriesKind
    rules: DriftRules
    outcome: Outcome = Outcome.INCONCLUSIVE
    _first_ms: int = -1
    _times: list[int] = field(default_factory=list)
    _values: list[NDArray[np.float64]] = field(default_factory=list)
    _counts: list[int] = field(default_factory=list)
    _reference: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _reference_windows: int = 0
    _recent: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    _watches: list[_Watch] = field(default_factory=list)

    @property
    def is_learning(self) -> bool:
        """Whether the baseline is not frozen yet: such a series cannot raise an alarm."""
        return not self._watches

    @property
    def is_alarmed(self) -> bool:
        """Whether an alarm stands."""
        return any(watch.alarmed_windows for watch in self._watches)

    def update(self, start_ms: int, window: SeriesWindow) -> Alarm | None:
        """The alarm that one closed window begins, the strongest if several; else None.

        One alarm stands for the whole series: while it does, no other statistic begins one.
        """
        if window.kind is not self.kind:
            raise ValueError(f"a {self.kind} series got a {window.kind} window")
        self.outcome = Outcome.INCONCLUSIVE
        count = window.n
        if count < self.rules.count_min:
            return None
        if self.is_learning:
            self._learn(start_ms, window)
            return None
        was_alarmed = self.is_alarmed
        alarms = []
        self._pool(window)
        values = statistics_of(window, self._reference).tolist()
        for watch, value in zip(self._watches, values, strict=True):
            alarm = watch.update(start_ms, value, count)
            if alarm is not None:
                alarms.append(alarm)
        self.outcome = Outcome.BREACH if self.is_alarmed else Outcome.PASS
        if any(watch.alarmed_windows > self.rules.relearn_windows for watch in self._watches):
            self._forget()
        if was_alarmed or not alarms:
            return None
        return max(alarms, key=lambda alarm: alarm.findings[0].statistic)

    def class_shift(self) -> float:
        """Total variation between the reference and about the last ten windows; NaN if none."""
        if self.kind is not SeriesKind.CATEGORY or not self._recent.sum():
            return float("nan")
        size = max(len(self._reference), len(self._recent))
        reference = np.pad(self._reference.astype(np.float64), (0, size - len(self._reference)))
        return total_variation(reference, np.pad(self._recent, (0, size - len(self._recent))))

    def _pool(self, window: SeriesWindow) -> None:
        if self.kind is SeriesKind.CATEGORY:
            size = max(len(self._recent), len(window.counts))
            self._recent = _RECENT_DECAY * np.pad(self._recent, (0, size - len(self._recent)))
            self._recent[: len(window.counts)] += window.counts

    def _learn(self, start_ms: int, window: SeriesWindow) -> None:
        if self._first_ms < 0:
            self._first_ms = start_ms
        half = self.rules.warmup_windows // 2
        if self.kind is SeriesKind.CATEGORY and self._reference_windows < half:
            before, now = padded(self._reference, window.counts)
            self._reference = before + now
            self._reference_windows += 1
            return
        self._times.append(start_ms)
        self._values.append(statistics_of(window, self._reference))
        self._counts.append(window.n)
        if len(self._times) > self.rules.warmup_windows:
            del self._times[0], self._values[0], self._counts[0]
        gone = (start_ms - self._first_ms) // self.rules.window_ms + 1
        if gone >= self.rules.warmup_windows and len(self._times) >= half:
            self._freeze()

    def _freeze(self) -> None:
        times, counts = np.array(self._times, np.int64), np.array(self._counts, np.int64)
        table, seasons = np.stack(self._values), self.rules.seasons
        for statistic, values in zip(STATISTICS[self.kind], table.T, strict=True):
            baseline = (
                drift_rates.fit(times, values, counts, seasons)
                if self.kind is SeriesKind.RATE
                else drift_baseline.fit(times, values, seasons, sd_floor=statistic.sd_floor)
            )
            last_ms = self._times[-1]
            residual = baseline.residual(last_ms, float(values[-1]), self._counts[-1])
            watch = _Watch(statistic, baseline, self.rules, last_ms, residual)
            scores = baseline.history(times, values, counts, window_ms=self.rules.window_ms)
            watch.adwin.prime(scores[-_PRIMING_WINDOWS:])
            self._watches.append(watch)
        self._times.clear()
        self._values.clear()
        self._counts.clear()

    def _forget(self) -> None:
        self._first_ms = -1
        self._reference = np.zeros(0, np.int64)
        self._reference_windows = 0
        self._recent = np.zeros(0)
        self._watches.clear()

    def state(self) -> State:
        size = len(STATISTICS[self.kind])
        return {
            "kind": self.kind.value,
            "outcome": self.outcome.value,
            "first_ms": self._first_ms,
            "times": np.array(self._times, np.int64),
            "values": np.array(self._values, np.float64).reshape(-1, size),
            "counts": np.array(self._counts, np.int64),
            "reference": self._reference.copy(),
            "reference_windows": self._reference_windows,
            "recent": self._recent.copy(),
            "watches": [watch.state() for watch in self._watches],
        }


def series_restored(rules: DriftRules, state: Mapping[str, Plain]) -> SeriesDrift:
    """The inverse of `SeriesDrift.state`, under the same rules."""
    kind = SeriesKind(as_text(state["kind"]))
    series = SeriesDrift(kind, rules, Outcome(as_text(state["outcome"])))
    series._first_ms = as_int(state["first_ms"])  # noqa: SLF001 - the other half of `state`
    series._times = as_ints(state["times"]).tolist()  # noqa: SLF001
    series._values = list(as_floats(state["values"]).reshape(-1, len(STATISTICS[kind])))  # noqa: SLF001
    series._counts = as_ints(state["counts"]).tolist()  # noqa: SLF001
    series._reference = as_ints(state["reference"])  # noqa: SLF001
    series._reference_windows = as_int(state["reference_windows"])  # noqa: SLF001
    series._recent = as_floats(state["recent"])  # noqa: SLF001
    series._watches = [  # noqa: SLF001
        _watch_restored(statistic, rules, as_mapping(kept))
        for statistic, kept in zip(STATISTICS[kind], as_list(state["watches"]), strict=False)
    ]
    return series
