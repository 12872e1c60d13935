"""A small seeded fleet for the evidence tests: latencies with a slow mode, errors, classes."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from analytics.buckets import COUNT, bucket_of
from analytics.evidence.rollout import RolloutEvidence
from analytics.evidence.spec import ArmCounts, CohortTree, EvidenceSpec, Law, Stratum
from analytics.types import Outcome

Counts = NDArray[np.int64]
Draw = Callable[[np.random.Generator, int], Counts]
TREE = CohortTree(("step", "region"), (4, 4))
LATENCY = EvidenceSpec("latency", 0, Law.DISTRIBUTION, 1.0, 0.05, COUNT)
ERRORS = EvidenceSpec("errors", 0, Law.RATE, 1.0, 0.10, 2)
LABELS = EvidenceSpec("labels", 0, Law.CATEGORY, 1.0, 0.02, 10)

_zipf = 1.0 / np.arange(1, 11)
ZIPF: NDArray[np.float64] = _zipf / _zipf.sum()
MOVED: NDArray[np.float64] = ZIPF + np.array([-0.05, 0, 0, 0.05, 0, 0, 0, 0, 0, 0])


def latency(factor: float = 1.0, slow_share: float = 0.06, tail: float = 1.0) -> Draw:
    """Histogram of gamma latencies with a slow mode; ``tail`` stretches the slowest 2 %."""

    def draw(rng: np.random.Generator, units: int) -> Counts:
        slow = rng.random(units) < slow_share
        ms = 5 + np.where(slow, 300 + rng.exponential(400, units), rng.gamma(1.5, 30, units))
        slowest_ms = 840.0  # the 98th percentile of this law
        ms = np.where(ms > slowest_ms, ms * tail, ms) * factor
        return np.bincount(bucket_of(ms.astype(np.float32)), minlength=COUNT)

    return draw


def failures(share: float) -> Draw:
    """Counts of (fine, failed)."""

    def draw(rng: np.random.Generator, units: int) -> Counts:
        failed = int(rng.binomial(units, share))
        return np.array([units - failed, failed])

    return draw


def classes(law: NDArray[np.float64]) -> Draw:
    """Class counts."""
    return lambda rng, units: rng.multinomial(units, law).astype(np.int64)


def rollout(*specs: EvidenceSpec, tree: CohortTree = TREE, alpha: float = 1e-4) -> RolloutEvidence:
    """A rollout with the product's margins."""
    return RolloutEvidence(specs, tree, alpha=alpha, alpha_margin=0.05)


def window(
    rng: np.random.Generator,
    spec: EvidenceSpec,
    candidate: Draw,
    control: Draw,
    units: Mapping[Stratum, tuple[int, int]],
) -> dict[tuple[str, int], dict[Stratum, ArmCounts]]:
    """One window of one metric with the given units per stratum and arm."""
    return {
        (spec.metric, spec.day): {
            stratum: ArmCounts(candidate(rng, arms[0]), control(rng, arms[1]))
            for stratum, arms in units.items()
        }
    }


WindowCounts = dict[tuple[str, int], dict[Stratum, ArmCounts]]

EVEN: dict[Stratum, tuple[int, int]] = {("1", "de"): (100, 100), ("1", "us"): (100, 100)}


def de(candidate: int, control: int) -> dict[Stratum, tuple[int, int]]:
    """Units per arm of one stratum."""
    return {("1", "de"): (candidate, control)}


def windows_to_breach(
    seed: int, spec: EvidenceSpec, candidate: Draw, control: Draw, windows: int = 60
) -> tuple[float, RolloutEvidence]:
    """Windows of 200 units per arm until the breach (inf if none), and the rollout."""
    rng = np.random.default_rng(seed)
    evidence = rollout(spec)
    for number in range(1, windows + 1):
        evidence.step(window(rng, spec, candidate, control, EVEN), enrolled={})
        if evidence.evaluate()[0] is Outcome.BREACH:
            return number, evidence
    return float("inf"), evidence
