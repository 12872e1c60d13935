"""River's ADWIN on frozen-seasonal residuals: a second vote, never an alarm of its own.

River's window lives in compiled code. Its own serialisation gives bytes that restore it bit for
bit (tested), so the state keeps them as they are, together with River's version: bytes of another
version are not read, and the vote begins anew, which can delay an alert but not make one.

Source: Bifet, Gavalda 2007, Learning from time-changing data with adaptive windowing, SDM.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Final, Protocol

from analytics.detectors.base import (
    DetectorWindow,
    Finding,
    Plain,
    State,
    as_bytes,
    as_int,
    as_text,
    outcome_of,
)

_DELTA: Final = 1e-5
_CLIP: Final = 5.0  # sd; one wild window must not cut the window by itself
_VOTE: Final = 1.0
_LEVEL_WIDTH_MIN: Final = 8
_LEVEL_STANDARD_ERRORS: Final = 5.0


class _Compiled(Protocol):
    """The compiled window inside River's detector."""

    def __getstate__(self) -> bytes: ...

    def __setstate__(self, state: bytes) -> None: ...


class _RiverAdwin(Protocol):
    """The part of ``river.drift.ADWIN`` that is used here."""

    @property
    def width(self) -> int: ...

    @property
    def estimation(self) -> float: ...

    @property
    def drift_detected(self) -> bool: ...

    def update(self, x: float) -> None: ...


def _fresh() -> _RiverAdwin:
    from river import drift  # noqa: PLC0415 - 3 CPU-seconds that only drift monitoring should pay

    made: _RiverAdwin = drift.ADWIN(delta=_DELTA, clock=1)
    return made


def _compiled(adwin: _RiverAdwin) -> _Compiled:
    inner: _Compiled = vars(adwin)["_helper"]
    return inner


def _river_version() -> str:
    import river  # noqa: PLC0415 - as above

    return str(river.__version__)  # type: ignore[attr-defined]  # there, but not in its __all__


@dataclass(slots=True)
class Adwin:
    """Votes from a cut away from the baseline, or a window all away from it, until a cut back.

    `statistic` counts the cuts away from the baseline since the vote began; `threshold` is one.
    """

    count_min: int = 30
    name: str = "adwin"
    _adwin: _RiverAdwin = field(default_factory=_fresh)
    _cuts_away: int = 0
    _direction: int = 0
    _windows: int = 0

    def update(self, window: DetectorWindow) -> Finding:
        learned = self._adwin
        if window.count >= self.count_min:
            self._windows += 1
            self._learn(min(max(window.z, -_CLIP), _CLIP))
            self._look_at_level(window.tolerance_z)
        statistic = float(self._cuts_away)
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
            direction=self._direction,
            detail=f"window of {learned.width:.0f}, mean {learned.estimation:+.2f} sd",
        )

    def prime(self, scores: Iterable[float]) -> None:
        """Give ADWIN the baseline's own scores, so that it has something to compare with.

        Without them a shift soon after the warm-up is half of all that ADWIN has seen, and one of
        10 % was never seconded. Cuts in the warm-up are no votes.
        """
        for z in scores:
            self._learn(min(max(z, -_CLIP), _CLIP))
        self._cuts_away = 0
        self._direction = 0

    def _learn(self, z: float) -> None:
        before = self._adwin.estimation
        self._adwin.update(z)
        if not self._adwin.drift_detected:
            return
        after = self._adwin.estimation
        if abs(after) > abs(before):
            self._cuts_away += 1
            self._direction = 1 if after > 0 else -1
        else:
            self._cuts_away = 0
            self._direction = 0
        self._adwin = _fresh()  # what River does at its next update, done now: no flag to keep

    def _look_at_level(self, tolerance_z: float) -> None:
        """Vote too if the whole window lies away from the baseline.

        After an unlucky cut the window begins anew, and a shift soon after it is all that it knows:
        there is nothing left to cut. And River may cut off old windows before it cuts at the shift,
        so that the mean which is left points the other way. (One of ten lasting shifts was never
        seconded.)
        """
        width, mean = self._adwin.width, self._adwin.estimation
        if width < _LEVEL_WIDTH_MIN:
            return
        if abs(mean) > tolerance_z + _LEVEL_STANDARD_ERRORS / sqrt(width):
            self._cuts_away, self._direction = max(self._cuts_away, 1), 1 if mean > 0 else -1

    def state(self) -> State:
        return {
            "river": _river_version(),
            "compiled": _compiled(self._adwin).__getstate__(),
            "cuts_away": self._cuts_away,
            "direction": self._direction,
            "windows": self._windows,
        }

    def restore(self, state: Mapping[str, Plain]) -> None:
        self._adwin = _fresh()
        if as_text(state["river"]) == _river_version():
            _compiled(self._adwin).__setstate__(as_bytes(state["compiled"]))
        self._cuts_away = as_int(state["cuts_away"])
        self._direction = as_int(state["direction"])
        self._windows = as_int(state["windows"])
