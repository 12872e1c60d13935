"""What a detector takes, gives and is: one closed window in, one finding out, plain state."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from analytics.types import Outcome

Plain: TypeAlias = (
    int
    | float
    | str
    | bytes
    | NDArray[np.int64]
    | NDArray[np.float64]
    | Mapping[str, "Plain"]
    | list["Plain"]
)
"""What a state is made of: any codec of numbers, text, bytes, arrays, lists and maps keeps it."""

State: TypeAlias = dict[str, Plain]


@dataclass(frozen=True, slots=True)
class DetectorWindow:
    """One closed drift window of one series, as a detector sees it.

    `z` is the prewhitened distance from the frozen baseline in long-run standard deviations of
    the warm-up, and `tolerance_z` what is too small to matter, in the same unit. `hits` are the
    occurrences among `count` observations, for detectors of a share (wrong labels).
    """

    start_ms: int
    count: int
    z: float = 0.0
    tolerance_z: float = 0.0
    hits: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """Evidence from one detector after one window.

    It can be recomputed from its own fields: inconclusive if ``count < count_min``, else breach
    exactly if ``statistic_sup >= threshold``. `statistic_sup` is the largest value since the
    detector last started anew, so a latched alarm stays a breach while `statistic` sinks.
    `direction` is 1 above the baseline, -1 below, 0 if neither.
    """

    detector: str
    outcome: Outcome
    statistic: float
    statistic_sup: float
    threshold: float
    count: int
    count_min: int
    windows: int
    direction: int
    detail: str


class Detector(Protocol):
    """One statistic of one series. `windows` that are too thin change nothing."""

    @property
    def name(self) -> str: ...

    def update(self, window: DetectorWindow) -> Finding: ...

    def state(self) -> State: ...

    def restore(self, state: Mapping[str, Plain]) -> None: ...


def outcome_of(*, count: int, count_min: int, statistic_sup: float, threshold: float) -> Outcome:
    """The rule that every finding obeys; see `Finding`."""
    if count < count_min:
        return Outcome.INCONCLUSIVE
    return Outcome.BREACH if statistic_sup >= threshold else Outcome.PASS


def as_int(value: Plain) -> int:
    """A number read back from a state; ValueError for anything else."""
    if isinstance(value, int):
        return value
    raise ValueError(f"state holds {type(value).__name__}, an integer was stored")


def as_float(value: Plain) -> float:
    """A number read back from a state; a codec may have turned 1.0 into 1."""
    if isinstance(value, int | float):
        return float(value)
    raise ValueError(f"state holds {type(value).__name__}, a number was stored")


def as_bytes(value: Plain) -> bytes:
    """Opaque bytes read back from a state."""
    if isinstance(value, bytes):
        return value
    raise ValueError(f"state holds {type(value).__name__}, bytes were stored")


def as_text(value: Plain) -> str:
    """Text read back from a state."""
    if isinstance(value, str):
        return value
    raise ValueError(f"state holds {type(value).__name__}, text was stored")


def as_mapping(value: Plain) -> Mapping[str, Plain]:
    """A nested state read back."""
    if isinstance(value, Mapping):
        return value
    raise ValueError(f"state holds {type(value).__name__}, a map was stored")


def as_list(value: Plain) -> list[Plain]:
    """A list read back from a state."""
    if isinstance(value, list):
        return value
    raise ValueError(f"state holds {type(value).__name__}, a list was stored")


def as_floats(value: Plain) -> NDArray[np.float64]:
    """An array of numbers read back from a state, as a copy of its own."""
    if isinstance(value, np.ndarray | list):
        return np.array(value, np.float64)
    raise ValueError(f"state holds {type(value).__name__}, an array was stored")


def as_ints(value: Plain) -> NDArray[np.int64]:
    """An array of integers read back from a state, as a copy of its own."""
    if isinstance(value, np.ndarray | list):
        return np.array(value, np.int64)
    raise ValueError(f"state holds {type(value).__name__}, an array was stored")
