"""What a rate does when nothing drifts, whatever the traffic.

A rate's value is the share itself, not its logit: only what is linear in the counts has the same
expectation for every number of observations. (The logit of ``(k + 1/2) / (n - k + 1/2)`` rises
fivefold when a series without any error loses four fifths of its traffic.) How far a share may lie
from its season follows from the window's own count: sampling, a quarter of an event, so that one
event among few is no proof, and what the warm-up showed beyond sampling.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics import drift_baseline
from analytics.detectors.base import Plain, State, as_float, as_int, as_mapping
from analytics.drift_baseline import Baseline, Seasons

_EVENT_VARIANCE: Final = 0.25  # of an event, squared; keeps the residual's skew within the clip
_LEVEL_STANDARD_ERRORS: Final = 2.0
_EVENTS_PER_COLUMN: Final = 100  # with fewer a season is noise, and more traffic would show it
_OUTLIER_SD: Final = 6.0
_FITS: Final = 3  # the first, and two without the outliers' pull
_SD_FLOOR: Final = 1.0  # a residual in units of its own sd varies by that much at least


@dataclass(frozen=True, slots=True)
class RateBaseline:
    """A fitted rate. `season` is of shares; `noise` of residuals in units of their own sd.

    `extra_variance` is the share's variance beyond sampling, `level_sd` the standard error of the
    season's level, `share_min` the least share that the warm-up can tell from none.
    """

    season: Baseline
    noise: Baseline
    extra_variance: float
    level_sd: float
    share_min: float

    def expected(self, start_ms: int) -> float:
        """The season's share in the window that starts at `start_ms`, in [0, 1]."""
        return min(max(self.season.expected(start_ms), 0.0), 1.0)

    def residual(self, start_ms: int, value: float, count: int) -> float:
        """The share's distance from its season, in sd of a window of `count` observations."""
        expected = self.expected(start_ms)
        return (value - expected) / self._sd(expected, count)

    def history(
        self,
        start_ms: NDArray[np.int64],
        values: NDArray[np.float64],
        counts: NDArray[np.int64],
        *,
        window_ms: int,
    ) -> list[float]:
        """Innovations of windows in time order; the first has none, so there is one fewer."""
        items = zip(start_ms.tolist(), values.tolist(), counts.tolist(), strict=True)
        residuals = np.array([self.residual(t, v, n) for t, v, n in items])
        return self.noise.scores(start_ms, residuals, window_ms=window_ms)

    def score(self, residual: float, before: float, gap: int) -> float:
        """Innovation in long-run sd; `before` is the residual `gap` usable-window steps ago."""
        return self.noise.score(residual, before, gap)

    def tolerance_z(self, tolerance: float, start_ms: int, count: int) -> float:
        """A shift of the log odds of `tolerance`, plus the level's own error, in sd."""
        expected = self.expected(start_ms)
        odds = max(expected * (1.0 - expected), self.share_min)
        shift = tolerance * odds + _LEVEL_STANDARD_ERRORS * self.level_sd
        carried = (1.0 - self.noise.phi) / self.noise.innovation_sd
        return shift / self._sd(expected, count) * carried

    def effects(
        self, middle: float, windows: int, start_ms: int, count: int
    ) -> tuple[float, float, float]:
        """Log odds ratio of a mean residual over `windows`, with two standard errors around it."""
        expected = self.expected(start_ms)
        sd, reach = self._sd(expected, count), 2.0 * self.noise.residual_sd() / sqrt(windows)
        base = self._log_odds(expected)
        low, mid, high = (
            self._log_odds(expected + r * sd) - base
            for r in (middle - reach, middle, middle + reach)
        )
        return mid, low, high

    def _sd(self, expected: float, count: int) -> float:
        sampled = expected * (1.0 - expected) / count + _EVENT_VARIANCE / (count * count)
        return sqrt(sampled + self.extra_variance)

    def _log_odds(self, share: float) -> float:
        share = min(max(share, self.share_min), 1.0 - self.share_min)
        return log(share / (1.0 - share))

    def state(self) -> State:
        return {
            "season": self.season.state(),
            "has_season": int(bool(self.season.seasons)),
            "noise": self.noise.state(),
            "extra_variance": self.extra_variance,
            "level_sd": self.level_sd,
            "share_min": self.share_min,
        }


def restored(seasons: Seasons, state: Mapping[str, Plain]) -> RateBaseline:
    """The inverse of `RateBaseline.state`; the seasons come from the rules, as in the fit."""
    return RateBaseline(
        season=drift_baseline.restored(
            seasons if as_int(state["has_season"]) else (), as_mapping(state["season"])
        ),
        noise=drift_baseline.restored((), as_mapping(state["noise"])),
        extra_variance=as_float(state["extra_variance"]),
        level_sd=as_float(state["level_sd"]),
        share_min=as_float(state["share_min"]),
    )


def fit(
    start_ms: NDArray[np.int64],
    shares: NDArray[np.float64],
    counts: NDArray[np.int64],
    seasons: Seasons,
) -> RateBaseline:
    """Season of the shares, weighted by their counts, then noise in units of its own sd.

    All arrays have shape ``(windows,)``, in time order.
    """
    total = int(counts.sum())
    events = float((shares * counts).sum())
    can_tell = min(events, total - events) >= _EVENTS_PER_COLUMN * drift_baseline.columns(seasons)
    season = _season(start_ms, shares, counts, seasons if can_tell else ())
    expected = np.clip(season.fitted(start_ms), 0.0, 1.0)
    sampled = expected * (1.0 - expected) / counts
    floor = _EVENT_VARIANCE / (counts * counts)
    reach = _OUTLIER_SD * np.sqrt(sampled + floor)
    residuals = np.clip(shares - expected, -reach, reach)
    extra = max(float((residuals * residuals - sampled).mean()), 0.0)
    sd = np.sqrt(sampled + floor + extra)
    noise = drift_baseline.fit(start_ms, residuals / sd, (), sd_floor=_SD_FLOOR)
    return RateBaseline(
        season=season,
        noise=noise,
        extra_variance=extra,
        level_sd=noise.residual_sd()
        * float(np.sqrt((sd * counts / total) @ (sd * counts / total))),
        share_min=0.5 / total,
    )


def _level_sd(parts: NDArray[np.float64], season: Baseline) -> float:
    """Standard error of the season's value, over an hour or a week: not of its mean alone."""
    columns = drift_baseline.columns(season.seasons)
    return float(np.sqrt(parts @ parts)) * max(1.0, 0.5 * sqrt(columns))


def _season(
    start_ms: NDArray[np.int64],
    shares: NDArray[np.float64],
    counts: NDArray[np.int64],
    seasons: Seasons,
) -> Baseline:
    """Least squares, each window weighted by its count; what sampling cannot give is pulled in."""
    x = drift_baseline.design(start_ms, seasons)
    root = np.sqrt(counts)
    level = float((shares * counts).sum() / counts.sum())
    reach = _OUTLIER_SD * np.sqrt((level * (1.0 - level) + _EVENT_VARIANCE / counts) / counts)
    pulled, coefficients = shares, np.zeros(x.shape[1])
    for _ in range(_FITS):
        weighted = np.linalg.lstsq(x * root[:, None], pulled * root, rcond=None)[0]
        coefficients = np.asarray(weighted, np.float64)
        fitted = x @ coefficients
        spread = np.maximum(reach, _OUTLIER_SD * 1.4826 * float(np.median(np.abs(shares - fitted))))
        pulled = np.clip(shares, fitted - spread, fitted + spread)
    return Baseline(seasons, coefficients, 0.0, 1.0, len(shares))
