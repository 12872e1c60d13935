"""What the scaled-out road costs: `python -m bench.scale`.

Ingest, the three stages as Faust workers, a real broker, and the endpoint over chDB in the place
of a ClickHouse server; the traffic of `bench.e2e`. CPU-seconds of each process, idle time taken
off. The broker's own are printed beside the sum, not in it: a broker is shared with others.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.cluster import ScaledOut, Shape, scaled_out
from bench.node import wait_until
from bench.processes import SendingProcess, idle_rates, resident_mb
from bench.report import Report, Result
from bench.stored import all_stored, series_stored
from bench.uploads import APP, Order, repository
from holdfast.clock import now_ms
from streams.faust_app import SESSION_S
from streams.kafka.topics import SEEN, TELEMETRY, WINDOWS

_MILLION: Final = 1e6
_ROWS: Final = 100
_SETTLE_S: Final = 5.0
_PARTITIONS: Final = 4
_WAIT_S: Final = 240.0
_GROWTH: Final = (13, 125, 1_250, 12_500)
_WEIGHED: Final = (TELEMETRY, SEEN, WINDOWS)
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
    """What a number of events cost each process, net of idle, and what they left in the topics.

    `topic_bytes` of one broker, by topic, as they lie on its disk.
    """

    events: int
    spent: dict[str, float]
    segments: int
    series: int
    topic_bytes: dict[str, int]
    rss_mb: dict[str, float]

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
        self.idle = idle_rates(self._parts.cpu_seconds, self._plan.idle_s)

    def cost(self, uploads: int, contexts: int) -> Cost:
        """Send, wait until the store has everything once, read the CPU."""
        with self._sending(uploads, contexts) as sending:
            segments, bytes_before = self._segments(), self._topic_bytes()
            began_ms = now_ms()  # in a window in which nothing has been sent yet
            before, began_s = self._parts.cpu_seconds(), time.monotonic()
            sending.send()
            self._wait_stored()
            after, took_s = self._parts.cpu_seconds(), time.monotonic() - began_s
        spent = {n: after[n] - before[n] - took_s * self.idle.get(n, 0.0) for n in after}
        rss = {name: resident_mb(self._parts.popen(name).pid)[0] for name in self._parts.parts}
        held = self._topic_bytes()
        return Cost(
            events=uploads * _ROWS,
            spent=spent,
            segments=self._segments() - segments,
            series=series_stored(self._store, since_ms=began_ms - self._plan.window_ms),
            topic_bytes={name: held[name] - bytes_before[name] for name in held},
            rss_mb=rss,
        )

    def _topic_bytes(self) -> dict[str, int]:
        return {name: self._parts.topic_bytes(name) for name in _WEIGHED}

    def drain_rate(self, uploads: int, workers: int) -> float:
        """Events per second that so many workers bring from a full topic into the store.

        Their start counts; waiting for a window's end does not: all have ended before they start.
        """
        names = [name for name in self._parts.parts if name.startswith("summarise")]
        for name in names:
            self._parts.remove(name)
        time.sleep(SESSION_S + 1)  # or the partitions of one that stays away would wait for it
        with self._sending(uploads, 125) as sending:
            sending.send()
        time.sleep(2 * self._plan.window_ms / 1000)
        began_s = time.monotonic()
        for name in names[:workers]:
            self._parts.add(name)
        self._wait_stored()
        took_s = time.monotonic() - began_s
        for name in names[workers:]:
            self._parts.add(name)
        return uploads * _ROWS / took_s

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
        all_stored(self._store, self._sent, timeout_s=_WAIT_S)


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
            rate = road.drain_rate(4 * plan.uploads, workers)
            results.append(
                Result(
                    "C6",
                    f"backlog stored, start included, workers: {workers}",
                    rate,
                    "events per s",
                )
            )
        for contexts in plan.growth:
            # every context at least once, or the series would not be there
            results += _grown(road.cost(max(plan.uploads // 2, contexts), contexts))
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
            Result("C6", f"topic {name}", size / cost.events, "bytes per event")
            for name, size in cost.topic_bytes.items()
        ),
        *(
            Result("C6", f"idle: {name}", 60 * seconds, "CPU-s per minute")
            for name, seconds in sorted(idle.items())
        ),
    ]


def _grown(cost: Cost) -> list[Result]:
    series = cost.series
    biggest = max(mb for name, mb in cost.rss_mb.items() if name.startswith("summarise"))
    return [
        Result("C6", f"server at {series:,} series", cost.server, _CPU_UNIT, None, cost.events),
        Result("C6", f"memory of a summarise worker at {series:,} series", biggest, "MB"),
        Result("C6", f"memory of decide at {series:,} series", cost.rss_mb["decide-0"], "MB"),
        Result(
            "C6",
            f"topic windows at {series:,} series",
            cost.topic_bytes[WINDOWS] / cost.events,
            "bytes per event",
        ),
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
