"""Counts of closed windows per stratum: what references and bets may be built from."""

import numpy as np
from numpy.typing import NDArray

from analytics.evidence.mixture import Floats, Rows
from analytics.evidence.spec import State

Counts = NDArray[np.int64]


class Past:
    """Integer counts of both arms, shape ``(strata, cells)`` each, growing with the strata."""

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.candidate: Counts = np.zeros((0, cells), np.int64)
        self.control: Counts = np.zeros((0, cells), np.int64)
        self.units = 0

    def grow(self, strata: int) -> None:
        """Make room for ``strata`` rows."""
        more = strata - len(self.candidate)
        if more > 0:
            empty = np.zeros((more, self.cells), np.int64)
            self.candidate = np.vstack((self.candidate, empty))
            self.control = np.vstack((self.control, empty))

    def add(self, rows: Rows, candidate: Counts, control: Counts) -> None:
        """Add one window; ``rows`` are distinct."""
        self.candidate[rows] += candidate
        self.control[rows] += control
        self.units += int(candidate.sum()) + int(control.sum())

    def forget(self, rows: list[int]) -> None:
        """As if these strata had never had units."""
        self.candidate[rows] = 0
        self.control[rows] = 0
        self.units = int(self.candidate.sum()) + int(self.control.sum())

    def copy(self) -> "Past":
        """An independent copy."""
        twin = Past(self.cells)
        twin.candidate, twin.control = self.candidate.copy(), self.control.copy()
        twin.units = self.units
        return twin

    def state(self, prefix: str) -> State:
        """Shape and non-zero counts under ``prefix``."""
        state: State = {prefix + "strata": np.array(len(self.candidate))}
        for arm, counts in (("candidate", self.candidate), ("control", self.control)):
            where = np.flatnonzero(counts)
            state[f"{prefix}{arm}_where"] = where
            state[f"{prefix}{arm}_counts"] = counts.ravel()[where]
        return state

    @classmethod
    def restore(cls, cells: int, state: State, prefix: str) -> "Past":
        """The inverse of `state`."""
        past = cls(cells)
        past.grow(int(state[prefix + "strata"]))
        for arm, counts in (("candidate", past.candidate), ("control", past.control)):
            where = np.asarray(state[f"{prefix}{arm}_where"], np.int64)
            counts.ravel()[where] = np.asarray(state[f"{prefix}{arm}_counts"], np.int64)
        past.units = int(past.candidate.sum()) + int(past.control.sum())
        return past


def shrink(counts: Floats, groups: list[Rows], weight: float) -> Floats:
    """Law of each stratum, drawn toward its parent's with ``weight`` units, up to the root.

    ``counts`` has shape ``(strata, cells)``; ``groups`` are node ids per stratum, coarse to fine.
    A stratum without a past has its parent's law, and every cell keeps some mass.
    """
    strata, cells = counts.shape
    root = counts.sum(0)
    law = np.broadcast_to((root + 1.0 / cells) / (root.sum() + 1.0), counts.shape)
    for group in [*groups, np.arange(strata)]:
        if int(group.max()) + 1 == strata:
            own = counts
        else:
            pooled = np.zeros((int(group.max()) + 1, cells))
            np.add.at(pooled, group, counts)
            own = pooled[group]
        law = (own + weight * law) / (own.sum(1, keepdims=True) + weight)
    floor = 0.001
    floored: Floats = (1.0 - floor) * law + floor / cells
    return floored
