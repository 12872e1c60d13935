"""Which verdicts of a rollout may be told to analysts: those that enough units more were judged by.

Two verdicts that are told are a difference that somebody can take. So one is told if, of every
metric that is judged and of the enrolments, no unit or `UPLOADS_MIN` units of each arm came since
the one that was told before it. A breach does not wait: that it came is told at once, its numbers
as of the verdict before it if fewer came since.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from analytics.evidence.spec import Stratum
from analytics.types import Arithmetic
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


def told_of_breach(judged: Arithmetic, before: Arithmetic) -> Arithmetic:
    """What is told of a breach that too few units came for: that it reached its thresholds.

    Everything that was counted is as it was told `before`; what was never told is not known.
    """
    is_same = judged.metric == before.metric
    nan = float("nan")
    return replace(
        judged,
        log_e_equal=judged.log_threshold_equal,
        log_e_equal_sup=judged.log_threshold_equal,
        log_e_margin=judged.log_threshold_margin,
        log_e_margin_sup=judged.log_threshold_margin,
        units_candidate=before.units_candidate,
        units_control=before.units_control,
        effect=before.effect if is_same else nan,
        effect_low=before.effect_low if is_same else nan,
        effect_high=before.effect_high if is_same else nan,
        strata={},
        named_cohorts=(),
        metrics=before.metrics,
        assignment_log_e=before.assignment_log_e,
        reason="thresholds reached; numbers as of the verdict before, fewer than ten units ago",
    )
