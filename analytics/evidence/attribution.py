"""Who is hit, looked at once: at the breach.

Cohorts are named by e-BH over the finest cohorts' e-values at that moment (false discovery rate
5 % under any dependence). If the rest of the fleet has evidence of its own (E >= 20), the fault is
everywhere and no cohort is named.

Source: Wang, Ramdas 2022 (e-BH).
"""

from dataclasses import dataclass

import numpy as np

from analytics.evidence.betting import Betting
from analytics.evidence.mixture import log_sum_exp

FALSE_DISCOVERY_SHARE = 0.05
_COMPLEMENT_LOG_E = float(np.log(20.0))
_TOP_STRATA = 5


@dataclass(frozen=True, slots=True)
class Attribution:
    """The winning bet, the strata that earned most with it, and the cohorts that are named.

    ``reach`` is ``everywhere``, ``cohorts`` (the named ones; the rest is undecided) or
    ``unlocated``.
    """

    bet: str
    strata: dict[str, float]
    named: tuple[str, ...]
    reach: str


def attribute(betting: Betting) -> Attribution:
    """Attribution of one process's evidence as it stands."""
    bet = int(np.argmax(betting.equal_by_bet()))
    named, reach = _cohorts(betting)
    return Attribution(betting.law.name(bet), _top_strata(betting, bet), named, reach)


def _top_strata(betting: Betting, bet: int) -> dict[str, float]:
    """Share of the positive log evidence of one bet, largest first."""
    logs = np.maximum(betting.equal[:, bet], 0.0)
    total = float(logs.sum())
    if total <= 0.0:
        return {}
    top = np.argsort(-logs, kind="stable")[:_TOP_STRATA]
    strata = betting.cohorts.strata
    return {"/".join(strata[i]): float(logs[i]) / total for i in top.tolist() if logs[i] > 0.0}


def _cohorts(betting: Betting) -> tuple[tuple[str, ...], str]:
    stakes = betting.law.bets.log_stakes
    leaves = betting.cohorts.leaves()
    log_e = np.array([log_sum_exp(betting.equal[rows].sum(0) + stakes) for _, rows in leaves])
    order = np.argsort(-log_e, kind="stable")
    rank = np.arange(1, len(order) + 1)
    passed = log_e[order] >= np.log(len(order) / (FALSE_DISCOVERY_SHARE * rank))
    count = int(rank[passed].max()) if passed.any() else 0
    rest = [leaves[i][1] for i in order[count:].tolist()]
    if not rest:
        return (), "everywhere"
    complement = betting.equal[np.concatenate(rest)].sum(0)
    if log_sum_exp(complement + stakes) >= _COMPLEMENT_LOG_E:
        return (), "everywhere"
    named = tuple(sorted("/".join(leaves[i][0]) for i in order[:count].tolist()))
    return named, "cohorts" if named else "unlocated"
