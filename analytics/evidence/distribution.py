"""Distributions: is the candidate stochastically larger than the control times (1 + d)?

A factor of ``1.05**k`` moves a histogram over the global grid by k whole buckets, so the null
``X_c <=st (1 + d) X_b`` becomes the null of no increase against a shifted control. Every bet is
monotone in the bucket. The grid is narrowed to the buckets that the past has used; what falls
outside counts at the nearest end, which keeps the order and so the null.
"""

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from analytics.buckets import RATIO
from analytics.evidence.bets import Cells, log_many_valued, log_two_valued, monotone, odds_tilt
from analytics.evidence.law import Bets, Growth
from analytics.evidence.mixture import Cohorts, Floats, Rows
from analytics.evidence.past import Counts, Past, shrink
from analytics.evidence.rate import even_bets, log_rate_growth
from analytics.evidence.spec import EvidenceSpec

_SLACK_BUCKETS = 12
_KERNEL_WIDTHS = 4.0
_PRIOR_UNITS = 200.0
PASS_TAIL_CUT = 3  # index of p95 among the cuts
PASS_TAIL_RATIO = 1.5
PASS_TAIL_THETAS = (1.1, 1.2, 1.4, 1.6)
"""A tail fault leaves the body in place, so the shift test alone would pass it."""


@dataclass(frozen=True, slots=True)
class Family:
    """A fixed list of bets. Scales are in buckets; cuts are quantiles of the reference."""

    scales: tuple[int, ...]
    priors: tuple[float, ...]
    tilt_cuts: tuple[float, ...]
    tilt_odds: tuple[float, ...]
    tail_cuts: tuple[float, ...]
    tail_odds: tuple[float, ...]
    tail_stake: float

    @property
    def bets(self) -> Bets:
        """Names and stakes, in the order in which growth is reported."""
        rich = [f"scale x{RATIO**k:.2f}" for k in self.scales]
        rich += [f"past candidate, prior {w:.0f}" for w in self.priors]
        rich += [f"odds x{o} above p{100 * q:.0f}" for q in self.tilt_cuts for o in self.tilt_odds]
        tail = [f"tail x{o} above p{100 * q:.0f}" for q in self.tail_cuts for o in self.tail_odds]
        stakes = [(1.0 - self.tail_stake) / len(rich)] * len(rich)
        stakes += [self.tail_stake / max(len(tail), 1)] * len(tail)
        return Bets((*rich, *tail), np.log(np.array(stakes)))


RICH = Family(
    scales=(1, 2, 4, 8, 19),
    priors=(200.0, 2000.0),
    tilt_cuts=(0.5, 0.75, 0.9, 0.95, 0.99),
    tilt_odds=(1.25, 1.6, 2.5),
    tail_cuts=(0.95, 0.98, 0.99),
    tail_odds=(1.25, 1.6, 2.5),
    tail_stake=0.2,
)
LEAN = Family((1, 2, 4), (200.0, 2000.0), (0.5,), (1.25, 1.6), (), (), 0.0)


@dataclass(frozen=True, slots=True)
class Tables:
    """Built bets: ``worth`` (strata, cells, bets); cuts (strata, cuts); in and out per cut bet."""

    worth: Floats
    cuts: NDArray[np.int64]
    cut_of: NDArray[np.int64]
    inside: Floats
    outside: Floats


class Grid:
    """The buckets in use, and where each cell goes after a shift; monotone by construction."""

    def __init__(self, spec: EvidenceSpec, past: Past, reach: int) -> None:
        used = np.flatnonzero((past.candidate + past.control).sum(0))
        self.low = int(used[0])
        self.high = min(int(used[-1]) + reach, spec.cells - 1)
        self.cells = self.high - self.low + 1
        self.zeros_stay = spec.low_bucket == 0
        self._all = np.arange(spec.cells)
        self._maps: dict[int, NDArray[np.int64]] = {}

    def map(self, shift: int) -> NDArray[np.int64]:
        """New index of every cell when values grow by ``shift`` buckets."""
        if shift not in self._maps:
            moved = self._all + shift
            if self.zeros_stay:
                moved[0] = 0
            self._maps[shift] = np.clip(moved, self.low, self.high) - self.low
        return self._maps[shift]

    def fold(self, counts: Counts, shift: int) -> Floats:
        """Counts (strata, cells) shifted onto the buckets in use."""
        target, first = np.unique(self.map(shift), return_index=True)
        folded = np.zeros((len(counts), self.cells))
        folded[:, target] = np.add.reduceat(counts, first, axis=1)
        return folded

    def up(self, law: Floats, shift: int) -> Floats:
        """A law (strata, cells in use) moved up by ``shift``, its end piled up."""
        moved = np.zeros_like(law)
        start = 1 if self.zeros_stay and self.low == 0 else 0
        stop = max(self.cells - shift, start)
        moved[:, :start] = law[:, :start]
        moved[:, start + shift :] = law[:, start:stop]
        moved[:, -1] += law[:, stop:].sum(1)
        return moved


