"""No more bets than enrolments: what an installation says counts once it said that it takes part.

Per metric, stratum and arm, at most as many units are let in as have enrolled there so far. What
comes too early is held, and let in when enrolments have made room: newest first, so that what was
held for want of an enrolment never crowds out what comes later. Which of too many go first is
drawn from a counter-based generator whose key is the window and the cell: it depends on counts and
never on values, and a replay draws the same.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analytics.evidence.spec import ArmCounts, Stratum

Units = NDArray[np.int64]
"""One entry per unit: the cell it fell into."""
Name = tuple[str, int]
Key = tuple[Name, Stratum, str]
Window = dict[Name, dict[Stratum, ArmCounts]]

ARMS: Final = ("candidate", "control")
HELD_MAX: Final = 1000
"""Units held per metric, stratum and arm; more are dropped."""
HELD_KEYS_MAX: Final = 10_000
_NOTHING: Final[Units] = np.zeros(0, np.int64)


class Admission:
    """Enrolments so far, units let in so far, and units that wait for an enrolment."""

    def __init__(self) -> None:
        self.enrolled: dict[tuple[Stratum, str], int] = {}
        self.admitted: dict[Key, int] = {}
        self.held: dict[Key, Units] = {}

    def enrol(self, enrolled: Mapping[Stratum, tuple[int, int]]) -> None:
        """Count a window's enrolments, (candidate, control) by stratum."""
        for stratum, counts in enrolled.items():
            for arm, count in zip(ARMS, counts, strict=True):
                key = stratum, arm
                self.enrolled[key] = self.enrolled.get(key, 0) + count

    def admit(self, window: Window, cells: Mapping[Name, int], start_ms: int) -> Window:
        """What counts of a window's units, and of those that waited; `cells` by metric."""
        let_in: Window = {}
        for name, stratum in sorted({*_pairs(window), *(key[:2] for key in self.held)}):
            came = window.get(name, {}).get(stratum)
            if came is None:
                nothing = np.zeros(cells[name], np.int64)
                came = ArmCounts(nothing, nothing)
            passed = ArmCounts(
                self._let_in((name, stratum, "candidate"), came.candidate, start_ms),
                self._let_in((name, stratum, "control"), came.control, start_ms),
            )
            if passed.candidate.any() or passed.control.any():
                let_in.setdefault(name, {})[stratum] = passed
        return let_in

    def _let_in(self, key: Key, counts: Units, start_ms: int) -> Units:
        """Counts by cell of what is let in."""
        room = self.enrolled.get(key[1:], 0) - self.admitted.get(key, 0)
        waited = self.held.get(key, _NOTHING)
        came = int(counts.sum())
        if came <= room and not len(waited):
            self.admitted[key] = self.admitted.get(key, 0) + came
            return counts
        fresh = np.repeat(np.arange(len(counts)), counts)
        draw = _Draw(key, start_ms)
        taken, early = draw.split(fresh, room)
        more, waited = draw.split(waited, room - len(taken))
        self._hold(key, draw.split(np.concatenate((early, waited)), HELD_MAX)[0])
        passed = np.concatenate((taken, more))
        self.admitted[key] = self.admitted.get(key, 0) + len(passed)
        return np.bincount(passed, minlength=len(counts))

    def _hold(self, key: Key, units: Units) -> None:
        if not len(units):
            self.held.pop(key, None)
        elif key in self.held or len(self.held) < HELD_KEYS_MAX:
            self.held[key] = units

    def state(self) -> list[list[object]]:
        """Plain values, for `restore`."""
        return [
            [[list(s), arm, n] for (s, arm), n in sorted(self.enrolled.items())],
            [[list(name), list(s), arm, n] for (name, s, arm), n in sorted(self.admitted.items())],
            [
                [list(name), list(s), arm, self.held[name, s, arm].tolist()]
                for name, s, arm in sorted(self.held)
            ],
        ]

    @classmethod
    def restore(cls, state: Sequence[Sequence[Any]]) -> "Admission":
        """The inverse of `state`, bit for bit."""
        admission = cls()
        enrolled, admitted, held = state
        admission.enrolled = {(tuple(s), arm): n for s, arm, n in enrolled}
        admission.admitted = {((n[0], n[1]), tuple(s), arm): k for n, s, arm, k in admitted}
        admission.held = {
            ((n[0], n[1]), tuple(s), arm): np.array(units, np.int64) for n, s, arm, units in held
        }
        return admission


class _Draw:
    """Random and reproducible: raw Philox words, whose stream numpy keeps for good."""

    def __init__(self, key: Key, start_ms: int) -> None:
        digest = blake2b(f"{start_ms}|{key}".encode(), digest_size=16).digest()
        self._words = np.random.Philox(key=int.from_bytes(digest, "little"))

    def split(self, units: Units, count: int) -> tuple[Units, Units]:
        """`count` of the units at random, and the rest."""
        if count >= len(units):
            return units, _NOTHING
        order = np.argsort(self._words.random_raw(len(units)), kind="stable")
        return units[order[:count]], units[order[count:]]


def _pairs(window: Window) -> set[tuple[Name, Stratum]]:
    return {(name, stratum) for name, strata in window.items() for stratum in strata}
