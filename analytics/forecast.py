"""What an hour's use should cost, and whether it lastingly costs more.

An hour is judged by what it used, always at the same age, and every hour of a series is valued by
the same prices: those in force now. So neither a new price nor a backlog nor returning old rows
look like use. The season and the trend are fitted anew each day on the last four weeks; between
fits nothing adapts, because a forecast that adapts within hours absorbs the lasting rise that it
should show (with River's Holt-Winters +20 % was in breach for 2 or 3 of 168 hours).

Source: Page 1954, Biometrika 41 (CUSUM); Siegmund 1985, Sequential Analysis, for its run length.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics import drift_baseline
from analytics.detectors.base import (
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
from analytics.drift_baseline import DAY_MS, WEEK_MS, Baseline, Seasons
from analytics.types import Outcome

_HOUR_MS: Final = 3_600_000
_GB: Final = 1_000_000_000  # bytes
_DAY_SEASON: Final[Seasons] = ((DAY_MS, 4),)
_WEEK_SEASON: Final[Seasons] = ((DAY_MS, 4), (WEEK_MS, 3))
_SD_FLOOR: Final = 0.01  # no hour is known better than to 1 %
_Z_PLAIN: Final = 3.0  # up to here a residual counts as it is ...
_Z_WILD: Final = 5.0  # ... and above 8 with what it has above this: heavy tails are no shift
_TORN: Final = 8.0  # median deviations below, about 5 sd
_WHOLE_SHARE_MIN: Final = 0.75  # a drop that lasts is no outage
_LEVEL_GAP: Final = 6 * _HOUR_MS  # the level must not follow the shift that is looked for
_LEVEL_HOURS_MIN: Final = 24
_FIT_HOURS_MIN: Final = 100
_THRESHOLD_MIN: Final = 0.5
_OVERSHOOT: Final = 1.166  # of a normal walk over a bound, Siegmund 1985
_INTERVAL_SD: Final = 2.576  # 99 %


@dataclass(frozen=True, slots=True)
class ForecastRules:
    """What is expected of a cost series, and what is worth a message.

    `floor_micros` is the smallest hourly excess that is worth a message, `rise` the lasting rise
    that is looked for (0.2 is +20 %), `quiet_hours` the mean time between false messages were the
    noise normal. A series is learning for `learning_ms` from its first hour on.
    """

    floor_micros: int
    rise: float = 0.2
    quiet_hours: float = 5000.0
    learning_ms: int = WEEK_MS
    kept_ms: int = 4 * WEEK_MS
    relearn_ms: int = WEEK_MS
    series_max: int = 1024

    def __post_init__(self) -> None:
        if self.floor_micros <= 0 or self.rise <= 0:
            raise ValueError("floor and rise are above 0")
        if not WEEK_MS <= self.learning_ms <= self.kept_ms:
            raise ValueError("a series learns for a week or more, and keeps that")


@dataclass(frozen=True, slots=True)
class HourUse:
    """What a model's provider pays for, in one hour of use."""

    cloud_calls: int = 0
    egress_bytes: int = 0

    def __add__(self, other: "HourUse") -> "HourUse":
        return HourUse(self.cloud_calls + other.cloud_calls, self.egress_bytes + other.egress_bytes)


@dataclass(frozen=True, slots=True)
class UnitPrices:
    """What an hour is valued by, in micro-units of `currency`."""

    currency: str
    cloud_call_micros: int
    egress_gb_micros: int

    def micros(self, calls: NDArray[np.int64], egress: NDArray[np.int64]) -> NDArray[np.float64]:
        """The value of hours; both shapes ``(hours,)``."""
        value: NDArray[np.float64] = calls * float(self.cloud_call_micros) + egress * (
            self.egress_gb_micros / _GB
        )
        return value


@dataclass(frozen=True, slots=True)
class CostFinding:
    """One hour of one cost series against its forecast; money in micro-units of `currency`.

    Breach exactly if `statistic >= threshold` and ``observed - expected >= floor``, and until the
    statistic is back at 0. `is_new` tells the first hour of a breach, the one worth a message.
    """

    key: str
    hour_ms: int
    outcome: Outcome
    currency: str
    observed_micros: int
    expected_micros: int
    low_micros: int
    high_micros: int
    statistic: float
    threshold: float
    is_new: bool
    detail: str


