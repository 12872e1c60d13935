"""What the server costs, from accepted bytes to rows in ClickHouse: `python -m bench.e2e`.

CPU-seconds of the node's two processes, so that the load of the machine matters little. The
uploads are made before and sent by a process of its own, which is not counted. What the node
spends while nothing happens is measured first and taken off.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bench.evidence_step import evidence_seconds
from bench.node import Bench, running_node
from bench.processes import SendingProcess, cpu_seconds, idle_rates, resident_mb, started
from bench.profile import Sampler, describe, hottest
from bench.report import Bound, Report, Result
from bench.stored import all_stored, series_stored
from bench.uploads import APP, METRICS, Order, repository

_MILLION: Final = 1e6
_ROWS: Final = 100
_SETTLE_S: Final = 3.0
_WARM_UPLOADS: Final = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to send, and how long to watch an idle node before."""

    uploads: int = 20_000
    window_ms: int = 60_000
    idle_s: float = 15.0
    spread_ms: int = 600_000
    profile: bool = False


@dataclass(slots=True)
class Road:
    """What the whole road cost. CPU by process: per second idle, and net of that."""

    idle: dict[str, float] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    events: int = 0
    series: int = 0
    rss_mb: float = 0.0
    pss_mb: float = 0.0
    sending_s: float = 0.0
    stacks: dict[str, Counter[tuple[str, ...]]] = field(default_factory=dict)


def measure_road(plan: Plan, folder: Path) -> Road:
    """Send, wait until the store has every event once, and read the CPU."""
    road = Road(events=plan.uploads * _ROWS)
    files = repository(plan.window_ms)
    with running_node(folder, files) as bench:
        key = bench.key(APP)
        order = Order(bench.base_url, key, plan.uploads, _ROWS, spread_ms=plan.spread_ms)
        with SendingProcess(order) as sending:
            time.sleep(_SETTLE_S)  # start-up is over
            _watch_idle(road, bench, plan.idle_s)
            sampler = Sampler(bench.pids(), folder)
            if plan.profile and not sampler.start():
                print("no profile: py-spy is not installed (uv pip install py-spy)")
            before, began_s = bench.cpu_seconds(), time.monotonic()
            road.sending_s = sending.send().seconds
            timeout_s = 60 + 3 * plan.window_ms / 1000
            all_stored(bench.store(), road.events, timeout_s=timeout_s)
            after, took_s = bench.cpu_seconds(), time.monotonic() - began_s
            road.stacks = sampler.stop()
        road.spent = {n: after[n] - before[n] - took_s * road.idle[n] for n in after}
        road.series = series_stored(bench.store())
    return road


def _watch_idle(road: Road, bench: Bench, idle_s: float) -> None:
    road.idle = idle_rates(bench.cpu_seconds, idle_s)
    sizes = [resident_mb(pid) for pid in bench.pids().values()]
    road.rss_mb, road.pss_mb = sum(rss for rss, _ in sizes), sum(pss for _, pss in sizes)


@dataclass(slots=True)
class Alone:
    """One ingest process that does nothing else: durable uploads per CPU-second."""

    gzipped: float
    plain: float
    stacks: dict[str, Counter[tuple[str, ...]]]


def ingest_alone(plan: Plan, folder: Path) -> Alone:
    """Both ways of sending, over the same process."""
    arguments = [str(folder)]
    with started("bench.ingest_alone", arguments, ready=lambda line: "http_port" in line) as (
        process,
        line,
    ):
        said = json.loads(line)
        url = f"http://127.0.0.1:{said['http_port']}"

        def rate(order: Order) -> float:
            with SendingProcess(order) as sending:
                before = cpu_seconds(process.pid)
                sending.send()
                return order.uploads / (cpu_seconds(process.pid) - before)

        order = Order(url, said["key"], plan.uploads, _ROWS)
        rate(replace(order, uploads=_WARM_UPLOADS, seed=2))
        plain = rate(replace(order, seed=3, gzip=False))
        sampler = Sampler({"ingest alone": process.pid}, folder)
        if plan.profile:
            sampler.start()
        gzipped = rate(order)
        return Alone(gzipped, plain, sampler.stop())


def help_seconds(times: int) -> list[tuple[float, float]]:
    """(CPU-seconds, wall seconds) of ``holdfast --help``, one process each."""
    command = [sys.executable, "-m", "holdfast", "--help"]
    seconds = []
    for _ in range(times):
        before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        after, took_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began_s
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        seconds.append((spent, took_s))
    return seconds


def run(plan: Plan) -> tuple[Report, Road]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        root = Path(folder)
        (root / "alone").mkdir()
        road = measure_road(plan, root)
        alone = ingest_alone(plan, root / "alone")
    road.stacks |= alone.stacks
    waited = help_seconds(5)
    step_s = evidence_seconds()
    millions = road.events / _MILLION
    cost = sum(road.spent.values()) / millions
    results = [
        Result("A10", "server, ingest to ClickHouse", cost, "CPU-s per 1e6 events", ("<=", 4.0),
               road.events),
        *(
            Result("A10", f"of it: {name}", spent / millions, "CPU-s per 1e6 events", None,
                   road.events)
            for name, spent in road.spent.items()
        ),
        Result("A10", f"series of {METRICS} metrics", road.series, "series", (">=", 1000)),
        *(
            Result("A10", f"idle: {name}", 60 * idle, "CPU-s per minute")
            for name, idle in road.idle.items()
        ),
        Result("A10", "durable ingest alone, gzip", alone.gzipped, "uploads per CPU-s",
               (">=", 8000), plan.uploads),
        Result("A10", "durable ingest alone, not compressed", alone.plain, "uploads per CPU-s",
               None, plan.uploads),
        Result("A10", "idle memory, both processes, RSS", road.rss_mb, "MB", ("<=", 600)),
        Result("A10", "idle memory, both processes, PSS", road.pss_mb, "MB"),
        # on an idle machine the two are the same; elsewhere the second tells of its neighbours
        _spread("holdfast --help, median", "CPU-s", [cpu for cpu, _ in waited], ("<=", 0.3)),
        _spread("holdfast --help, median", "s", [wall for _, wall in waited], None),
        Result("A10", "evidence step, 10,000 release x stratum, 6 metrics", step_s, "CPU-s",
               ("<=", 2.0)),
    ]  # fmt: skip
    return Report("e2e", results), road


def _spread(what: str, unit: str, values: list[float], bound: Bound | None) -> Result:
    middle = statistics.median(values)
    return Result("A10", what, middle, unit, bound, len(values), min(values), max(values))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print; 0 if every bound holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--window-ms", type=int, default=60_000)
    parser.add_argument("--fast", action="store_true", help="200,000 events, windows of 5 s")
    parser.add_argument("--profile", action="store_true", help="where the time goes (py-spy)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    plan = Plan(
        uploads=(200_000 if given.fast else given.events) // _ROWS,
        window_ms=5_000 if given.fast else given.window_ms,
        idle_s=5.0 if given.fast else 15.0,
        profile=given.profile,
    )
    report, road = run(plan)
    for name, stacks in road.stacks.items():
        print("\n".join([f"{name}: where the time goes", *describe(stacks)]), file=sys.stderr)
    if road.stacks:
        most = max(road.spent, key=lambda name: road.spent[name])
        print(f"next to speed up: {most}, {hottest(road.stacks[most])}", file=sys.stderr)
    return report.give(as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
