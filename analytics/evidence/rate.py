"""Rates: does the candidate fail more than (1 + d) times as often as the control?

``e = theta^k_c / (1 + r_d (theta - 1))^(k_c + k_b)`` with ``r_d = r (1 + d) / (1 + r d)`` needs no
reference: the mean of a control unit's factor and (1 + d) times a candidate's balance at every
failure rate, so the AM-GM bound of `analytics.evidence.bets` holds for pi_c <= (1 + d) pi_b.
"""

import numpy as np

from analytics.evidence.law import Bets, Growth
from analytics.evidence.mixture import Cohorts, Floats, Rows
from analytics.evidence.past import Counts, Past
from analytics.evidence.spec import EvidenceSpec

THETAS = (1.25, 1.6, 2.5, 4.0)
PASS_THETAS = (1.05, 1.1, 1.2, 1.4)


def log_rate_growth(
    hits: tuple[Floats, Floats], units: tuple[Floats, Floats], thetas: Floats, margin: float
) -> Floats:
    """Log growth (strata, bets) against pi_rival <= (1 + margin) pi_base; margin > -1.

    ``hits`` and ``units`` are (rival, base), shape ``(strata,)``.
    """
    share = units[0] / np.maximum(units[0] + units[1], 1.0)
    held = share * (1.0 + margin) / (1.0 + share * margin)
    cost = np.log1p(held[:, None] * (thetas - 1.0))
    growth: Floats = hits[0][:, None] * np.log(thetas) - (hits[0] + hits[1])[:, None] * cost
    return growth


class RateBets:
    """Fixed odds on the failures; nothing is learnt, so nothing is built."""

    def __init__(self, spec: EvidenceSpec, cohorts: Cohorts) -> None:
        self.bets = even_bets("failures", THETAS)
        self.pass_bets: tuple[Bets, ...] = (even_bets("control failures", PASS_THETAS),)
        self._margin = spec.margin

    def name(self, bet: int) -> str:
        """A bet's name for people."""
        return self.bets.names[bet]

    def build(self, past: Past) -> None:
        """Nothing: these bets need no reference."""

    def growth(self, rows: Rows, candidate: Counts, control: Counts) -> Growth:
        """Log growth of every bet in one window; counts have shape ``(len(rows), 2)``."""
        units = candidate.sum(1).astype(float), control.sum(1).astype(float)
        hits = candidate[:, 1].astype(float), control[:, 1].astype(float)
        thetas = np.array(THETAS)
        at_most = 1.0 / (1.0 + 2.0 * self._margin) - 1.0
        return Growth(
            log_rate_growth(hits, units, thetas, 0.0),
            log_rate_growth(hits, units, thetas, self._margin),
            log_rate_growth(hits[::-1], units[::-1], np.array(PASS_THETAS), at_most),
        )


def even_bets(what: str, thetas: tuple[float, ...]) -> Bets:
    """The same stake on each theta."""
    stakes = np.full(len(thetas), -np.log(len(thetas)))
    return Bets(tuple(f"{what} x{theta}" for theta in thetas), stakes)