@dataclass(slots=True)
class CostForecast:
    """One cost series: its last weeks, the fit of the day, the standing alarm."""

    rules: ForecastRules
    _hours: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _calls: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _egress: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _residuals: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    _prices: UnitPrices | None = None
    _fit: Baseline | None = None
    _fitted_day: int = -1
    _progress: float = 0.0  # the statistic as a share of its threshold
    _alarmed_ms: int = -1

    def step(self, key: str, hour_ms: int, use: HourUse, prices: UnitPrices) -> CostFinding:
        """Judge one hour of use, then keep it; hours come in order."""
        last_ms = int(self._hours[-1]) if len(self._hours) else -1
        if hour_ms <= last_ms:
            raise ValueError(f"hour {hour_ms} comes after {last_ms}")
        self._prepare(hour_ms, prices)
        now = np.array([use.cloud_calls], np.int64), np.array([use.egress_bytes], np.int64)
        micros = float(prices.micros(*now)[0])
        residual = float("nan")
        if self._fit is None:
            days = (hour_ms - int(self._hours[0])) // DAY_MS if len(self._hours) else 0
            finding = self._inconclusive(key, hour_ms, micros, prices, f"learning, day {days}")
        else:
            residual = log(micros + self.rules.floor_micros) - self._fit.expected(hour_ms)
            finding = self._judge(key, hour_ms, micros, residual, self._fit)
        self._hours = np.append(self._hours, hour_ms)
        self._calls, self._egress = np.append(self._calls, now[0]), np.append(self._egress, now[1])
        self._residuals = np.append(self._residuals, residual)
        return finding

    def _prepare(self, hour_ms: int, prices: UnitPrices) -> None:
        """Forget, and fit anew: each day, and when hours are worth something else."""
        since_ms = hour_ms - self.rules.kept_ms
        if self._alarmed_ms >= 0 and hour_ms - self._alarmed_ms >= self.rules.relearn_ms:
            since_ms = self._alarmed_ms  # what stands for so long is the normal state
            self._alarmed_ms, self._progress, self._fitted_day = -1, 0.0, -1
        keep = self._hours >= since_ms
        if not keep.all():
            self._hours, self._calls = self._hours[keep], self._calls[keep]
            self._egress, self._residuals = self._egress[keep], self._residuals[keep]
        day = hour_ms // DAY_MS
        if day == self._fitted_day and prices == self._prices:
            return
        self._fitted_day, self._prices = day, prices
        span_ms = hour_ms - int(self._hours[0]) if len(self._hours) else 0
        if span_ms < self.rules.learning_ms or len(self._hours) < _FIT_HOURS_MIN:
            self._fit = None
            return
        values = np.log(prices.micros(self._calls, self._egress) + self.rules.floor_micros)
        calm = self._calm()
        # a week's wave and a trend cannot be told apart before there were two weeks
        is_long = span_ms >= 2 * WEEK_MS
        self._fit = _fitted(self._hours[calm], values[calm], is_long=is_long)
        self._residuals = values - self._fit.fitted(self._hours)

    def _judge(
        self, key: str, hour_ms: int, micros: float, residual: float, fit: Baseline
    ) -> CostFinding:
        level = self._level(hour_ms)
        z = fit.score(residual - level, self._before(hour_ms, level, fit), 1)
        reference = 0.5 * log(1.0 + self.rules.rise) * (1.0 - fit.phi) / fit.innovation_sd
        threshold = run_length_threshold(reference, self.rules.quiet_hours)
        z = max(min(z, _Z_PLAIN), z - _Z_WILD, -_Z_PLAIN)
        carried = self._progress * threshold  # a new fit has another scale
        statistic = min(max(carried + z - reference, 0.0), 2.0 * threshold)
        self._progress = statistic / threshold
        expected = fit.expected(hour_ms) + level
        reach = _INTERVAL_SD * fit.innovation_sd
        excess = micros - self._micros(expected)
        was_alarmed = self._alarmed_ms >= 0
        is_over = statistic >= threshold and excess >= self.rules.floor_micros
        is_breach = is_over or (was_alarmed and statistic > 0.0)
        self._alarmed_ms = (self._alarmed_ms if was_alarmed else hour_ms) if is_breach else -1
        return CostFinding(
            key=key,
            hour_ms=hour_ms,
            outcome=Outcome.BREACH if is_breach else Outcome.PASS,
            currency=self._prices.currency if self._prices else "",
            observed_micros=round(micros),
            expected_micros=self._micros(expected),
            low_micros=self._micros(expected - reach),
            high_micros=self._micros(expected + reach),
            statistic=statistic,
            threshold=threshold,
            is_new=is_breach and not was_alarmed,
            detail=f"{round(excess):+d} micros in one hour of use against the forecast",
        )

    def _calm(self) -> slice:
        """The hours before the standing alarm: what it is compared with does not follow it."""
        return slice(
            np.searchsorted(self._hours, self._alarmed_ms) if self._alarmed_ms >= 0 else None
        )

    def _level(self, hour_ms: int) -> float:
        """Where the series has been in the last week against its fit, the last hours apart."""
        until_ms = hour_ms - _LEVEL_GAP
        if self._alarmed_ms >= 0:
            until_ms = min(until_ms, self._alarmed_ms)
        first, last = np.searchsorted(self._hours, [until_ms - WEEK_MS, until_ms])
        week = self._residuals[first:last]
        return float(np.median(week)) if len(week) >= _LEVEL_HOURS_MIN else 0.0

    def _before(self, hour_ms: int, level: float, fit: Baseline) -> float:
        """The residual of the hour before; an hour that is missing or torn has none."""
        if not len(self._hours) or int(self._hours[-1]) != hour_ms - _HOUR_MS:
            return 0.0
        before, reach = float(self._residuals[-1]) - level, 2.0 * fit.residual_sd()
        return 0.0 if before < -1.5 * reach else min(max(before, -reach), reach)

    def _micros(self, logarithm: float) -> int:
        return max(round(exp(logarithm)) - self.rules.floor_micros, 0)

    def _inconclusive(
        self, key: str, hour_ms: int, micros: float, prices: UnitPrices, reason: str
    ) -> CostFinding:
        return CostFinding(
            key=key,
            hour_ms=hour_ms,
            outcome=Outcome.INCONCLUSIVE,
            currency=prices.currency,
            observed_micros=round(micros),
            expected_micros=0,
            low_micros=0,
            high_micros=0,
            statistic=0.0,
            threshold=0.0,
            is_new=False,
            detail=reason,
        )

    def state(self) -> State:
        prices = self._prices
        return {
            "hours": self._hours.copy(),
            "calls": self._calls.copy(),
            "egress": self._egress.copy(),
            "residuals": self._residuals.copy(),
            "prices": [prices.currency, prices.cloud_call_micros, prices.egress_gb_micros]
            if prices
            else [],
            "fit": self._fit.state() if self._fit else {},
            "has_week": int(self._fit is not None and self._fit.seasons == _WEEK_SEASON),
            "fitted_day": self._fitted_day,
            "progress": self._progress,
            "alarmed_ms": self._alarmed_ms,
        }

    def restore(self, state: Mapping[str, Plain]) -> None:
        self._hours, self._calls = as_ints(state["hours"]), as_ints(state["calls"])
        self._egress, self._residuals = as_ints(state["egress"]), as_floats(state["residuals"])
        prices, fit = as_list(state["prices"]), as_mapping(state["fit"])
        self._prices = (
            UnitPrices(as_text(prices[0]), as_int(prices[1]), as_int(prices[2])) if prices else None
        )
        seasons = _WEEK_SEASON if as_int(state["has_week"]) else _DAY_SEASON
        self._fit = drift_baseline.restored(seasons, fit) if fit else None
        self._fitted_day = as_int(state["fitted_day"])
        self._progress = as_float(state["progress"])
        self._alarmed_ms = as_int(state["alarmed_ms"])