class DistributionBets:
    """Three one-sided comparisons: no worse, at most d worse, and at least 2 d worse (to pass)."""

    def __init__(self, spec: EvidenceSpec, cohorts: Cohorts) -> None:
        self.bets = RICH.bets
        self.pass_bets: tuple[Bets, ...] = (LEAN.bets, even_bets("control tail", PASS_TAIL_THETAS))
        self._spec = spec
        self._cohorts = cohorts
        self._shift = max(1, round(log(1.0 + spec.margin) / log(RATIO)))
        self._pass_shift = max(1, round(log(1.0 + 2.0 * spec.margin) / log(RATIO)))
        self._grid: Grid | None = None
        self._equal: Tables | None = None
        self._margin: Tables | None = None
        self._passing: Tables | None = None
        self.cuts: NDArray[np.int64] = np.zeros((0, 0), np.int64)

    def name(self, bet: int) -> str:
        """A bet's name for people."""
        return self.bets.names[bet]

    def build(self, past: Past) -> None:
        """Rebuild every bet from closed windows only."""
        if past.units == 0:
            return
        grid = Grid(self._spec, past, _SLACK_BUCKETS + self._pass_shift)
        control = grid.fold(past.control, 0)
        candidate = grid.fold(past.candidate, 0)
        width = _bandwidth(control.sum(0))
        self._grid = grid
        self._equal = self._tables(grid, RICH, control, candidate, width)
        shifted = grid.fold(past.control, self._shift)
        self._margin = self._tables(grid, RICH, shifted, candidate, width)
        ahead = grid.fold(past.control, self._pass_shift)
        self._passing = self._tables(grid, LEAN, candidate, ahead, width)
        self.cuts = self._equal.cuts[:, :5] + grid.low

    def growth(self, rows: Rows, candidate: Counts, control: Counts) -> Growth:
        """Log growth of every bet in one window; counts have shape ``(len(rows), cells)``."""
        grid = self._grid
        if grid is None or self._equal is None or self._margin is None or self._passing is None:
            passing = sum(len(group.names) for group in self.pass_bets)
            return Growth.none(len(rows), len(self.bets.names), passing)
        seen, raw = Cells.of(candidate), Cells.of(control)
        arm = seen.renamed(grid.map(0))
        held, worse = raw.renamed(grid.map(0)), raw.renamed(grid.map(self._shift))
        ahead = raw.renamed(grid.map(self._pass_shift))
        size = (len(rows), grid.cells)
        tail = self._tail_pass(rows, seen, raw)
        return Growth(
            _earn(self._equal, rows, arm, held, size),
            _earn(self._margin, rows, arm, worse, size),
            np.hstack((_earn(self._passing, rows, ahead, arm, size), tail)),
        )

    def _tail_pass(self, rows: Rows, candidate: Cells, control: Cells) -> Floats:
        """Growth against "the candidate's tail is `PASS_TAIL_RATIO` times as heavy"."""
        cut = self.cuts[rows, PASS_TAIL_CUT]
        strata = len(rows)
        hits, units = [], []
        for arm in (control, candidate):
            units.append(np.bincount(arm.at, arm.units, strata).astype(np.float64))
            beyond = arm.units * (arm.cell > cut[arm.at])
            hits.append(np.bincount(arm.at, beyond, strata).astype(np.float64))
        at_most = 1.0 / PASS_TAIL_RATIO - 1.0
        thetas = np.array(PASS_TAIL_THETAS)
        return log_rate_growth((hits[0], hits[1]), (units[0], units[1]), thetas, at_most)

    def _tables(
        self, grid: Grid, family: Family, base: Floats, rival: Floats, width: float
    ) -> Tables:
        """Bets that ``rival`` lies above ``base``; both are past counts (strata, cells in use)."""
        start = 1 if grid.zeros_stay and grid.low == 0 else 0
        base, rival = smoothed(base, width, start), smoothed(rival, width, start)
        law = shrink(base, self._cohorts.groups, _PRIOR_UNITS)
        units = rival.sum(1, keepdims=True)
        scaled = [grid.up(law, k) for k in family.scales]
        learnt = [(rival + w * law) / (units + w) for w in family.priors]
        worth = monotone(np.stack([*scaled, *learnt], axis=1), law[:, None])
        reached = np.cumsum(law, axis=1)
        tilts = [(reached >= q).argmax(1) for q in family.tilt_cuts]
        tails = [(reached >= q).argmax(1) + 1 for q in family.tail_cuts]
        cuts = np.stack([*tilts, *tails], axis=1)
        inside, outside = self._threshold_bets(family, law, np.stack(tilts, axis=1))
        cut_of = np.concatenate((
            np.repeat(np.arange(len(tilts)), len(family.tilt_odds)),
            np.repeat(len(tilts) + np.arange(len(tails)), len(family.tail_odds)),
        ))  # fmt: skip
        return Tables(np.ascontiguousarray(worth.transpose(0, 2, 1)), cuts, cut_of, inside, outside)

    @staticmethod
    def _threshold_bets(
        family: Family, law: Floats, tilts: NDArray[np.int64]
    ) -> tuple[Floats, Floats]:
        above = np.cumsum(law[:, ::-1], axis=1)[:, ::-1]
        mass = np.take_along_axis(above, tilts, axis=1)[:, :, None]
        inside, outside = odds_tilt(mass, np.array(family.tilt_odds))
        strata = len(law)
        free = np.tile(np.array(family.tail_odds) - 1.0, (strata, len(family.tail_cuts)))
        return (
            np.hstack((inside.reshape(strata, -1), free)),
            np.hstack((outside.reshape(strata, -1), np.zeros_like(free))),
        )


