"""Bets and what they earn in one window.

A bet is a function u > -1 of the observed cell, fixed before the window. With r the candidate's
share of the window's units in a stratum, a candidate unit in cell x multiplies the stake by
``(1 + u(x)) / (1 + r u(x))`` and a control unit by ``1 / (1 + r u(x))``. The two factors' means A
and B under any one law satisfy r A + (1 - r) B = 1, so the expected product over n_c and n_b units
is A^n_c B^n_b <= 1 (weighted AM-GM), whatever that law is in that window. If u never decreases,
the candidate's factor grows with x, and a candidate that is stochastically smaller earns less: the
bound then holds for the one-sided null.

Source: Turner, Ly, Grunwald 2024 (safe two-sample tests); Lindon et al. 2022 (sequential canaries).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.evidence.isotonic import isotonic
from analytics.evidence.mixture import Floats, Rows

TAME = 0.99
"""Share of a bet's stake that follows the alternative; the rest keeps the reference."""
_RATIO_MAX = 50.0


@dataclass(frozen=True, slots=True)
class Cells:
    """Non-zero counts of one arm: which stratum of the window, which cell, how many units."""

    at: Rows
    cell: NDArray[np.int64]
    units: Floats

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> "Cells":
        """Sparse view of counts of shape ``(strata, cells)``."""
        where = np.flatnonzero(counts)
        at, cell = np.divmod(where, counts.shape[1])
        return cls(at, cell, counts.ravel()[where].astype(np.float64))

    def renamed(self, cell_map: NDArray[np.int64]) -> "Cells":
        """The same units, cell ``i`` counted at ``cell_map[i]``."""
        return Cells(self.at, cell_map[self.cell], self.units)


def log_two_valued(
    hits: tuple[Floats, Floats], units: tuple[Floats, Floats], inside: Floats, outside: Floats
) -> Floats:
    """Log growth of bets worth ``inside`` on a set of cells and ``outside`` elsewhere.

    ``hits`` and ``units`` are (candidate, control) counts, broadcastable with the bets' shape.
    """
    all_units = units[0] + units[1]
    all_hits = hits[0] + hits[1]
    share = units[0] / np.maximum(all_units, 1.0)
    growth: Floats = (
        hits[0] * np.log1p(inside)
        + (units[0] - hits[0]) * np.log1p(outside)
        - all_hits * np.log1p(share * inside)
        - (all_units - all_hits) * np.log1p(share * outside)
    )
    return growth


def log_many_valued(tables: Floats, share: Floats, candidate: Cells, control: Cells) -> Floats:
    """Log growth of bets with a value per cell: ``tables`` (strata, cells, bets) -> (strata, bets).

    Only cells that were hit are looked at, so the cost follows the units, not the grid.
    """
    growth = np.zeros((tables.shape[0], tables.shape[2]))
    for arm in (candidate, control):
        if arm.at.size == 0:
            continue
        worth = tables[arm.at, arm.cell]
        earned = -np.log(1.0 + share[arm.at, None] * worth)
        if arm is candidate:
            earned += np.log(1.0 + worth)
        earned *= arm.units[:, None]
        starts = np.flatnonzero(np.append(True, arm.at[1:] != arm.at[:-1]))
        growth[arm.at[starts]] += np.add.reduceat(earned, starts, axis=0)
    return growth


def monotone(alternative: Floats, reference: Floats) -> Floats:
    """U of bets on ``alternative`` that never decrease along the cells; shapes (..., cells).

    u + 1 is the isotonic regression of alternative / reference, weighted by the reference.
    """
    reference = np.broadcast_to(reference, alternative.shape)
    rising = isotonic(np.minimum(alternative / reference, _RATIO_MAX), reference)
    scale = (reference * rising).sum(-1, keepdims=True)
    bets: Floats = TAME * (rising / scale - 1.0)
    return bets


def odds_tilt(mass: Floats, odds: Floats) -> tuple[Floats, Floats]:
    """U inside and outside a set of reference mass ``mass`` whose odds are multiplied."""
    scale = 1.0 + mass * (odds - 1.0)
    return TAME * (odds / scale - 1.0), TAME * (1.0 / scale - 1.0)
