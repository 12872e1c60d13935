"""River's HDDM-A on delayed labels: the share of wrong predictions rose.

Labels come as counts per window, not as a sequence; the window's labels are laid out evenly (as a
line is drawn on a grid), which adds no luck of its own, and at most `LABELS_MAX` of them per
window: more would change the answer little and cost 14 microseconds each. A window's rounding
remainder is carried to the next, so the share that the detector sees is exact in the long run.

Source: Frias-Blanco et al. 2015, Online and non-parametric drift detection methods based on
Hoeffding's bounds, IEEE TKDE 27(3).
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from analytics.detectors.base import (
    DetectorWindow,
    Finding,
    Plain,
    State,
    as_float,
    as_floats,
    as_int,
    as_ints,
    as_mapping,
    outcome_of,
)

LABELS_MAX: Final = 200
_CONFIDENCE: Final = 1e-5
_VOTE: Final = 1.0
_RECOVERY_WINDOWS: Final = 8
_MEANS: Final = ("_z", "_x_min", "_x_max")


class _Mean(Protocol):
    """The part of ``river.stats.Mean`` that is used here."""

    def get(self) -> float: ...


class _Hddm(Protocol):
    """The part of ``river.drift.binary.HDDMA`` that is used here."""

    @property
    def drift_detected(self) -> bool: ...

    def update(self, x: int) -> None: ...


def _fresh() -> _Hddm:
    from river.drift import binary  # noqa: PLC0415 - 3 CPU-seconds, for those who have labels

    made: _Hddm = binary.HDDMA(drift_confidence=_CONFIDENCE)
    return made


def _mean_of(hddm: _Hddm, name: str) -> _Mean:
    mean: _Mean = vars(hddm)[name]
    return mean


@dataclass(slots=True)
class LabelDrift:
    """Latched from the detection until the last 8 windows are back at the share before it."""

    count_min: int = 30
    name: str = "label_drift"
    _hddm: _Hddm = field(default_factory=_fresh)
    _remainder: float = 0.0
    _share_before: float = -1.0  # below 0: no alarm stands
    _recent: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_RECOVERY_WINDOWS))
    _windows: int = 0

    def update(self, window: DetectorWindow) -> Finding:
        if window.count >= self.count_min:
            self._windows += 1
            self._recent.append((window.hits, window.count))
            self._learn(window.hits / window.count, min(window.count, LABELS_MAX))
            self._recover()
        alarmed = self._share_before >= 0
        statistic = _VOTE if alarmed else 0.0
        return Finding(
            detector=self.name,
            outcome=outcome_of(
                count=window.count,
                count_min=self.count_min,
                statistic_sup=statistic,
                threshold=_VOTE,
            ),
            statistic=statistic,
            statistic_sup=statistic,
            threshold=_VOTE,
            count=window.count,
            count_min=self.count_min,
            windows=self._windows,
            direction=1 if alarmed else 0,
            detail=f"{window.hits} of {window.count} labels disagree"
            + (f"; {self._share_before:.4f} of them before the alarm" if alarmed else ""),
        )

    def _learn(self, share: float, labels: int) -> None:
        for _ in range(labels):
            self._remainder += share
            is_wrong = int(self._remainder >= 1.0)
            self._remainder -= is_wrong
            self._hddm.update(is_wrong)
            if self._hddm.drift_detected:
                if self._share_before < 0:
                    self._share_before = _mean_of(self._hddm, "_x_min").get()
                self._hddm = _fresh()  # what River does at its next update: no flag to keep

    def _recover(self) -> None:
        if self._share_before < 0 or len(self._recent) < _RECOVERY_WINDOWS:
            return
        hits = sum(h for h, _ in self._recent)
        labels = sum(n for _, n in self._recent)
        p = self._share_before
        noise = 2.0 * ((p * (1.0 - p) + 1.0 / labels) / labels) ** 0.5
        if hits / labels <= p + noise:
            self._share_before = -1.0

    def state(self) -> State:
        means: State = {}
        for name in _MEANS:
            mean = vars(_mean_of(self._hddm, name))
            means[name] = np.array([mean["n"], mean["_mean"]], np.float64)
        return {
            "means": means,
            "remainder": self._remainder,
            "share_before": self._share_before,
            "recent": np.array(list(self._recent), np.int64).reshape(-1, 2),
            "windows": self._windows,
        }

    def restore(self, state: Mapping[str, Plain]) -> None:
        self._hddm = _fresh()
        means = as_mapping(state["means"])
        for name in _MEANS:
            n, mean = as_floats(means[name]).tolist()
            vars(_mean_of(self._hddm, name)).update(n=n, _mean=mean)
        self._remainder = as_float(state["remainder"])
        self._share_before = as_float(state["share_before"])
        pairs = as_ints(state["recent"]).reshape(-1, 2).tolist()
        self._recent = deque(((h, n) for h, n in pairs), maxlen=_RECOVERY_WINDOWS)
        self._windows = as_int(state["windows"])
