"""A merged window -> the counts that one rollout's evidence bets on."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from analytics.cells import dense, histogram_offsets
from analytics.evidence.spec import ArmCounts, EvidenceSpec, Law, Stratum
from streams.partial import Cohort, WindowPartial
from streams.series import SILENCE_METRIC, UNIT_NAMES, UnitSeries

Counts = dict[tuple[str, int], dict[Stratum, ArmCounts]]


def stratum_of(series: UnitSeries, strata: Iterable[str]) -> Stratum:
    """Values of the cohort attributes, the ramp step first, epsilon last."""
    return (
        str(series.step),
        *(str(getattr(series, name)) for name in strata),
        f"{series.epsilon:g}",
    )


def window_counts(
    window: WindowPartial,
    rollout_id: str,
    specs: Iterable[EvidenceSpec],
    strata: Iterable[str],
) -> Counts:
    """Integer counts of betting units by spec and stratum, both arms."""
    wanted = {(s.metric, s.day): s for s in specs}
    offsets = histogram_offsets(window.units)
    out: Counts = {}
    for cell in range(len(window.units)):
        series = window.unit_series[window.units.key[cell]]
        name = UNIT_NAMES[window.units.metric[cell]]
        spec = wanted.get(name)
        if spec is None or series.rollout_id != rollout_id or not series.arm:
            continue
        counts = _of_cell(window, cell, offsets, spec)
        _add(out.setdefault(name, {}), stratum_of(series, strata), series.arm, counts)
    return out


def _of_cell(
    window: WindowPartial, cell: int, offsets: NDArray[np.int64], spec: EvidenceSpec
) -> NDArray[np.int64]:
    counts = dense(window.units, cell, offsets, spec.cells)
    # an error code other than 0 is a failure, whichever it is; `dense` has folded them into cell 1
    return counts if spec.law is not Law.RATE else counts[:2]


def _add(
    strata: dict[Stratum, ArmCounts], stratum: Stratum, arm: str, counts: NDArray[np.int64]
) -> None:
    old = strata.get(stratum) or ArmCounts(np.zeros_like(counts), np.zeros_like(counts))
    if arm == "candidate":
        strata[stratum] = ArmCounts(old.candidate + counts, old.control)
    else:
        strata[stratum] = ArmCounts(old.candidate, old.control + counts)


def enrolled_counts(
    enrolled: Counter[Cohort], rollout_id: str, strata: Iterable[str]
) -> dict[Stratum, tuple[int, int]]:
    """Enrolments of a window by stratum: (candidate, control)."""
    out: dict[Stratum, tuple[int, int]] = {}
    for cohort, count in enrolled.items():
        if cohort.series.rollout_id == rollout_id:
            stratum = stratum_of(cohort.series, strata)
            candidate, control = out.get(stratum, (0, 0))
            if cohort.series.arm == "candidate":
                out[stratum] = (candidate + count, control)
            else:
                out[stratum] = (candidate, control + count)
    return out


def add_silence(
    counts: Counts, cohorts: dict[Cohort, tuple[int, int]], strata: Iterable[str]
) -> None:
    """Add cohorts whose time is up: `cohorts` maps to (enrolled, of them betted)."""
    for cohort, (enrolled, betted) in sorted(cohorts.items()):
        silent = max(enrolled - betted, 0)
        _add(
            counts.setdefault((SILENCE_METRIC, 0), {}),
            stratum_of(cohort.series, strata),
            cohort.series.arm,
            np.array([enrolled - silent, silent], np.int64),
        )
