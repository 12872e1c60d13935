"""One process: a metric on one day block, from closed windows to three running e-values."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from analytics.evidence.category import CategoryBets
from analytics.evidence.distribution import DistributionBets
from analytics.evidence.effect import effect_of, restore_sums
from analytics.evidence.law import LawBets
from analytics.evidence.mixture import Cohorts, Floats, log_sum_exp
from analytics.evidence.past import Past
from analytics.evidence.rare import quietened
from analytics.evidence.rate import RateBets
from analytics.evidence.spec import ArmCounts, CohortTree, EvidenceSpec, Law, State, Stratum

_YOUNG_GROWTH = 1.25
_YOUNG_UNITS = 5000
_GROWTH_TO_REBUILD = 1.5
"""Bets are rebuilt when the past has grown by this factor: a rule that sees only the past."""
_UNDROPPED_SHARE = 0.99
"""Share of the weight on what all strata say; the rest is for what is left after strata drop."""
_RARE_VOICE = 4.0
"""Rare cohorts may say so many times their share of what the others say: chance makes them loud."""
_NO_CUTS: NDArray[np.int64] = np.zeros((0, 0), np.int64)


class Betting:
    """The stakes of one process: log e per (stratum, bet) against each null, and their mixtures.

    The mixtures carry the process's weight; ``*_sup`` are latched.
    """

    def __init__(
        self,
        spec: EvidenceSpec,
        tree: CohortTree,
        *,
        factor_max: float = np.inf,
        rare_share: float = 0.0,
    ) -> None:
        self.spec = spec
        self.windows = 0  # in which both arms had units
        self.rare: Collection[Stratum] = ()  # cohorts that must not lead
        self._rare_voice = _RARE_VOICE * rare_share / (1.0 - rare_share)
        self._log_factor_max = float(np.log(factor_max))
        self.cohorts = Cohorts(tree)
        self.law = _law_of(spec, self.cohorts)
        self.past = Past(spec.cells)
        self.effect = effect_of(spec)
        self.equal: Floats = np.zeros((0, len(self.law.bets.names)))
        self.margin: Floats = np.zeros((0, len(self.law.bets.names)))
        widths = [len(group.names) for group in self.law.pass_bets]
        self.passing: Floats = np.zeros((0, sum(widths)))
        self.pass_sups: Floats = np.zeros(len(widths))
        self._pass_ends = np.cumsum(widths)[:-1]
        self.log_weight = float(np.log(spec.weight) + np.log(_UNDROPPED_SHARE))
        self.log_equal = self.log_equal_sup = self.log_weight
        self.log_margin = self.log_margin_sup = self.log_weight
        self._raw_equal = self._raw_margin = 0.0  # before any window's factor was clipped
        self._drops = 0
        self._built: Past | None = None

    def step(self, counts: Mapping[Stratum, ArmCounts]) -> None:
        """Bet on one closed window, then learn from it."""
        strata = [s for s in sorted(counts) if self._is_seen(s, counts[s])]
        if not strata:
            return
        known = len(self.cohorts)
        rows = self.cohorts.rows(strata)
        self._grow(len(self.cohorts))
        if len(self.cohorts) > known or self._is_due():
            self._build()
        candidate = np.stack([counts[s].candidate for s in strata])
        control = np.stack([counts[s].control for s in strata])
        growth = self.law.growth(rows, candidate, control)
        # min(e, c) of an e-value is one: no window of one stratum decides alone
        self.equal[rows] += np.minimum(growth.equal, self._log_factor_max)
        self.margin[rows] += np.minimum(growth.margin, self._log_factor_max)
        self.passing[rows] += growth.passing
        self.effect.add(rows, candidate, control, self._cuts())
        self.past.add(rows, candidate, control)
        self.windows += bool(candidate.any() and control.any())
        self._look()

    def drop(self, strata: Collection[Stratum]) -> None:
        """Take strata out as if they had never bet, because of how they *enrolled*.

        What is left is a process of its own and spends a share of its own: the i-th time,
        6 / (pi^2 i^2) of what `_UNDROPPED_SHARE` leaves over. The shares sum to 1, so the union
        bound holds however often strata are dropped. Nothing latched is kept.
        """
        self._drops += 1
        share = (1.0 - _UNDROPPED_SHARE) * 6.0 / (np.pi**2 * self._drops**2)
        self.log_weight = float(np.log(self.spec.weight) + np.log(share))
        gone = [i for i, stratum in enumerate(self.cohorts.strata) if stratum in strata]
        for logs in (self.equal, self.margin, self.passing):
            logs[gone] = 0.0
        self.past.forget(gone)
        self._build()
        self.pass_sups[:] = 0.0
        self._raw_equal, self._raw_margin = self._mixed(self.equal), self._mixed(self.margin)
        self.log_equal = self.log_equal_sup = self.log_weight + self._raw_equal
        self.log_margin = self.log_margin_sup = self.log_weight + self._raw_margin

    def equal_by_bet(self) -> Floats:
        """Log of each bet's part of E against equality, without the process's weight."""
        return self._by_bet(self.equal)

    def state(self, prefix: str) -> State:
        """Everything that `restore` needs, under ``prefix``."""
        width = len(self.cohorts.tree.attributes)
        state: State = {
            prefix + "strata": np.array(self.cohorts.strata, np.str_).reshape(-1, width),
            prefix + "equal": self.equal.copy(),
            prefix + "margin": self.margin.copy(),
            prefix + "passing": self.passing.copy(),
            prefix + "pass_sups": self.pass_sups.copy(),
            prefix + "logs": np.array([getattr(self, name) for name in _LOGS]),
            prefix + "counters": np.array([self.windows, self._drops]),
            prefix + "effect": self.effect.sums.copy(),
            **self.past.state(prefix + "past/"),
        }
        if isinstance(self.law, CategoryBets):
            state[prefix + "classes"] = np.array(self.law.classes, np.int64)
        if self._built is not None:
            state |= self._built.state(prefix + "built/")
        return state

    def restore(self, state: State, prefix: str) -> None:
        """Continue from a snapshot, bit for bit."""
        self.cohorts.rows([tuple(row) for row in state[prefix + "strata"].tolist()])
        self.equal = np.array(state[prefix + "equal"], np.float64)
        self.margin = np.array(state[prefix + "margin"], np.float64)
        self.passing = np.array(state[prefix + "passing"], np.float64)
        self.pass_sups = np.array(state[prefix + "pass_sups"], np.float64)
        for name, value in zip(_LOGS, state[prefix + "logs"].tolist(), strict=True):
            setattr(self, name, value)
        self.windows, self._drops = state[prefix + "counters"].tolist()
        restore_sums(self.effect, state, prefix + "effect")
        self.past = Past.restore(self.spec.cells, state, prefix + "past/")
        if isinstance(self.law, CategoryBets):
            held = len(self.law.classes)
            self.law.seat(state[prefix + "classes"].tolist()[held:])
        if prefix + "built/strata" in state:
            self._built = Past.restore(self.spec.cells, state, prefix + "built/")
            self.law.build(self._built)

    def _is_seen(self, stratum: Stratum, arms: ArmCounts) -> bool:
        shape = (self.spec.cells,)
        if arms.candidate.shape != shape or arms.control.shape != shape:
            raise ValueError(f"{self.spec.name} in {stratum}: counts must have shape {shape}")
        return bool(arms.candidate.any() or arms.control.any())

    def _grow(self, strata: int) -> None:
        self.past.grow(strata)
        more = strata - len(self.equal)
        if more > 0:
            self.equal = np.vstack((self.equal, np.zeros((more, self.equal.shape[1]))))
            self.margin = np.vstack((self.margin, np.zeros((more, self.margin.shape[1]))))
            self.passing = np.vstack((self.passing, np.zeros((more, self.passing.shape[1]))))

    def _is_due(self) -> bool:
        before = 0 if self._built is None else self._built.units
        growth = _YOUNG_GROWTH if before < _YOUNG_UNITS else _GROWTH_TO_REBUILD
        return self.past.units > growth * before

    def _build(self) -> None:
        if self.spec.law is Law.RATE or self.past.units == 0:
            return
        self._built = self.past.copy()
        self.law.build(self._built)

    def _cuts(self) -> NDArray[np.int64]:
        return self.law.cuts if isinstance(self.law, DistributionBets) else _NO_CUTS

    def _by_bet(self, logs: Floats) -> Floats:
        if (rare := self.cohorts.rows_of(self.rare)).any():
            logs = quietened(logs, rare, self._rare_voice)
        return self.cohorts.log_by_bet(logs, self.law.bets.log_stakes, self._log_factor_max)

    def _mixed(self, logs: Floats) -> float:
        return log_sum_exp(self._by_bet(logs))

    def _look(self) -> None:
        equal, margin = self._mixed(self.equal), self._mixed(self.margin)
        self.log_equal += min(equal - self._raw_equal, self._log_factor_max)
        self.log_margin += min(margin - self._raw_margin, self._log_factor_max)
        self._raw_equal, self._raw_margin = equal, margin
        self.log_equal_sup = max(self.log_equal_sup, self.log_equal)
        self.log_margin_sup = max(self.log_margin_sup, self.log_margin)
        grown = np.split(self.passing.sum(0), self._pass_ends)
        for i, (group, logs) in enumerate(zip(self.law.pass_bets, grown, strict=False)):
            self.pass_sups[i] = max(self.pass_sups[i], log_sum_exp(logs + group.log_stakes))


_LOGS = (
    "log_equal",
    "log_equal_sup",
    "log_margin",
    "log_margin_sup",
    "_raw_equal",
    "_raw_margin",
    "log_weight",
)


def _law_of(spec: EvidenceSpec, cohorts: Cohorts) -> LawBets:
    if spec.law is Law.DISTRIBUTION:
        return DistributionBets(spec, cohorts)
    return RateBets(spec, cohorts) if spec.law is Law.RATE else CategoryBets(spec, cohorts)
