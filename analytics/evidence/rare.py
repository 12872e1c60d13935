"""Which cohorts are too rare to speak for a breach, judged by enrolments alone.

A stratum that few phones are in is cheap to fill with forged ones. Filling one of those that count
costs a share of the whole fleet's enrolments, so the price grows with the fleet.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from analytics.evidence.spec import Stratum


def rare_cohorts(
    enrolled: Mapping[Stratum, tuple[int, int]], share: float, units_min: int
) -> frozenset[Stratum]:
    """The smallest cohorts (strata without the ramp step) that together hold too little.

    That is at most ``share`` of the fleet, or ``units_min`` phones while the fleet is young.
    ``enrolled`` is (candidate, control) of each stratum. A cohort weighs what both its arms have,
    so that enrolments of one arm move nothing. Of equals, the later in order is the rarer.
    """
    arms: dict[Stratum, tuple[int, int]] = {}
    for stratum, (candidate, control) in enrolled.items():
        before = arms.get(stratum[1:], (0, 0))
        arms[stratum[1:]] = (before[0] + candidate, before[1] + control)
    cohorts = sorted(arms, reverse=True)
    weights = np.array([min(arms[cohort]) for cohort in cohorts], np.int64)
    order = np.argsort(weights, kind="stable")
    held = np.cumsum(weights[order])
    if not held.size or not held[-1]:
        return frozenset()
    count = int(np.searchsorted(held, max(share * held[-1], units_min), side="right"))
    return frozenset(cohorts[i] for i in order[:count].tolist())


def quietened(
    logs: NDArray[np.float64], rare: NDArray[np.bool_], voice: float
) -> NDArray[np.float64]:
    """Log E with what rare rows say for a breach at most ``voice`` times what the others say.

    ``logs`` has shape (strata, bets), ``rare`` (strata,). Honest phones of rare cohorts say what
    all say, and lose nothing by it. No value grows, so whichever cohorts are rare at a moment, the
    product of all is below the one that was proven.
    """
    said = np.maximum(logs[rare], 0.0)
    total = said.sum(0)
    most = voice * np.maximum(logs[~rare].sum(0), 0.0)
    scale = np.divide(most, total, out=np.ones_like(total), where=total > most)
    kept = logs.copy()
    kept[rare] = np.minimum(logs[rare], 0.0) + said * scale
    return kept
