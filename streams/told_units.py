"""Which verdicts of a rollout may be told to analysts: those that enough units more were judged by.

Two verdicts that are told are a difference that somebody can take. So one is told if, of every
metric that is judged and of the enrolments, no unit or `UPLOADS_MIN` units of each arm came since
the one that was told before it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from analytics.evidence.spec import Stratum
from streams.unit_counts import Counts
from wire.smallest_cell import UPLOADS_MIN

_ENROLLED: Final = ("enrolled", 0)


@dataclass(slots=True)
class ToldUnits:
    """Units by metric, day and arm that came since a verdict was told."""

    _came: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)

    def judge(self, counts: Counts, enrolled: Mapping[Stratum, tuple[int, int]]) -> None:
        """Note what a window adds to what is judged."""
        for name, strata in counts.items():
            for arms in strata.values():
                self._add(name, int(arms.candidate.sum()), int(arms.control.sum()))
        for candidate, control in enrolled.values():
            self._add(_ENROLLED, candidate, control)

    def tell(self) -> bool:
        """Whether the verdict after these units may be told; if so it counts as told."""
        if any(0 < n < UPLOADS_MIN for arms in self._came.values() for n in arms):
            return False
        self._came.clear()
        return True

    def _add(self, name: tuple[str, int], candidate: int, control: int) -> None:
        old = self._came.get(name, (0, 0))
        self._came[name] = old[0] + candidate, old[1] + control

    def state(self) -> list[list[Any]]:
        """Plain values for a snapshot."""
        return [[*name, *arms] for name, arms in sorted(self._came.items())]

    @classmethod
    def restore(cls, state: Iterable[Sequence[Any]]) -> "ToldUnits":
        """The inverse of `state`."""
        return cls({(m, day): (candidate, control) for m, day, candidate, control in state})
