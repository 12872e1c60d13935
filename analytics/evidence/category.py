"""Categories: did the mix of classes move by more than d in total variation?

Equality: odds of one class up or down, and the mix that the past candidate shows. At most d: a
candidate within total variation d of the control earns at most d (max v - min v) more per unit
than the control would, v = (1 + u) / (1 + r u), so e is divided by ``(1 + r d (max v - min v))^n``.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from analytics.evidence.bets import TAME, Cells, log_many_valued, log_two_valued, odds_tilt
from analytics.evidence.law import Bets, Growth
from analytics.evidence.mixture import Cohorts, Floats, Rows
from analytics.evidence.past import Counts, Past, shrink
from analytics.evidence.spec import EvidenceSpec

ODDS = (0.5, 1.0 / 1.3, 1.0 / 1.14, 1.14, 1.3, 2.0, 4.0)
"""The gentle ones are for the margin: what d costs grows with a bet, so half of a shift earns more.
Without them a total variation of 0.05 stood unfound against d = 0.02 after 120,000 units per arm;
with them it took 5,000 to 18,000 (8 seeds, 10 classes)."""
PRIORS = (200.0, 2000.0)
OWN_BETS_MAX = 64
_LEARNT_STAKE = 0.25
_PRIOR_UNITS = 200.0


class CategoryBets:
    """Bets on each of the most frequent past classes; the others count as one class."""

    def __init__(self, spec: EvidenceSpec, cohorts: Cohorts) -> None:
        self._margin = spec.margin
        self._cohorts = cohorts
        self._own = min(spec.cells, OWN_BETS_MAX)
        self.classes: list[int] = []
        slots = self._own + (spec.cells > self._own)
        self._slots = slots
        names = [f"slot {i} odds x{o:.2f}" for i in range(slots) for o in ODDS]
        stakes = [(1.0 - _LEARNT_STAKE) / len(names)] * len(names)
        names += [f"past candidate, prior {w:.0f}" for w in PRIORS]
        stakes += [_LEARNT_STAKE / len(PRIORS)] * len(PRIORS)
        self.bets = Bets(tuple(names), np.log(np.array(stakes)))
        self.pass_bets: tuple[Bets, ...] = ()
        self._slot_of: NDArray[np.int64] = np.full(spec.cells, slots - 1)
        if slots == spec.cells:
            self.seat(range(spec.cells))
        self._learnt: Floats | None = None
        self._inside: Floats = np.zeros((0, 0))
        self._outside: Floats = np.zeros((0, 0))

    def name(self, bet: int) -> str:
        """Name of a bet with its class."""
        slot, odds = divmod(bet, len(ODDS))
        if slot >= self._slots:
            return self.bets.names[bet]
        what = f"class {self.classes[slot]}" if slot < len(self.classes) else "other classes"
        return f"{what} odds x{ODDS[odds]:.2f}"

    def seat(self, classes: Iterable[int]) -> None:
        """Give each class the next free slot."""
        for chosen in classes:
            self._slot_of[chosen] = len(self.classes)
            self.classes.append(chosen)

    def build(self, past: Past) -> None:
        """Rebuild from closed windows. A slot keeps its class once it has one."""
        if past.units == 0:
            return
        self._seat(past)
        control, candidate = self._fold(past.control), self._fold(past.candidate)
        law = shrink(control, self._cohorts.groups, _PRIOR_UNITS)
        inside, outside = odds_tilt(law[:, :, None], np.array(ODDS))
        unseated = np.arange(self._slots) >= len(self.classes)
        unseated[self._own :] = False
        inside[:, unseated] = 0.0
        outside[:, unseated] = 0.0
        self._inside = inside.reshape(len(law), -1)
        self._outside = outside.reshape(len(law), -1)
        units = candidate.sum(1, keepdims=True)
        learnt = [(candidate + w * law) / (units + w) / law - 1.0 for w in PRIORS]
        self._learnt = TAME * np.stack(learnt, axis=2)

    def growth(self, rows: Rows, candidate: Counts, control: Counts) -> Growth:
        """Log growth of every bet in one window; counts have shape ``(len(rows), classes)``."""
        if self._learnt is None:
            return Growth.none(len(rows), len(self.bets.names), 0)
        hits = self._fold(candidate), self._fold(control)
        units = hits[0].sum(1, keepdims=True), hits[1].sum(1, keepdims=True)
        repeated = (np.repeat(hits[0], len(ODDS), 1), np.repeat(hits[1], len(ODDS), 1))
        inside, outside = self._inside[rows], self._outside[rows]
        share = units[0] / np.maximum(units[0] + units[1], 1.0)
        learnt = self._learnt[rows]
        equal = np.hstack((
            log_two_valued(repeated, units, inside, outside),
            log_many_valued(
                learnt,
                share[:, 0],
                Cells.of(candidate).renamed(self._slot_of),
                Cells.of(control).renamed(self._slot_of),
            ),
        ))  # fmt: skip
        top = np.hstack((np.maximum(inside, outside), learnt.max(1)))
        bottom = np.hstack((np.minimum(inside, outside), learnt.min(1)))
        spread = (1.0 + top) / (1.0 + share * top) - (1.0 + bottom) / (1.0 + share * bottom)
        cost = (units[0] + units[1]) * np.log1p(share * self._margin * spread)
        return Growth(equal, equal - cost, np.zeros((len(rows), 0)))

    def _seat(self, past: Past) -> None:
        seen = (past.candidate + past.control).sum(0)
        free = self._own - len(self.classes)
        if free <= 0:
            return
        seen[self.classes] = 0
        order = np.argsort(-seen, kind="stable")[:free]
        self.seat(order[seen[order] > 0].tolist())

    def _fold(self, counts: Counts) -> Floats:
        folded = np.zeros((len(counts), self._slots))
        np.add.at(folded.T, self._slot_of, counts.T)
        return folded
