"""Every fault over many seeds through the whole product: `python -m bench.demo_matrix`.

Each run is a demo of its own, in a folder of its own: a node, a fleet, a repository. A healthy
release must never be rolled back; a bad one must be, once, for the metric that its fault bends.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench.report import Report, Result
from holdfast.demo import Demo, DemoPlan, DemoResult
from holdfast.manifests import Clocks
from sdk_stub.faults import FAULTS

METRIC_OF: Final = {
    "latency": "inference.latency",
    "tail": "inference.latency",
    "labels": "prediction.class",
    "battery": "unit.energy",
    "data": "unit.data",
    "errors": "unit.error",
    "silent": "unit.silence",
}
"""One right metric each: a fault of the simulated fleet changes its own columns and leaves all
others bit for bit, so naming any other metric would be luck."""

_CLOCKS: Final = Clocks(
    window_ms=500,
    observation_ms=1500,
    cohort_ms=500,
    silence_grace_ms=4000,
    drift_window_ms=5000,
)
# Phones that have said what they bet are of no more use to the evidence: let them rest.
_QUIET: Final = DemoPlan(clocks=_CLOCKS, gap_ms=40_000, idle_gap_ms=120_000, seconds_max=60.0)
# Two faults are small by nature and need more installations than a demo shows.
_WIDE: Final = replace(_QUIET, healthy_share=0.05, gap_ms=60_000, idle_gap_ms=600_000)
PLANS: Final = {
    **dict.fromkeys(("none", *FAULTS), _QUIET),
    # silence is judged a while after enrolment: nobody may be late for want of cores
    "silent": replace(
        _QUIET,
        healthy_share=0.1,
        adoption_ms=10_000,
        idle_gap_ms=600_000,
        clocks=replace(_CLOCKS, silence_grace_ms=8_000),
    ),
    "tail": replace(_WIDE, phones=24_000, share=0.48, adoption_ms=8_000, seconds_max=75.0),
    # in several regions the fleet's classes are turned, so that one class says less
    "labels": replace(
        _WIDE, phones=48_000, share=0.48, adoption_ms=15_000, seconds_max=90.0, regions=("US",)
    ),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One demo and what came of it."""

    fault: str
    seed: int
    result: DemoResult
    bad: str

    @property
    def is_right(self) -> bool:
        """Nothing for a healthy fleet; else one rollback, of the bad release, for the reason."""
        found = self.result.rollbacks
        if self.fault == "none":
            return not found
        return (
            len(found) == 1
            and found[0].release == self.bad
            and found[0].metric == METRIC_OF[self.fault]
        )

    def line(self) -> str:
        """For people who wait."""
        found = [
            f"{r.release}: {r.metric} after {r.units:,} units, {r.seconds_fault_to_push} s"
            for r in self.result.rollbacks
        ]
        right = "right" if self.is_right else "WRONG"
        what = "; ".join(found) or "no rollback"
        took_s = self.result.seconds_total
        return f"{self.fault:8} seed {self.seed:3}  {right}  {what}  ({took_s:.0f} s in all)"


def run_demo(fault: str, seed: int, plan: DemoPlan) -> Run:
    """One demo in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="holdfast-matrix-") as folder:
        demo = Demo(replace(plan, fault=fault, seed=seed), Path(folder) / "node", lambda _: None)
        result = demo.run()
        return Run(fault, seed, result, f"{demo.bad.model_id} {demo.bad.candidate}")


def run_matrix(
    faults: Sequence[str],
    *,
    seeds_none: int,
    seeds_fault: int,
    seed: int,
    tell: Callable[[str], None],
) -> list[Run]:
    """All runs, one after the other: they measure each other's load otherwise."""
    runs = []
    for fault in faults:
        count = seeds_none if fault == "none" else seeds_fault
        for offset in range(count):
            run = run_demo(fault, seed + offset, PLANS[fault])
            tell(run.line())
            runs.append(run)
    return runs


def results_of(runs: Sequence[Run]) -> list[Result]:
    """Figures per fault."""
    rows: list[Result] = []
    for fault in dict.fromkeys(run.fault for run in runs):
        of = [run for run in runs if run.fault == fault]
        n = len(of)
        if fault == "none":
            rolled = sum(len(run.result.rollbacks) for run in of)
            rows.append(Result("A2", "none: rollbacks", rolled, "rollbacks", ("<=", 0), n))
        else:
            right = sum(run.is_right for run in of)
            what = f"{fault}: one rollback, right release, {METRIC_OF[fault]}"
            rows.append(Result("A2", what, right, "runs", (">=", n), n))
            rows += _spreads(fault, of)
        lost = max(abs(run.result.balance_difference) for run in of)
        rows.append(Result("A5", f"{fault}: mass balance", lost, "rows", ("<=", 0), n))
    return rows


def _spreads(fault: str, runs: Sequence[Run]) -> list[Result]:
    found = [run.result.rollbacks[0] for run in runs if run.is_right]
    if not found:
        return []
    rows = []
    for what, unit, values in (
        ("units needed, both arms, median", "units", [float(r.units) for r in found]),
        ("from the fault to the push, median", "s", [r.seconds_fault_to_push for r in found]),
    ):
        middle, low, high = statistics.median(values), min(values), max(values)
        rows.append(Result("A2", f"{fault}: {what}", middle, unit, None, len(found), low, high))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the matrix; 0 if every run was right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds-none", type=int, default=20)
    parser.add_argument("--seeds-fault", type=int, default=5)
    parser.add_argument("--faults", default=",".join(FAULTS), help="some of them, with commas")
    parser.add_argument("--seed", type=int, default=1, help="of the first run of each fault")
    parser.add_argument("--fast", action="store_true", help="2 seeds, none of the slow faults")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    faults = given.faults.split(",")
    if unknown := set(faults) - set(FAULTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; accepted: {', '.join(FAULTS)}")
    if given.fast:
        faults = [f for f in faults if PLANS[f] is _QUIET]  # the rest take a minute each
    began_s = time.monotonic()
    runs = run_matrix(
        faults,
        seeds_none=2 if given.fast else given.seeds_none,
        seeds_fault=2 if given.fast else given.seeds_fault,
        seed=given.seed,
        tell=lambda line: print(f"{time.monotonic() - began_s:6.0f} s  {line}", file=sys.stderr),
    )
    return Report("demo-matrix", results_of(runs)).give(as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
