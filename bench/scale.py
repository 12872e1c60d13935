"""What the scaled-out road costs: `python -m bench.scale`.

Ingest, the three stages as Faust workers, a real broker, and the endpoint over chDB in the place
of a ClickHouse server; the traffic of `bench.e2e`. CPU-seconds of each process, idle time taken
off. The broker's own are printed beside the sum, not in it: a broker is shared with others.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.cluster import ScaledOut, Shape, scaled_out
from bench.node import wait_until
from bench.processes import SendingProcess, resident_mb
from bench.report import Report, Result
from bench.uploads import APP, METRICS, Order, repository
from store import queries
from wire.errors import PermanentError, TransientError

_MILLION: Final = 1e6
_ROWS: Final = 100
_SETTLE_S: Final = 5.0
_PARTITIONS: Final = 4
_WAIT_S: Final = 240.0
_GROWTH: Final = (13, 125, 1_250, 12_500)
_TAKEN: Final = "holdfast_segments_taken_total"
_CPU_UNIT: Final = "CPU-s per 1e6 events"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to send, in windows of which length, and how long to watch idleness."""

    uploads: int = 20_000
    window_ms: int = 15_000
    idle_s: float = 15.0
    growth: Sequence[int] = _GROWTH


@dataclass(slots=True)
class Cost:
    """What a number of events cost each process, net of idle; segments that carried them."""

    events: int
    spent: dict[str, float]
    segments: int = 0
    rss_mb: dict[str, float] = field(default_factory=dict)

    @property
    def server(self) -> float:
        """CPU-seconds of all but the brokers, per million events."""
        own = sum(s for name, s in self.spent.items() if not name.startswith("broker"))
        return own / (self.events / _MILLION)

    def per_million(self, name: str) -> float:
        """CPU-seconds of the processes whose names begin so, per million events."""
        mine = sum(s for part, s in self.spent.items() if part.startswith(name))
        return mine / (self.events / _MILLION)


class Road:
    """A running road; every measurement adds to what is stored."""

    def __init__(self, parts: ScaledOut, plan: Plan) -> None:
        self._parts, self._plan = parts, plan
        self._key = parts.key(APP)
        self._store = parts.client()
        self._sent, self._seed = 0, 0
        self.idle: dict[str, float] = {}

    def watch_idle(self) -> None:
        """CPU per second of each process while nothing is sent."""
        before, began_s = self._parts.cpu_seconds(), time.monotonic()
        time.sleep(self._plan.idle_s)
        after, took_s = self._parts.cpu_seconds(), time.monotonic() - began_s
        self.idle = {name: (after[name] - before[name]) / took_s for name in after}

    def cost(self, uploads: int, contexts: int) -> Cost:
        """Send, wait until the store has everything once, read the CPU."""
        with self._sending(uploads, contexts) as sending:
            segments = self._segments()
            before, began_s = self._parts.cpu_seconds(), time.monotonic()
            sending.send()
            self._wait_stored()
            after, took_s = self._parts.cpu_seconds(), time.monotonic() - began_s
        spent = {n: after[n] - before[n] - took_s * self.idle.get(n, 0.0) for n in after}
        rss = {name: resident_mb(self._parts.popen(name).pid)[0] for name in self._parts.parts}
        return Cost(uploads * _ROWS, spent, self._segments() - segments, rss)

    def drain_rate(self, uploads: int, workers: int) -> float:
        """Events per second that so many workers summarise from a full topic."""
        names = [name for name in self._parts.parts if name.startswith("summarise")]
        for name in names:
            self._parts.remove(name)
        before = self._segments()
        with self._sending(uploads, 125) as sending:
            sending.send()
        backlog = self._segments() - before
        for name in names[:workers]:
            self._parts.add(name)
        taken = 0.0

        def taking(least: float) -> Callable[[], bool]:
            def enough() -> bool:
                nonlocal taken
                taken = self._taken(names[:workers])
                return taken >= least

            return enough

        # the clock starts with the first segments that were taken: starting up is not the rate
        wait_until(taking(1), timeout_s=_WAIT_S, what="the first segment")
        first, began_s = taken, time.monotonic()
        wait_until(taking(backlog), timeout_s=_WAIT_S, what="the backlog summarised")
        took_s = time.monotonic() - began_s
        self._wait_stored()
        for name in names[workers:]:
            self._parts.add(name)
        return uploads * _ROWS * (backlog - first) / backlog / took_s

    def _taken(self, workers: Sequence[str]) -> float:
        return sum(self._parts.parts[name].total(_TAKEN) for name in workers)

    def _segments(self) -> int:
        return sum(self._parts.ends())

    def _sending(self, uploads: int, contexts: int) -> SendingProcess:
        self._seed += 1
        self._sent += uploads * _ROWS
        url = f"http://127.0.0.1:{self._parts.parts['ingest-0'].port}"
        return SendingProcess(
            Order(url, self._key, uploads, _ROWS, seed=self._seed, contexts=contexts)
        )

    def _wait_stored(self) -> None:
        stored = 0

        def done() -> bool:
            nonlocal stored
            time.sleep(1.0)  # questions cost the store, too
            try:
                stored = queries.events_stored(self._store)
            except (PermanentError, TransientError):
                return False  # the tables come with the first window
            return stored >= self._sent

        wait_until(done, timeout_s=_WAIT_S, what="events in the store")
        if stored != self._sent:
            raise RuntimeError(f"{stored} events in the store, {self._sent} were sent")


