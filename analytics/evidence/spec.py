"""What one rollout is judged on: its metrics, its cohorts, its counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

Stratum = tuple[str, ...]
"""Values of the cohort attributes in tree order; the first attribute is the ramp step."""

State = dict[str, NDArray[np.generic]]
"""A snapshot: flat, every value an array (scalars are 0-d), so ``numpy.savez`` can hold it."""


class Law(StrEnum):
    """What a metric's counts are, and so which null hypothesis is tested."""

    DISTRIBUTION = "distribution"
    RATE = "rate"
    CATEGORY = "category"


@dataclass(frozen=True, slots=True)
class EvidenceSpec:
    """One betting process: a metric on one day block.

    Parameters
    ----------
    weight
        Share of alpha this process may spend; the sum over a rollout's specs is at most 1.
    margin
        What is tolerated: a ratio minus 1 for distributions and rates, total variation for
        categories.
    cells
        Length of the count vectors. A rate has 2, index 1 being the failures.
    low_bucket
        Grid bucket of cell 0 of a distribution. At 0, cell 0 holds zeros, which no factor moves;
        otherwise cell 0 also holds everything below it.
    """

    metric: str
    day: int
    law: Law
    weight: float
    margin: float
    cells: int
    low_bucket: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.weight <= 1.0:
            raise ValueError(f"weight of {self.metric} must be in (0, 1], not {self.weight}")
        if not self.margin > 0.0:
            raise ValueError(f"margin of {self.metric} must be positive, not {self.margin}")
        if self.cells < 2 or (self.law is Law.RATE and self.cells != 2):  # noqa: PLR2004
            raise ValueError(f"{self.metric}: {self.cells} cells do not make a {self.law}")

    @property
    def name(self) -> str:
        """Metric and, beyond the first day, its day block."""
        return self.metric if self.day == 0 else f"{self.metric}@{self.day}d"


@dataclass(frozen=True, slots=True)
class BreachRules:
    """What a breach must stand on, beyond its e-values; none of it depends on what was seen.

    Parameters
    ----------
    units_min
        Units of the breaching process in each arm. Cohorts that together have no more phones of
        each arm than this are rare.
    windows_min
        Windows in which the breaching process had units in both arms.
    factor_max
        The most by which one window, or one stratum in the product over all strata, multiplies E;
        above 1. ``min(e, c)`` of an e-value is one.
    rare_share
        Share of the enrolments, in [0, 1), of the smallest cohorts, which together speak for a
        breach by their share of what the others say alone: what few phones are in is cheap to fill
        with forged ones.
    """

    units_min: int = 30
    windows_min: int = 2
    factor_max: float = 10_000.0
    rare_share: float = 0.05


USUAL_RULES: Final = BreachRules()
"""What a policy that says nothing of it gets."""


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """Betting units of one stratum in one closed window, each array of shape ``(cells,)``."""

    candidate: NDArray[np.int64]
    control: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CohortTree:
    """Cohort attributes, the ramp step first, and the size of each one's vocabulary.

    The step only stratifies. A cohort is a prefix of the other attributes, over all steps: a fault
    in one country does not start anew when the ramp widens.
    """

    attributes: tuple[str, ...]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.attributes) != len(self.sizes) or not self.sizes or min(self.sizes) < 1:
            raise ValueError("a cohort tree has one positive vocabulary size per attribute")

    @property
    def capacities(self) -> tuple[int, ...]:
        """Number of possible cohorts on each level, coarse to fine."""
        return tuple(prod(self.sizes[1 : level + 1]) for level in range(1, len(self.sizes)))

    @property
    def strata(self) -> int:
        """Number of possible strata."""
        return prod(self.sizes)


Window = Mapping[tuple[str, int], Mapping[Stratum, ArmCounts]]
"""(metric, day) -> stratum -> counts of one closed log-time window."""