def _fitted(hours: NDArray[np.int64], values: NDArray[np.float64], *, is_long: bool) -> Baseline:
    """The fit of the day, without hours that an outage tore: they say nothing of the season."""
    whole = _whole(hours, values)
    return drift_baseline.fit(
        hours[whole],
        values[whole],
        _WEEK_SEASON if is_long else _DAY_SEASON,
        sd_floor=_SD_FLOOR,
        with_trend=is_long,
    )


def _whole(hours: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which hours are not far below the same hour of other days; all, if a drop lasts."""
    of_day = hours // _HOUR_MS % 24
    against = np.zeros(len(values))
    for hour in range(24):
        here = of_day == hour
        if here.any():
            against[here] = values[here] - np.median(values[here])
    spread = max(float(np.median(np.abs(against))), _SD_FLOOR)
    whole: NDArray[np.bool_] = against > -_TORN * spread
    if whole.sum() > _WHOLE_SHARE_MIN * len(hours):
        return whole
    return np.ones(len(hours), np.bool_)


def run_length_threshold(reference: float, hours: float) -> float:
    """The CUSUM threshold, in sd, at which normal noise alarms once in `hours` on average.

    Solves ``(exp(x) - x - 1) / (2 reference**2) = hours`` for ``x = 2 reference (h + 1.166)``.
    """
    target = max(2.0 * reference * reference * hours, 1e-9)
    low, high = 0.0, log(target + 2.0) + log(log(target + 2.0) + 2.0) + 2.0
    for _ in range(60):
        x = 0.5 * (low + high)
        low, high = (x, high) if exp(x) - x - 1.0 < target else (low, x)
    return max(high / (2.0 * reference) - _OVERSHOOT, _THRESHOLD_MIN)


@dataclass(slots=True)
class CostMonitor:
    """The cost series of a service, each with its forecast; bounded, oldest update leaves first."""

    rules: ForecastRules
    evicted_count: int = 0
    _series: dict[str, CostForecast] = field(default_factory=dict)

    def step(self, key: str, hour_ms: int, use: HourUse, prices: UnitPrices) -> CostFinding:
        """One hour of use of one series; see `CostForecast.step`."""
        series = self._series.pop(key, None) or CostForecast(self.rules)
        self._series[key] = series  # last in the dict is the last updated
        if len(self._series) > self.rules.series_max:
            del self._series[next(iter(self._series))]
            self.evicted_count += 1
        return series.step(key, hour_ms, use, prices)

    def state(self) -> State:
        return {
            "evicted_count": self.evicted_count,
            "series": {key: series.state() for key, series in self._series.items()},
            "order": list(self._series),
        }

    def restore(self, state: Mapping[str, Plain]) -> None:
        self.evicted_count = as_int(state["evicted_count"])
        kept = as_mapping(state["series"])
        self._series.clear()
        for key in map(as_text, as_list(state["order"])):
            self._series[key] = CostForecast(self.rules)
            self._series[key].restore(as_mapping(kept[key]))
