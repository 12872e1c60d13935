"""What one window of evidence costs for many releases: the pure function, no process around it."""

import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.buckets import COUNT
from analytics.evidence.rollout import RolloutEvidence
from analytics.evidence.spec import ArmCounts, CohortTree, EvidenceSpec, Law, Stratum

_RELEASES: Final = 100
_STRATA: Final = 100
_WINDOWS_BEFORE: Final = 3
_UNITS: Final = 40
_TREE: Final = CohortTree(("step", "region", "tier"), (4, 34, 3))
_CLASSES: Final = 10
_SPECS: Final = (
    EvidenceSpec("inference.latency", 0, Law.DISTRIBUTION, 0.3, 0.05, COUNT),
    EvidenceSpec("unit.energy", 0, Law.DISTRIBUTION, 0.1, 0.05, COUNT),
    EvidenceSpec("unit.data", 0, Law.DISTRIBUTION, 0.1, 0.05, COUNT),
    EvidenceSpec("prediction.class", 0, Law.CATEGORY, 0.2, 0.02, _CLASSES),
    EvidenceSpec("unit.error", 0, Law.RATE, 0.15, 0.10, 2),
    EvidenceSpec("unit.silence", 0, Law.RATE, 0.15, 0.10, 2),
)
Counts = NDArray[np.int64]


def evidence_seconds(seed: int = 1) -> float:
    """CPU-seconds to step 100 releases of 100 strata each, 6 metrics, every bet, by one window."""
    rng = np.random.default_rng(seed)
    strata: list[Stratum] = [("1", f"r{i // 3}", f"t{i % 3}") for i in range(_STRATA)]
    windows = [_window(strata, rng) for _ in range(_WINDOWS_BEFORE + 1)]
    spent = 0.0
    for _ in range(_RELEASES):
        evidence = RolloutEvidence(_SPECS, _TREE, alpha=1e-4, alpha_margin=0.05)
        for window in windows[:-1]:
            evidence.step(window, enrolled={})
        before_s = time.process_time()
        evidence.step(windows[-1], enrolled={})
        evidence.evaluate()
        spent += time.process_time() - before_s
    return spent


def _window(
    strata: list[Stratum], rng: np.random.Generator
) -> dict[tuple[str, int], dict[Stratum, ArmCounts]]:
    return {
        (spec.metric, spec.day): {
            stratum: ArmCounts(_draw(spec, rng), _draw(spec, rng)) for stratum in strata
        }
        for spec in _SPECS
    }


def _draw(spec: EvidenceSpec, rng: np.random.Generator) -> Counts:
    if spec.law is Law.RATE:
        cells = (rng.random(_UNITS) < 0.1).astype(np.int64)
    elif spec.law is Law.CATEGORY:
        cells = rng.integers(0, spec.cells, _UNITS)
    else:
        cells = np.clip(rng.normal(spec.cells / 2, 8.0, _UNITS), 0, spec.cells - 1).astype(np.int64)
    return np.bincount(cells, minlength=spec.cells).astype(np.int64)
