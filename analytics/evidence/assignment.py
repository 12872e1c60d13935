"""Did the phones split as assigned? A beta-binomial e-process on enrolments.

``E = B(a + n_c, b + n_b) / B(a, b) rho^-n_c (1 - rho)^-n_b`` with ``a = kappa rho`` and
``b = kappa (1 - rho)``: half the stake on all enrolments together, half shared evenly by the
possible strata. Only enrolments count: betting units arrive later in the arm that must download.

Source: Lindon, Malek 2022 (anytime-valid sample ratio mismatch).
"""

from math import lgamma

import numpy as np

from analytics.evidence.mixture import Floats, log_sum_exp
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
    """Enrolments per stratum so far, and the largest evidence that they are not ``rho`` split."""

    def __init__(self, tree: CohortTree, rho: float) -> None:
        if not 0.0 < rho < 1.0:
            raise ValueError(f"the assigned share must be in (0, 1), not {rho}")
        self.rho = rho
        self.log_e = 0.0
        self.log_e_sup = 0.0
        self.enrolled: dict[Stratum, tuple[int, int]] = {}
        self._capacity = tree.strata

    def add(self, stratum: Stratum, candidate: int, control: int) -> None:
        """Count the enrolments of one window."""
        before = self.enrolled.get(stratum, (0, 0))
        if candidate or control:
            self.enrolled[stratum] = (before[0] + candidate, before[1] + control)

    def look(self) -> None:
        """Renew the evidence after a window."""
        if not self.enrolled:
            return
        counts = self.counts().astype(float)
        pooled = counts.sum(0)
        everywhere = float(log_assignment(pooled[:1], pooled[1:], self.rho)[0])
        each = log_assignment(counts[:, 0], counts[:, 1], self.rho)[: self._capacity]
        rest = max(self._capacity - len(each), 0)
        terms = np.append(each, np.log(rest) if rest else -np.inf) - np.log(self._capacity)
        self.log_e = float(log_sum_exp(np.array([everywhere, log_sum_exp(terms)])) - np.log(2.0))
        self.log_e_sup = max(self.log_e_sup, self.log_e)

    def counts(self) -> Counts:
        """Enrolments, shape (strata, 2), in the order of `enrolled`."""
        return np.array(list(self.enrolled.values()), np.int64).reshape(-1, 2)
