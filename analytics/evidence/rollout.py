"""The evidence of one rollout attempt: windows in, an outcome with its arithmetic out.

Rolled back although not worse: probability at most alpha, whenever anyone looks. Rolled back
although at most the margin worse: at most alpha_margin. A process is one metric on one day block;
a breach needs both tiers of the *same* process, each carrying the process's weight. Processes are
joined by the union bound, not by adding their e-values: the same installation bets in several of
them at different times, and a sum of e-processes over different histories is not one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Self

import numpy as np

from analytics.evidence.assignment import AssignmentCheck
from analytics.evidence.attribution import attribute
from analytics.evidence.betting import Betting
from analytics.evidence.rare import rare_cohorts
from analytics.evidence.spec import (
    USUAL_RULES,
    BreachRules,
    CohortTree,
    EvidenceSpec,
    State,
    Stratum,
    Window,
)
from analytics.types import Arithmetic, Outcome

_SPECS_WEIGHT_SLACK = 1e-9
_PASS_UNITS = 2000
"""Before this many units a young tail fault has not had its chance to speak."""


class RolloutEvidence:
    """Evidence that one candidate is worse than the stable release enrolled beside it.

    Parameters
    ----------
    alpha, alpha_margin
        What this attempt may spend on a candidate that is not worse, and on one that is at most
        the margin worse.
    rho
        Assigned share of the candidate among enrolments.
    rules
        What a breach must stand on besides.
    """

    def __init__(
        self,
        specs: Sequence[EvidenceSpec],
        tree: CohortTree,
        *,
        alpha: float,
        alpha_margin: float,
        rho: float = 0.5,
        rules: BreachRules = USUAL_RULES,
    ) -> None:
        if not specs or sum(spec.weight for spec in specs) > 1.0 + _SPECS_WEIGHT_SLACK:
            raise ValueError("a rollout needs specs whose weights sum to at most 1")
        if len({(spec.metric, spec.day) for spec in specs}) != len(specs):
            raise ValueError("two specs judge the same metric on the same day block")
        if min(alpha, alpha_margin) <= 0.0 or max(alpha, alpha_margin) >= 1.0:
            raise ValueError("alpha and alpha_margin must be in (0, 1)")
        self.alpha = alpha
        self.threshold_equal = float(-np.log(alpha))
        self.threshold_margin = float(-np.log(alpha_margin))
        self.windows = 0
        self.rules = rules
        self.bettings = [
            Betting(spec, tree, factor_max=rules.factor_max, rare_share=rules.rare_share)
            for spec in specs
        ]
        self.assignment = AssignmentCheck(tree, rho, alpha=alpha)
        self._breach: Arithmetic | None = None
        self._rare: frozenset[Stratum] | None = None

    @property
    def is_misassigned(self) -> bool:
        """The enrolments of the strata that are left did not split as assigned, so far."""
        return self.assignment.is_skewed

    def step(self, window: Window, *, enrolled: Mapping[Stratum, tuple[int, int]]) -> None:
        """Take one closed log-time window: betting units and new enrolments (candidate, control).

        After a breach nothing bets any more; while the assignment is wrong, nothing breaches.
        """
        if self._breach is not None:
            return
        self.windows += 1
        for stratum in sorted(enrolled):
            self.assignment.add(stratum, *enrolled[stratum])
        bad = self.assignment.look()
        if enrolled or self._rare is None:
            rules = self.rules
            self._rare = rare_cohorts(self.assignment.left(), rules.rare_share, rules.units_min)
        for betting in self.bettings:
            betting.rare = self._rare
            if bad:
                betting.drop(bad)
            counts = window.get((betting.spec.metric, betting.spec.day), {})
            left = {s: arms for s, arms in counts.items() if s not in self.assignment.dropped}
            if left:
                betting.step(left)
        if self.is_misassigned:
            return
        standing = [betting for betting in self.bettings if self._stands(betting)]
        if standing:
            self._breach = self._breach_arithmetic(max(standing, key=self._lead))

    def evaluate(self) -> tuple[Outcome, Arithmetic]:
        """Outcome as of the last window. A breach stays as it was when it came."""
        if self._breach is not None:
            return Outcome.BREACH, self._breach
        leader = self._leader()
        if self.is_misassigned:
            return Outcome.INCONCLUSIVE, self._arithmetic(leader, "assignment")
        if all(self._is_cleared(betting) for betting in self.bettings):
            return Outcome.PASS, self._arithmetic(leader, "not_worse_by_twice_the_margin")
        return Outcome.INCONCLUSIVE, self._arithmetic(leader, "not_enough_evidence")

    def state(self) -> State:
        """A snapshot; `restore` continues from it bit for bit."""
        enrolled = self.assignment.enrolled
        strata = json.dumps(list(enrolled))
        breach = "" if self._breach is None else json.dumps(asdict(self._breach))
        state: State = {
            "windows": np.array(self.windows),
            "enrolled_strata": np.array(strata),
            "enrolled_counts": self.assignment.counts(),
            "dropped_strata": np.array(json.dumps(sorted(self.assignment.dropped))),
            "assignment": np.array(self.assignment.log_e),
            "breach": np.array(breach),
        }
        for i, betting in enumerate(self.bettings):
            state |= betting.state(f"{i}/")
        return state

    @classmethod
    def restore(
        cls,
        specs: Sequence[EvidenceSpec],
        tree: CohortTree,
        state: State,
        *,
        alpha: float,
        alpha_margin: float,
        rho: float = 0.5,
        rules: BreachRules = USUAL_RULES,
    ) -> Self:
        """Continue a rollout from `state`, with the settings that it was made with."""
        rollout = cls(specs, tree, alpha=alpha, alpha_margin=alpha_margin, rho=rho, rules=rules)
        rollout.windows = int(state["windows"])
        strata = [tuple(s) for s in json.loads(str(state["enrolled_strata"]))]
        for stratum, counts in zip(strata, state["enrolled_counts"].tolist(), strict=True):
            rollout.assignment.enrolled[stratum] = (counts[0], counts[1])
        rollout.assignment.dropped = {tuple(s) for s in json.loads(str(state["dropped_strata"]))}
        rollout.assignment.log_e = float(state["assignment"])
        if breach := str(state["breach"]):
            fields = json.loads(breach)
            fields["named_cohorts"] = tuple(fields["named_cohorts"])
            rollout._breach = Arithmetic(**fields)
        for i, betting in enumerate(rollout.bettings):
            betting.restore(state, f"{i}/")
        return rollout

    def _lead(self, betting: Betting) -> float:
        """How far the nearer tier is beyond its threshold; at 0 the process is in breach."""
        return min(
            betting.log_equal_sup - self.threshold_equal,
            betting.log_margin_sup - self.threshold_margin,
        )

    def _stands(self, betting: Betting) -> bool:
        """Both tiers reached their thresholds, on enough units and windows."""
        past, rules = betting.past, self.rules
        fewest = min(past.candidate.sum(), past.control.sum())
        is_founded = fewest >= rules.units_min and betting.windows >= rules.windows_min
        return bool(is_founded and self._lead(betting) >= 0.0)

    def _leader(self) -> Betting:
        return max(self.bettings, key=self._lead)

    def _is_cleared(self, betting: Betting) -> bool:
        """Nothing speaks for worse than the margin, and twice the margin everywhere is rejected.

        For a distribution, a tail half as heavy again is rejected too.

        Total variation has no swapped process: a category only has to show no evidence.
        """
        log_margin = betting.log_margin - betting.log_weight
        if betting.log_margin_sup >= self.threshold_margin or log_margin >= 0.0:
            return False
        if betting.past.units < _PASS_UNITS:
            return False
        return bool((betting.pass_sups >= self.threshold_margin).all())

    def _breach_arithmetic(self, leader: Betting) -> Arithmetic:
        found = attribute(leader)
        return replace(
            self._arithmetic(leader, found.reach),
            bet=found.bet,
            strata=found.strata,
            named_cohorts=found.named,
        )

    def _arithmetic(self, leader: Betting, reason: str) -> Arithmetic:
        effect, low, high = leader.effect.interval()
        return Arithmetic(
            alpha=self.alpha,
            log_e_equal=leader.log_equal,
            log_e_equal_sup=leader.log_equal_sup,
            log_threshold_equal=self.threshold_equal,
            log_e_margin=leader.log_margin,
            log_e_margin_sup=leader.log_margin_sup,
            log_threshold_margin=self.threshold_margin,
            margin=leader.spec.margin,
            metric=leader.spec.name,
            units_candidate=int(leader.past.candidate.sum()),
            units_control=int(leader.past.control.sum()),
            windows=self.windows,
            effect=effect,
            effect_low=low,
            effect_high=high,
            metrics={betting.spec.name: betting.log_equal_sup for betting in self.bettings},
            assignment_log_e=self.assignment.log_e,
            reason=reason,
        )
