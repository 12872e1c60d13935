"""What a cost should be: River's Holt-Winters, and a band from its own past errors.

Holt-Winters on the logarithm was chosen by backtest (docs/detectors/cost_forecast.md): on hourly
series it has the lowest error of those tried, beats SNARIMAX and the seasonal naive forecast,
costs a microsecond, and its state is a handful of numbers.

River fills an additive season with ``y / level`` where ``y - level`` is meant. Values are therefore
centred so that the first season's mean is 1, where the two differ by a constant that the level
takes up within a few periods.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, expm1, log1p
from typing import Final, Protocol

import numpy as np

from analytics.detectors.base import (
    Plain,
    State,
    as_float,
    as_floats,
    as_int,
    as_list,
    as_mapping,
    as_text,
)
from analytics.types import Outcome

_LOG_MAX: Final = 43.0  # exp(43) micros is 4.7e12 whole units: no cost is above it
_INITIAL_LEVEL: Final = 1.0
_SEASON_MIN: Final = 2


@dataclass(frozen=True, slots=True)
class ForecastRules:
    """What is expected of a cost series, and what is worth a message.

    `floor_micros` is the smallest excess that is worth a message. `band_alpha` is the share of
    periods that may lie above the band; a band needs ``1 / band_alpha - 1`` past errors.
    """

    period_ms: int
    floor_micros: int
    season_periods: int = 24
    band_alpha: float = 0.01
    errors_max: int = 400
    level_gain: float = 0.4
    trend_gain: float = 0.001
    season_gain: float = 0.1
    series_max: int = 4096

    def __post_init__(self) -> None:
        if self.season_periods < _SEASON_MIN or self.period_ms <= 0 or self.floor_micros < 0:
            raise ValueError("a season has two periods or more, and money and time are not below 0")
        if not self.errors_min <= self.errors_max:
            raise ValueError(f"a band at {self.band_alpha} needs {self.errors_min} past errors")

    @property
    def errors_min(self) -> int:
        """Past errors that a band needs."""
        return ceil(1.0 / self.band_alpha) - 1


@dataclass(frozen=True, slots=True)
class CostFinding:
    """One period of one cost series against its forecast; money in micro-units.

    Breach exactly if ``observed > high`` and ``observed - expected >= floor``. `is_new` tells the
    first period of a run of breaches, the one that is worth a message.
    """

    key: str
    period_start_ms: int
    outcome: Outcome
    observed_micros: int
    expected_micros: int
    low_micros: int
    high_micros: int
    floor_micros: int
    errors: int
    is_new: bool
    detail: str


class _HoltWinters(Protocol):
    """The part of ``river.time_series.HoltWinters`` that is used here."""

    def learn_one(self, y: float) -> None: ...

    def forecast(self, horizon: int) -> list[float]: ...


_COMPONENTS: Final = ("level", "trend", "season")


def _fresh(rules: ForecastRules) -> _HoltWinters:
    from river.time_series import holt_winters  # noqa: PLC0415 - River costs 3 CPU-seconds

    made: _HoltWinters = holt_winters.HoltWinters(
        alpha=rules.level_gain,
        beta=rules.trend_gain,
        gamma=rules.season_gain,
        seasonality=rules.season_periods,
    )
    return made


@dataclass(slots=True)
class CostForecast:
    """One cost series: forecast, band, standing alarm."""

    rules: ForecastRules
    _model: _HoltWinters = field(init=False)
    _first: list[float] = field(default_factory=list)  # logs of the first season
    _centre: float = 0.0
    _errors: deque[float] = field(init=False)  # observed minus forecast, logs
    _last_ms: int = -1
    _is_alarmed: bool = False

    def __post_init__(self) -> None:
        self._model = _fresh(self.rules)
        self._errors = deque(maxlen=self.rules.errors_max)

    def step(self, key: str, period_start_ms: int, cost_micros: int) -> CostFinding:
        """Judge one closed period, then learn from it; periods come in order."""
        if period_start_ms <= self._last_ms:
            raise ValueError(f"period {period_start_ms} comes after {self._last_ms}")
        self._bridge(period_start_ms)
        self._last_ms = period_start_ms
        observed = log1p(max(cost_micros, 0))
        if len(self._first) < self.rules.season_periods:
            self._collect(observed)
            return self._inconclusive(key, cost_micros, "learning the first season")
        expected = self._expected()
        error = observed - expected
        if len(self._errors) < self.rules.errors_min:
            self._errors.append(error)
            self._learn(observed)
            return self._inconclusive(
                key, cost_micros, f"{len(self._errors)} of {self.rules.errors_min} past errors"
            )
        finding = self._judge(key, cost_micros, expected)
        self._errors.append(error)
        # A breach is learned only up to the band: one wild hour must not become the forecast.
        self._learn(min(observed, log1p(max(finding.high_micros, 0))))
        return finding

    def _judge(self, key: str, cost_micros: int, expected: float) -> CostFinding:
        past = sorted(self._errors)
        rank = ceil((len(past) + 1) * (1.0 - self.rules.band_alpha)) - 1
        expected_micros = _micros(expected)
        high = _micros(expected + past[min(rank, len(past) - 1)])
        low = _micros(expected + past[max(len(past) - 1 - rank, 0)])
        excess = cost_micros - expected_micros
        is_breach = cost_micros > high and excess >= self.rules.floor_micros
        is_new = is_breach and not self._is_alarmed
        self._is_alarmed = is_breach
        return CostFinding(
            key=key,
            period_start_ms=self._last_ms,
            outcome=Outcome.BREACH if is_breach else Outcome.PASS,
            observed_micros=cost_micros,
            expected_micros=expected_micros,
            low_micros=low,
            high_micros=high,
            floor_micros=self.rules.floor_micros,
            errors=len(past),
            is_new=is_new,
            detail=f"{excess:+d} micros against the forecast",
        )

    def _inconclusive(self, key: str, cost_micros: int, reason: str) -> CostFinding:
        return CostFinding(
            key=key,
            period_start_ms=self._last_ms,
            outcome=Outcome.INCONCLUSIVE,
            observed_micros=cost_micros,
            expected_micros=0,
            low_micros=0,
            high_micros=0,
            floor_micros=self.rules.floor_micros,
            errors=len(self._errors),
            is_new=False,
            detail=reason,
        )

    def _bridge(self, period_start_ms: int) -> None:
        """Missing periods are not zero cost: up to a season they are as forecast, then all anew."""
        if self._last_ms < 0:
            return
        missing = (period_start_ms - self._last_ms) // self.rules.period_ms - 1
        if missing <= 0:
            return
        if missing > self.rules.season_periods or len(self._first) < self.rules.season_periods:
            self._model = _fresh(self.rules)
            self._first.clear()
            self._errors.clear()
            self._is_alarmed = False
            return
        for _ in range(missing):
            self._learn(self._expected())

    def _collect(self, observed: float) -> None:
        self._first.append(observed)
        if len(self._first) == self.rules.season_periods:
            self._centre = sum(self._first) / len(self._first)
            for value in self._first:
                self._learn(value)

    def _learn(self, value: float) -> None:
        self._model.learn_one(value - self._centre + _INITIAL_LEVEL)

    def _expected(self) -> float:
        return float(self._model.forecast(1)[0]) + self._centre - _INITIAL_LEVEL

    def state(self) -> State:
        parts: State = {
            name: np.array(list(vars(self._model)[name]), np.float64) for name in _COMPONENTS
        }
        return {
            "model": parts,
            "first": np.array(self._first, np.float64),
            "centre": self._centre,
            "errors": np.array(self._errors, np.float64),
            "last_ms": self._last_ms,
            "is_alarmed": int(self._is_alarmed),
        }

    def restore(self, state: Mapping[str, Plain]) -> None:
        self._first = as_floats(state["first"]).tolist()
        self._centre = as_float(state["centre"])
        self._errors = deque(as_floats(state["errors"]).tolist(), maxlen=self.rules.errors_max)
        self._last_ms = as_int(state["last_ms"])
        self._is_alarmed = bool(as_int(state["is_alarmed"]))
        self._model = _fresh(self.rules)
        if len(self._first) < self.rules.season_periods:
            return
        for value in self._first:  # River fills its components once; then they get what was kept
            self._learn(value)
        parts = as_mapping(state["model"])
        for name in _COMPONENTS:
            component: deque[float] = vars(self._model)[name]
            component.clear()
            component.extend(as_floats(parts[name]).tolist())


def _micros(logarithm: float) -> int:
    return round(expm1(min(max(logarithm, 0.0), _LOG_MAX)))


@dataclass(slots=True)
class CostMonitor:
    """The cost series of a service, each with its forecast; bounded, oldest update leaves first."""

    rules: ForecastRules
    evicted_count: int = 0
    # A restored series stays as it was kept until its next period, an hour away: making it costs
    # River, and a restart must not wait for that.
    _series: dict[str, CostForecast | Mapping[str, Plain]] = field(default_factory=dict)

    def step(self, key: str, period_start_ms: int, cost_micros: int) -> CostFinding:
        """One closed period of one series; see `CostForecast.step`."""
        series = self._taken(key)
        self._series[key] = series  # last in the dict is the last updated
        if len(self._series) > self.rules.series_max:
            del self._series[next(iter(self._series))]
            self.evicted_count += 1
        return series.step(key, period_start_ms, cost_micros)

    def state(self) -> State:
        return {
            "evicted_count": self.evicted_count,
            "series": {
                key: dict(series) if isinstance(series, Mapping) else series.state()
                for key, series in self._series.items()
            },
            "order": list(self._series),
        }

    def restore(self, state: Mapping[str, Plain]) -> None:
        self.evicted_count = as_int(state["evicted_count"])
        kept = as_mapping(state["series"])
        self._series.clear()
        for key in map(as_text, as_list(state["order"])):
            self._series[key] = as_mapping(kept[key])

    def _taken(self, key: str) -> CostForecast:
        series = self._series.pop(key, None)
        if isinstance(series, CostForecast):
            return series
        made = CostForecast(self.rules)
        if series is not None:
            made.restore(series)
        return made
