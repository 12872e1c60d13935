"""Half the stake on the whole rollout, half on its cohorts: the weights and the sums.

``E = sum_j pi_j [1/2 prod over all strata + 1/2 sum_node omega_node prod over the node's strata]``
with every weight fixed by the vocabulary sizes before anything is seen. A cohort never seen keeps
its stake at 1. Without the cohort half, a fault in 2 of 200 cohorts is never found.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from analytics.evidence.spec import CohortTree, Stratum

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]


def log_sum_exp(values: Floats) -> float:
    """log(sum(exp(values))) without overflow; ``-inf`` for nothing."""
    if values.size == 0:
        return -np.inf
    top = float(values.max())
    if not np.isfinite(top):
        return top
    return top + float(np.log(np.exp(values - top).sum()))


class Cohorts:
    """The strata of one process in order of first sight, and the nodes they belong to."""

    def __init__(self, tree: CohortTree) -> None:
        self.tree = tree
        self.strata: list[Stratum] = []
        self.groups: list[Rows] = [np.zeros(0, np.int64) for _ in tree.capacities]
        self._row: dict[Stratum, int] = {}
        self._nodes: list[dict[Stratum, int]] = [{} for _ in tree.capacities]
        self._order: Rows = np.zeros(0, np.int64)
        self._starts: Rows = np.zeros(0, np.int64)
        self._log_global = np.log(0.5) if tree.capacities else 0.0
        self._log_weights: Floats = np.zeros(0)
        self._log_unseen = np.log(0.5) if tree.capacities else -np.inf

    def __len__(self) -> int:
        return len(self.strata)

    def rows(self, strata: Sequence[Stratum]) -> Rows:
        """Row of each stratum; new ones are appended in the order given."""
        fresh = [stratum for stratum in strata if stratum not in self._row]
        for stratum in fresh:
            self._admit(stratum)
        if fresh:
            self._index()
        return np.array([self._row[stratum] for stratum in strata], np.int64)

    def leaves(self) -> list[tuple[Stratum, Rows]]:
        """Each finest cohort with its rows; without cohort attributes, everything is one."""
        if not self.groups:
            return [((), np.arange(len(self)))] if self.strata else []
        group = self.groups[-1]
        return [(cohort, np.flatnonzero(group == i)) for cohort, i in self._nodes[-1].items()]

    def rows_of(self, cohorts: Collection[Stratum]) -> Bools:
        """Which rows belong to these finest cohorts, shape (strata,)."""
        if not self.groups or not cohorts:
            return np.zeros(len(self), np.bool_)
        is_one = np.array([cohort in cohorts for cohort in self._nodes[-1]], np.bool_)
        rows: Bools = is_one[self.groups[-1]] if len(self) else np.zeros(0, np.bool_)
        return rows

    def log_by_bet(self, logs: Floats, log_stakes: Floats, log_cap: float = np.inf) -> Floats:
        """Log of each bet's share of E; ``logs`` has shape (strata, bets), result (bets,).

        In the product over all strata no stratum counts for more than ``log_cap``: a minimum of a
        supermartingale and a constant is one. Its own cohorts, which spend their own stakes, may.
        """
        capped = np.minimum(logs, log_cap) if self._order.size else logs
        total = self._log_global + capped.sum(0)
        if self._order.size:
            nodes = np.add.reduceat(logs[self._order], self._starts, axis=0)
            terms = np.vstack((total[None], nodes + self._log_weights[:, None]))
        else:
            terms = total[None]
        top = np.maximum(terms.max(0), self._log_unseen)
        seen = np.exp(terms - top).sum(0)
        by_bet: Floats = log_stakes + top + np.log(seen + np.exp(self._log_unseen - top))
        return by_bet

    def _admit(self, stratum: Stratum) -> None:
        if len(stratum) != len(self.tree.attributes):
            raise ValueError(f"stratum {stratum} does not fit {self.tree.attributes}")
        self._row[stratum] = len(self.strata)
        self.strata.append(stratum)
        for level, nodes in enumerate(self._nodes):
            nodes.setdefault(stratum[1 : level + 2], len(nodes))

    def _index(self) -> None:
        """Rows grouped by node, level after level; only nodes within capacity hold a stake."""
        orders: list[Rows] = []
        starts: list[Rows] = []
        weights: list[Floats] = []
        unseen = 0.0
        levels = len(self._nodes)
        for level, (nodes, capacity) in enumerate(
            zip(self._nodes, self.tree.capacities, strict=True)
        ):
            group = np.array([nodes[s[1 : level + 2]] for s in self.strata], np.int64)
            self.groups[level] = group
            order = np.argsort(group, kind="stable")
            starts.append(np.searchsorted(group[order], np.arange(len(nodes))) + len(group) * level)
            orders.append(order)
            weight = 0.5 / levels / capacity
            held = np.arange(len(nodes)) < capacity
            weights.append(np.where(held, np.log(weight), -np.inf))
            unseen += weight * (capacity - int(held.sum()))
        if orders:
            self._order, self._starts = np.concatenate(orders), np.concatenate(starts)
            self._log_weights = np.concatenate(weights)
            self._log_unseen = float(np.log(unseen)) if unseen > 0.0 else -np.inf
