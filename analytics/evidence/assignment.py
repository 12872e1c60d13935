"""Did the phones split as assigned? A beta-binomial e-process on enrolments.

``E = B(a + n_c, b + n_b) / B(a, b) rho^-n_c (1 - rho)^-n_b`` with ``a = kappa rho`` and
``b = kappa (1 - rho)``. A stratum that is split wrongly is dropped, whoever bent it; what is left
is judged together, for as long as it stands. Only enrolments count: betting units arrive later in
the arm that must download.

Source: Lindon, Malek 2022 (anytime-valid sample ratio mismatch).
"""

from math import lgamma

import numpy as np

from analytics.evidence.mixture import Floats
from analytics.evidence.past import Counts
from analytics.evidence.spec import CohortTree, Stratum

KAPPA = 100.0


_LOG_GAMMA = np.frompyfunc(lgamma, 1, 1)


def log_beta(a: Floats | float, b: Floats | float) -> Floats:
    """Log of the beta function of positive numbers, any shape."""
    return np.asarray(_LOG_GAMMA(a) + _LOG_GAMMA(b) - _LOG_GAMMA(a + b), np.float64)


def log_assignment(candidate: Floats, control: Floats, rho: float) -> Floats:
    """Log e-value of the enrolment counts of each arm, any shape, against a share of ``rho``."""
    a, b = KAPPA * rho, KAPPA * (1.0 - rho)
    log_e: Floats = (
        log_beta(a + candidate, b + control)
        - log_beta(a, b)
        - candidate * np.log(rho)
        - control * np.log1p(-rho)
    )
    return log_e


class AssignmentCheck:
    """Enrolments per stratum so far; which strata are not ``rho`` split, and whether the rest is.

    Half of alpha is for the strata, evenly over the possible ones: a stratum whose own evidence
    has reached 2 x strata / alpha is dropped for good. Half is for the strata that are left, all
    together. If every stratum splits as assigned, either happens with probability at most alpha/2.
    """

    def __init__(self, tree: CohortTree, rho: float, *, alpha: float) -> None:
        if not 0.0 < rho < 1.0:
            raise ValueError(f"the assigned share must be in (0, 1), not {rho}")
        self.rho = rho
        self.log_e = 0.0
        self.enrolled: dict[Stratum, tuple[int, int]] = {}
        self.dropped: set[Stratum] = set()
        self.log_threshold = float(-np.log(alpha))
        self._log_threshold_stratum = self.log_threshold + float(np.log(2.0 * tree.strata))

    @property
    def is_skewed(self) -> bool:
        """What is left is not split as assigned, or less is left than was dropped."""
        return self.log_e >= self.log_threshold

    def add(self, stratum: Stratum, candidate: int, control: int) -> None:
        """Count the enrolments of one window."""
        before = self.enrolled.get(stratum, (0, 0))
        if candidate or control:
            self.enrolled[stratum] = (before[0] + candidate, before[1] + control)

    def look(self) -> set[Stratum]:
        """Renew the evidence after a window; the strata that are dropped by it."""
        if not self.enrolled:
            return set()
        strata, counts = list(self.enrolled), self.counts().astype(float)
        each = log_assignment(counts[:, 0], counts[:, 1], self.rho)
        bad = each >= self._log_threshold_stratum
        fresh = {strata[i] for i in np.flatnonzero(bad)} - self.dropped
        self.dropped |= fresh
        gone = np.array([stratum in self.dropped for stratum in strata])
        pooled = counts[~gone].sum(0)
        together = log_assignment(pooled[:1], pooled[1:], self.rho)[0]
        self.log_e = float(together - np.log(2.0))
        # what both arms have, so that one arm of an empty stratum weighs nothing
        weight = counts.min(1)
        if gone.all() or weight[gone].sum() > weight[~gone].sum():
            worst = float(each[gone].max()) - self._log_threshold_stratum + self.log_threshold
            self.log_e = max(self.log_e, worst)
        return fresh

    def left(self) -> dict[Stratum, tuple[int, int]]:
        """Enrolments of the strata that were not dropped."""
        return {s: arms for s, arms in self.enrolled.items() if s not in self.dropped}

    def counts(self) -> Counts:
        """Enrolments, shape (strata, 2), in the order of `enrolled`."""
        return np.array(list(self.enrolled.values()), np.int64).reshape(-1, 2)
