"""Shiryaev-Roberts over bounded linear bets: a lasting shift of the residual, either way.

Each bet multiplies ``e = 1 + lambda * clip(+-z - tolerance, -2, 2)``. If the residual's conditional
mean stays within the tolerance, ``E[e | past] <= 1`` whatever the tails (the clip is symmetric, so
for a symmetric law clipping keeps the mean), the mixture minus the time is a supermartingale, and
the mean time to a false alarm is at least `threshold` windows. Exponential bets would need
sub-Gaussian residuals: with t5 noise they grow by 4.5 per window under no change.

Source: Shin, Ramdas, Rinaldo 2024, E-detectors, NEJSDS 2(2); Roberts 1966, Technometrics 8(3).
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.detectors.base import (
    DetectorWindow,
    Finding,
    Plain,
    State,
    as_float,
    as_floats,
    as_int,
    outcome_of,
)

LAMBDAS: Final = (0.15, 0.3, 0.45)
_CLIP: Final = 2.0
_RECOVERY_WINDOWS: Final = 32  # two standard errors of their mean are 0.35 sd
_RECOVERED_STANDARD_ERRORS: Final = 2.0


@dataclass(slots=True)
class ShiryaevRoberts:
    """Two-sided by default; `directions` (1,) watches for increases only.

    Latched from the alarm until recovered: the statistic is below the threshold again and the
    mean of the last 32 windows is within tolerance plus two standard errors. Then all bets start
    from nothing. The bets are capped, so that a long alarm does not take as long to end.
    """

    threshold: float = 1e4
    count_min: int = 30
    directions: tuple[int, ...] = (1, -1)
    name: str = "shiryaev_roberts"
    _bets: NDArray[np.float64] = field(init=False)
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECOVERY_WINDOWS))
    _sup: float = 0.0
    _windows: int = 0
    _latched: int = 0  # the direction of the standing alarm

    def __post_init__(self) -> None:
        self._bets = np.zeros((len(self.directions), len(LAMBDAS)))

    def update(self, window: DetectorWindow) -> Finding:
        if window.count >= self.count_min:
            self._bet(window)
            self._relatch(window.tolerance_z)
        return self._finding(window)

    def _bet(self, window: DetectorWindow) -> None:
        signs = np.array(self.directions, np.float64)
        gains = np.clip(signs * window.z - window.tolerance_z, -_CLIP, _CLIP)
        factors = 1.0 + np.outer(gains, np.array(LAMBDAS))
        cap = self.threshold * self._bets.size  # one bet at its cap can still carry an alarm
        self._bets = np.minimum((self._bets + 1.0) * factors, cap)
        self._recent.append(window.z)
        self._windows += 1
        self._sup = max(self._sup, float(self._bets.mean()))

    def _relatch(self, tolerance_z: float) -> None:
        statistic = float(self._bets.mean())
        if not self._latched:
            if statistic >= self.threshold:
                self._latched = self.directions[int(self._bets.mean(axis=1).argmax())]
            return
        level = self._latched * sum(self._recent) / len(self._recent)
        noise = _RECOVERED_STANDARD_ERRORS / len(self._recent) ** 0.5
        if statistic < self.threshold and level <= tolerance_z + noise:
            self._bets = np.zeros_like(self._bets)
            self._sup = 0.0
            self._latched = 0

    def _finding(self, window: DetectorWindow) -> Finding:
        outcome = outcome_of(
            count=window.count,
            count_min=self.count_min,
            statistic_sup=self._sup,
            threshold=self.threshold,
        )
        word = {1: "above", -1: "below", 0: "not apart from"}[self._latched]
        return Finding(
            detector=self.name,
            outcome=outcome,
            statistic=float(self._bets.mean()),
            statistic_sup=self._sup,
            threshold=self.threshold,
            count=window.count,
            count_min=self.count_min,
            windows=self._windows,
            direction=self._latched,
            detail=f"residual {word} its frozen baseline; z {window.z:+.2f} in this window",
        )

    def state(self) -> State:
        return {
            "bets": self._bets.copy(),
            "recent": np.array(self._recent, np.float64),
            "sup": self._sup,
            "windows": self._windows,
            "latched": self._latched,
        }

    def restore(self, state: Mapping[str, Plain]) -> None:
        self._bets = as_floats(state["bets"]).reshape(self._bets.shape)
        self._recent = deque(as_floats(state["recent"]).tolist(), maxlen=_RECOVERY_WINDOWS)
        self._sup = as_float(state["sup"])
        self._windows = as_int(state["windows"])
        self._latched = as_int(state["latched"])
