"""What a metric's law must offer to the rollout that bets on it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from analytics.evidence.mixture import Floats, Rows
from analytics.evidence.past import Counts, Past


@dataclass(frozen=True, slots=True)
class Bets:
    """Names of the bets and the log of the stake on each; the stakes sum to at most 1."""

    names: tuple[str, ...]
    log_stakes: Floats


@dataclass(frozen=True, slots=True)
class Growth:
    """Log growth in one window, shape ``(strata, bets)``, against each null.

    ``equal``: the candidate is not worse. ``margin``: it is at most d worse. ``passing``: it is
    at least 2 d worse; growth here speaks for the candidate. The columns of ``passing`` are the
    law's ``pass_bets`` side by side; every group must reject on its own.
    """

    equal: Floats
    margin: Floats
    passing: Floats

    @classmethod
    def none(cls, strata: int, bets: int, pass_bets: int) -> "Growth":
        """No past, no bet: every factor is 1."""
        return cls(
            np.zeros((strata, bets)), np.zeros((strata, bets)), np.zeros((strata, pass_bets))
        )


class LawBets(Protocol):
    """Bets of one metric; built from closed windows, then asked what a new window earned."""

    bets: Bets
    pass_bets: tuple[Bets, ...]

    def name(self, bet: int) -> str:
        """A bet's name for people."""
        ...

    def build(self, past: Past) -> None:
        """Rebuild the bets from the counts of closed windows."""
        ...

    def growth(self, rows: Rows, candidate: Counts, control: Counts) -> Growth:
        """Log growth per bet of one window."""
        ...