def run(plan: Plan, root: Path) -> Report:
    """All figures."""
    files = repository(plan.window_ms, max(plan.growth))
    shape = Shape(doors=1, summarise=2, partitions=_PARTITIONS)
    with scaled_out(root, files, shape, tick_s=1.0, gitops_poll_s=10.0) as parts:
        wait_until(parts.parts["ingest-0"].has_taken, timeout_s=_WAIT_S, what="an open door")
        road = Road(parts, plan)
        road.cost(plan.uploads // 20, 125)  # start-up is over
        time.sleep(_SETTLE_S)
        road.watch_idle()
        whole = road.cost(plan.uploads, 125)
        results = [*_whole(whole, road.idle)]
        for workers in (1, 2):
            rate = road.drain_rate(2 * plan.uploads, workers)
            results.append(
                Result("C6", f"backlog summarised, workers: {workers}", rate, "events per s")
            )
        for contexts in plan.growth:
            results += _grown(contexts, road.cost(plan.uploads // 2, contexts))
    return Report("scale", results)


def _whole(cost: Cost, idle: dict[str, float]) -> list[Result]:
    parts = ("ingest", "summarise", "decide", "act", "store")
    summarising = sum(s for name, s in cost.spent.items() if name.startswith("summarise"))
    return [
        Result(
            "C6", "server: ingest, stages, store", cost.server, _CPU_UNIT, ("<=", 3.0), cost.events
        ),
        *(Result("C6", f"of it: {name}", cost.per_million(name), _CPU_UNIT) for name in parts),
        Result("C6", "beside it: broker", cost.per_million("broker"), _CPU_UNIT),
        Result("C6", "segments", cost.segments, "records"),
        Result("C6", "events per segment", cost.events / cost.segments, "events"),
        Result("C6", "summarise per segment", 1e3 * summarising / cost.segments, "CPU-ms"),
        *(
            Result("C6", f"idle: {name}", 60 * seconds, "CPU-s per minute")
            for name, seconds in sorted(idle.items())
        ),
    ]


def _grown(contexts: int, cost: Cost) -> list[Result]:
    series = contexts * METRICS
    biggest = max(mb for name, mb in cost.rss_mb.items() if name.startswith("summarise"))
    return [
        Result("C6", f"server at {series:,} series", cost.server, _CPU_UNIT, None, cost.events),
        Result("C6", f"memory of a summarise worker at {series:,} series", biggest, "MB"),
        Result("C6", f"memory of decide at {series:,} series", cost.rss_mb["decide-0"], "MB"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print; 0 if every bound holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--window-ms", type=int, default=15_000)
    parser.add_argument("--fast", action="store_true", help="200,000 events, windows of 5 s")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    plan = Plan(
        uploads=(200_000 if given.fast else given.events) // _ROWS,
        window_ms=5_000 if given.fast else given.window_ms,
        idle_s=5.0 if given.fast else 15.0,
        growth=_GROWTH[:2] if given.fast else _GROWTH,
    )
    with tempfile.TemporaryDirectory(prefix="holdfast-scale-") as folder:
        return run(plan, Path(folder)).give(as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