def _earn(tables: Tables, rows: Rows, rival: Cells, base: Cells, size: tuple[int, int]) -> Floats:
    counts = []
    at = np.arange(size[0])[:, None]
    for arm in (rival, base):
        flat = np.bincount(arm.at * size[1] + arm.cell, arm.units, size[0] * size[1])
        below = np.zeros((size[0], size[1] + 1))
        np.cumsum(flat.reshape(size), axis=1, out=below[:, 1:])
        units = below[:, -1:]
        hits = units - below[at, tables.cuts[rows]]
        counts.append((hits[:, tables.cut_of], units))
    (hits_rival, units_rival), (hits_base, units_base) = counts
    share = (units_rival / np.maximum(units_rival + units_base, 1.0))[:, 0]
    valued = log_many_valued(tables.worth[rows], share, rival, base)
    cut = log_two_valued(
        (hits_rival, hits_base),
        (units_rival, units_base),
        tables.inside[rows],
        tables.outside[rows],
    )
    return np.hstack((valued, cut))


def _bandwidth(counts: Floats) -> float:
    """Half of Silverman's width, in buckets: a young histogram is rough, and so would bets be."""
    units = counts.sum()
    if units == 0:
        return 0.0
    low, high = np.searchsorted(np.cumsum(counts), [0.25 * units, 0.75 * units])
    return float(0.45 * (high - low) / 1.34 * units**-0.2)


def smoothed(counts: Floats, width: float, start: int) -> Floats:
    """Counts smoothed along the cells by a Gaussian, reflected at the ends, so that none is lost;
    the zeros in front of ``start`` keep to themselves.
    """
    narrowest = 0.3
    if width < narrowest:
        return counts
    reach = int(_KERNEL_WIDTHS * width + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    padded = np.pad(counts[:, start:], ((0, 0), (reach, reach)), mode="symmetric")
    smooth = counts.copy()
    smooth[:, start:] = sliding_window_view(padded, kernel.size, axis=1) @ (kernel / kernel.sum())
    return smooth
