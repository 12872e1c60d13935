"""What a series does when nothing drifts: frozen seasons, autocorrelation, long-run spread.

Frozen, because a forecaster that adapts absorbs the shift that it should show (found: 0 % of
lasting shifts in a Holt-Winters residual). Fitted once, on the warm-up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.detectors.base import Plain, State, as_float, as_floats, as_int

DAY_MS: Final = 86_400_000
WEEK_MS: Final = 7 * DAY_MS
Seasons = tuple[tuple[int, int], ...]
"""(period in ms, harmonics) each."""

_PHI_MAX: Final = 0.95
_MAD_TO_SD: Final = 1.4826
_BLOCKS: Final = (16, 64)  # windows; what prewhitening left shows in the means of blocks
_BLOCKS_MIN: Final = 8
_SD_MARGIN: Final = 1.05
_OUTLIER_SD: Final = 4.0
_FITS: Final = 3  # the first, and two without the outliers' pull
_LEVEL_STANDARD_ERRORS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """A fitted series. `innovation_sd` is the long-run sd after prewhitening with `phi`.

    `slope_per_day` is a straight trend around `origin_ms`; 0 where none was asked for.
    """

    seasons: Seasons
    coefficients: NDArray[np.float64]
    phi: float
    innovation_sd: float
    windows: int
    slope_per_day: float = 0.0
    origin_ms: int = 0

    def expected(self, start_ms: int) -> float:
        """The season's value in the window that starts at `start_ms`."""
        return float(self.fitted(np.array([start_ms], np.int64))[0])

    def fitted(self, start_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """The season's values, shape ``(windows,)``."""
        fitted: NDArray[np.float64] = (design(start_ms, self.seasons) * self.coefficients).sum(1)
        return fitted + self.slope_per_day * _days_since(self.origin_ms, start_ms)

    def score(self, residual: float, before: float, gap: int) -> float:
        """Innovation in long-run sd; `before` is the residual `gap` usable-window steps ago."""
        carried = float(self.phi**gap)
        spread = sqrt((1.0 - carried * carried) / (1.0 - self.phi * self.phi))
        return (residual - carried * before) / (self.innovation_sd * spread)

    def scores(
        self, start_ms: NDArray[np.int64], values: NDArray[np.float64], *, window_ms: int
    ) -> list[float]:
        """Innovations of windows in time order; the first has none, so there is one fewer."""
        residuals = (values - self.fitted(start_ms)).tolist()
        gaps = np.maximum(np.diff(start_ms) // window_ms, 1).tolist()
        return [
            self.score(now, before, gap)
            for before, now, gap in zip(residuals[:-1], residuals[1:], gaps, strict=True)
        ]

    def residual(self, start_ms: int, value: float, count: int) -> float:
        """The value's distance from its season, in the value's own unit."""
        return value - self.expected(start_ms)

    def history(
        self,
        start_ms: NDArray[np.int64],
        values: NDArray[np.float64],
        counts: NDArray[np.int64],
        *,
        window_ms: int,
    ) -> list[float]:
        """`scores`, whatever the windows' counts."""
        return self.scores(start_ms, values, window_ms=window_ms)

    def effects(
        self, middle: float, windows: int, start_ms: int, count: int
    ) -> tuple[float, float, float]:
        """A mean residual over `windows`, and two standard errors around it."""
        reach = 2.0 * self.residual_sd() / sqrt(windows)
        return middle, middle - reach, middle + reach

    def tolerance_z(self, tolerance: float, start_ms: int = 0, count: int = 0) -> float:
        """A shift of `tolerance`, as it remains after prewhitening, plus the level's own error."""
        level_error = _LEVEL_STANDARD_ERRORS / sqrt(self.windows)
        return tolerance * (1.0 - self.phi) / self.innovation_sd + level_error

    def residual_sd(self) -> float:
        """Long-run sd of the residual itself: of its mean over k windows times sqrt(k)."""
        return self.innovation_sd / (1.0 - self.phi)

    def state(self) -> State:
        return {
            "coefficients": self.coefficients.copy(),
            "phi": self.phi,
            "innovation_sd": self.innovation_sd,
            "windows": self.windows,
            "slope_per_day": self.slope_per_day,
            "origin_ms": self.origin_ms,
        }


def restored(seasons: Seasons, state: Mapping[str, Plain]) -> Baseline:
    """The inverse of `Baseline.state`; the seasons come from the rules, as in the fit."""
    return Baseline(
        seasons=seasons,
        coefficients=as_floats(state["coefficients"]),
        phi=as_float(state["phi"]),
        innovation_sd=as_float(state["innovation_sd"]),
        windows=as_int(state["windows"]),
        slope_per_day=as_float(state["slope_per_day"]),
        origin_ms=as_int(state["origin_ms"]),
    )


def columns(seasons: Seasons) -> int:
    """How many coefficients a baseline of these seasons has."""
    return 1 + 2 * sum(harmonics for _, harmonics in seasons)


def design(start_ms: NDArray[np.int64], seasons: Seasons) -> NDArray[np.float64]:
    """Level and harmonics at the given times, shape ``(windows, columns)``."""
    parts = [np.ones(len(start_ms))]
    for period_ms, harmonics in seasons:
        angle = 2.0 * np.pi * (start_ms % period_ms) / period_ms  # integers until here: exact
        for k in range(1, harmonics + 1):
            parts += [np.sin(k * angle), np.cos(k * angle)]
    return np.stack(parts, axis=1)


def _days_since(origin_ms: int, start_ms: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray((start_ms - origin_ms) / DAY_MS, np.float64)


def fit(
    start_ms: NDArray[np.int64],
    values: NDArray[np.float64],
    seasons: Seasons,
    *,
    sd_floor: float,
    with_trend: bool = False,
) -> Baseline:
    """Least squares with outliers pulled in, then AR(1), then the long-run spread.

    Both arrays have shape ``(windows,)``, in time order. `sd_floor` keeps a constant series from
    having no spread at all.
    """
    x = design(start_ms, seasons)
    origin_ms = int(start_ms[len(start_ms) // 2])
    if with_trend:
        x = np.column_stack([x, _days_since(origin_ms, start_ms)])
    pulled = values
    fitted: NDArray[np.float64] = np.zeros_like(values)
    coefficients: NDArray[np.float64] = np.zeros(x.shape[1])
    for _ in range(_FITS):
        coefficients = np.asarray(np.linalg.lstsq(x, pulled, rcond=None)[0], np.float64)
        fitted = x @ coefficients
        reach = _OUTLIER_SD * max(_mad_sd(values - fitted), sd_floor)
        pulled = np.clip(values, fitted - reach, fitted + reach)
    residual = pulled - fitted
    power = float((residual * residual).sum())
    lagged = float((residual[1:] * residual[:-1]).sum())
    phi = min(max(lagged / power, 0.0), _PHI_MAX) if power > 0 else 0.0
    innovations = residual[1:] - phi * residual[:-1]
    block_sd = max(_block_sd(innovations, width) for width in _BLOCKS)
    spread = max(_mad_sd(innovations), block_sd, float(innovations.std()), sd_floor)
    season = columns(seasons)
    slope = float(coefficients[season]) if with_trend else 0.0
    return Baseline(
        seasons,
        coefficients[:season],
        phi,
        spread * _SD_MARGIN,
        len(values),
        slope,
        origin_ms if with_trend else 0,
    )


def _mad_sd(values: NDArray[np.float64]) -> float:
    return _MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))


def _block_sd(values: NDArray[np.float64], width: int) -> float:
    blocks = len(values) // width
    if blocks < _BLOCKS_MIN:
        return 0.0
    means = values[: blocks * width].reshape(blocks, width).mean(axis=1)
    return float(means.std(ddof=1)) * sqrt(width)
