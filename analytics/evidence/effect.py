"""How much worse, with an interval that holds at every look.

Every window and stratum gives a difference of shares weighted by ``h = n_c n_b / n``:
``S = sum h (F_c - F_b)``, ``V = sum h v (1 - v)`` with v the pooled share (as
``h (1/n_c + 1/n_b) = 1``), and ``S +- sqrt((V + eta) ln((V + eta) / (eta alpha^2)))``, eta = 100.
Asymptotic (coverage .988 seen at .95). Pooled histograms would show +12 % under a ramp with no
effect; this does not, because arms are compared only inside a stratum's window.

Source: Waudby-Smith et al. 2021 (asymptotic confidence sequences).
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from analytics.buckets import RATIO
from analytics.evidence.mixture import Floats, Rows
from analytics.evidence.past import Counts
from analytics.evidence.spec import EvidenceSpec, Law, State

ALPHA = 0.05
_ETA = 100.0
Interval = tuple[float, float, float]
UNKNOWN: Interval = (float("nan"), float("nan"), float("nan"))


class Effect(Protocol):
    """Sums over windows from which the effect and its interval follow."""

    sums: Floats

    def add(self, rows: Rows, candidate: Counts, control: Counts, cuts: NDArray[np.int64]) -> None:
        """Add a window; ``cuts`` (strata, quantiles) are past cells, empty if none are known."""
        ...

    def interval(self) -> Interval:
        """Effect, its lower and its upper bound; NaN when unknown."""
        ...


def half_width(variance: Floats, alpha: float) -> Floats:
    """Half-width of the time-uniform interval around a sum with this variance."""
    reach = variance + _ETA
    width: Floats = np.sqrt(reach * np.log(reach / (_ETA * alpha**2)))
    return width


class ShiftEffect:
    """Factor between matched quantiles: the shift at which both arms exceed the cut equally."""

    _SHIFTS = np.arange(-16, 49, 2)
    _QUANTILES = (0, 2, 3, 4)  # of the cuts at p50, p75, p90, p95, p99

    def __init__(self) -> None:
        self.sums: Floats = np.zeros((2, len(self._QUANTILES), len(self._SHIFTS)))

    def add(self, rows: Rows, candidate: Counts, control: Counts, cuts: NDArray[np.int64]) -> None:
        if cuts.size == 0:
            return
        cut = cuts[rows][:, self._QUANTILES]
        units_c, units_b = candidate.sum(1).astype(float), control.sum(1).astype(float)
        both = (units_c > 0) & (units_b > 0)
        reach_c, reach_b = np.cumsum(candidate, axis=1), np.cumsum(control, axis=1)
        at = np.clip(cut[:, :, None] - self._SHIFTS, 0, candidate.shape[1] - 1)
        row = np.arange(len(rows))
        n_c = np.maximum(units_c, 1.0)[:, None, None]
        n_b = np.maximum(units_b, 1.0)[:, None, None]
        share_c = 1.0 - reach_c[row[:, None], cut][:, :, None] / n_c
        share_b = 1.0 - reach_b[row[:, None, None], at] / n_b
        h = np.where(both, units_c * units_b / np.maximum(units_c + units_b, 1.0), 0.0)
        v = (n_c * share_c + n_b * share_b) / (n_c + n_b)
        self.sums[0] += (h[:, None, None] * (share_c - share_b)).sum(0)
        self.sums[1] += (h[:, None, None] * v * (1.0 - v)).sum(0)

    def interval(self) -> Interval:
        if not self.sums[1].any():
            return UNKNOWN
        width = half_width(self.sums[1], ALPHA / len(self._QUANTILES))
        lows = [self._crossing(one) for one in self.sums[0] - width]
        q = int(np.argmax(lows))  # the quantile that is surely worst; of a null, the sharpest
        high = self._crossing(self.sums[0, q] + width[q])
        return self._crossing(self.sums[0, q]), lows[q], high

    def _crossing(self, falling: Floats) -> float:
        """Factor minus 1 at which a decreasing function of the shift reaches zero."""
        falling = np.minimum.accumulate(falling)
        if falling[0] <= 0.0:
            return -1.0
        if falling[-1] > 0.0:
            return float("inf")
        i = int(np.argmax(falling <= 0.0))
        part = falling[i - 1] / (falling[i - 1] - falling[i])
        shift = self._SHIFTS[i - 1] + part * (self._SHIFTS[i] - self._SHIFTS[i - 1])
        return float(RATIO**shift) - 1.0


class RatioEffect:
    """Mantel-Haenszel ratio of two rates; the interval inverts the sum at every ratio."""

    _RATIOS = np.exp(np.linspace(np.log(0.05), np.log(50.0), 400))

    def __init__(self) -> None:
        self.sums: Floats = np.zeros(4)

    def add(self, rows: Rows, candidate: Counts, control: Counts, cuts: NDArray[np.int64]) -> None:
        units_c, units_b = candidate.sum(1).astype(float), control.sum(1).astype(float)
        units = np.maximum(units_c + units_b, 1.0)
        n_c, n_b = np.maximum(units_c, 1.0), np.maximum(units_b, 1.0)
        h = units_c * units_b / units
        v = (candidate[:, 1] + control[:, 1]) / units
        spread = h * h * v * (1.0 - v)
        self.sums += np.array([
            (h * candidate[:, 1] / n_c).sum(),
            (h * control[:, 1] / n_b).sum(),
            (spread / n_c).sum(),
            (spread / n_b).sum(),
        ])  # fmt: skip

    def interval(self) -> Interval:
        over_c, over_b, var_c, var_b = self.sums.tolist()
        if over_b <= 0.0:
            return UNKNOWN
        ratios = self._RATIOS
        width = half_width(np.maximum(ratios, 1.0) * var_c + ratios**2 * var_b, ALPHA)
        inside = np.abs(over_c - ratios * over_b) <= width
        ratio = over_c / over_b
        low = min(ratio, float(ratios[inside][0])) if inside.any() else ratio
        high = max(ratio, float(ratios[inside][-1])) if inside.any() else ratio
        bottom = -1.0 if inside[0] else low - 1.0
        top = float("inf") if inside[-1] else high - 1.0
        return ratio - 1.0, bottom, top


class VariationEffect:
    """Mass moved to the classes that earlier windows saw grow: a lower bound on the variation.

    The set is chosen before the window, so noise over many classes does not add up to a move.
    """

    def __init__(self, cells: int) -> None:
        self.sums: Floats = np.zeros(3 + cells)

    def add(self, rows: Rows, candidate: Counts, control: Counts, cuts: NDArray[np.int64]) -> None:
        units_c, units_b = candidate.sum(1).astype(float), control.sum(1).astype(float)
        n_c, n_b = np.maximum(units_c, 1.0)[:, None], np.maximum(units_b, 1.0)[:, None]
        h = units_c * units_b / np.maximum(units_c + units_b, 1.0)
        grew = self.sums[3:] > 0.0
        share_c = (candidate[:, grew] / n_c).sum(1)
        share_b = (control[:, grew] / n_b).sum(1)
        v = (units_c * share_c + units_b * share_b) / np.maximum(units_c + units_b, 1.0)
        self.sums[0] += (h * (share_c - share_b)).sum()
        self.sums[1] += (h * v * (1.0 - v)).sum()
        self.sums[2] += h.sum() if grew.any() else 0.0
        self.sums[3:] += (h[:, None] * (candidate / n_c - control / n_b)).sum(0)

    def interval(self) -> Interval:
        moved, variance, weight = self.sums[:3].tolist()
        if weight <= 0.0:
            return UNKNOWN
        width = float(half_width(np.array(variance), ALPHA))
        low, high = (moved - width) / weight, (moved + width) / weight
        return max(moved / weight, 0.0), max(low, 0.0), min(max(high, 0.0), 1.0)


def effect_of(spec: EvidenceSpec) -> Effect:
    """The effect that fits the metric's law."""
    if spec.law is Law.DISTRIBUTION:
        return ShiftEffect()
    return RatioEffect() if spec.law is Law.RATE else VariationEffect(spec.cells)


def restore_sums(effect: Effect, state: State, key: str) -> None:
    """Put snapshotted sums back."""
    effect.sums = np.array(state[key], np.float64)
