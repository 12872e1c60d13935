"""The store goes away for minutes under half of the possible load: `python -m bench.outage`.

Nothing may be lost, ingest goes on acknowledging without a single 503, memory stays bounded, and
what has piled up is caught up with in less time than the outage took, while uploads keep coming.
The load is half of what was possible at the machine's speed of the moment (`bench.speed`).
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from bench.chaos_node import ChaosNode, chaos_node
from bench.node import wait_until
from bench.paced import Pace, Paced
from bench.processes import Conversation, resident_mb
from bench.report import Report, Result
from bench.sampled import sampled
from bench.speed import loop_s
from bench.stored import events_stored
from bench.uploads import APP, repository

_ALL: Final = 1e6  # uploads a second that nobody can take
_WAITING: Final = 512
_GROWTH_MB_MAX: Final = 128.0
_TICK_S: Final = 0.5
_LOOK_S: Final = 0.25
_BEFORE_WINDOWS: Final = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """`capacity_s` measure the capacity, of which `load` is a share; windows of `window_ms`."""

    minutes: float = 10.0
    capacity_s: float = 60.0
    window_ms: int = 5_000
    load: float = 0.5

    @property
    def outage_s(self) -> float:
        """How long the store is away."""
        return 60.0 * self.minutes


@dataclass(slots=True)
class Outage:
    """Figures of one run; MB of the service's RSS."""

    capacity: float = 0.0
    flooded: Paced | None = None
    loop_s: float = 0.0  # of the machine while the capacity was measured
    rate: float = 0.0
    away_s: float = 0.0
    caught_up_s: float = 0.0
    behind: int = 0
    stored: int = 0
    sent: Paced | None = None
    before_mb: float = 0.0
    most_mb: float = 0.0
    after_mb: float = 0.0
    samples: int = 0

    @property
    def wanted(self) -> int:
        """Events that were acknowledged, and must be in the store."""
        sent = [paced for paced in (self.flooded, self.sent) if paced is not None]
        return sum(paced.rows_acknowledged - paced.rows_refused for paced in sent)


def measure(plan: Plan, root: Path) -> Outage:
    """The whole experiment on one node, in a new folder."""
    outage = Outage()
    files = repository(plan.window_ms)
    with chaos_node(root, files, partitions=2, tick_s=_TICK_S) as node:
        wait_until(lambda: all(node.decided()), timeout_s=60 + plan.outage_s, what="a first window")
        port, key = node.node.settings.http_port, node.key(APP)
        time.sleep(1.5)  # a new key is looked for once a second
        url = f"http://127.0.0.1:{port}"
        with sampled(loop_s, every_s=_TICK_S) as speeds:
            outage.flooded, took_s = _flood(plan, node, Pace(url, key, _ALL, 0.0, waiting=_WAITING))
        outage.loop_s = statistics.median(speeds)
        outage.capacity = outage.flooded.uploads / took_s
        outage.rate = plan.load * outage.capacity
        pace = Pace(url, key, outage.rate, outage.loop_s, seed=3)
        with Conversation("bench.paced", pace) as sending:
            service = node.popen("service").pid

            def memory_mb() -> float:
                return resident_mb(service)[0]

            with sampled(memory_mb, every_s=_LOOK_S) as before:
                time.sleep(_BEFORE_WINDOWS * plan.window_ms / 1000)
            with sampled(memory_mb, every_s=_LOOK_S) as since:
                _be_away(plan, node, outage)
            outage.before_mb, outage.most_mb = max(before), max(since)
            outage.after_mb, outage.samples = memory_mb(), len(since)
            outage.sent = msgspec.json.decode(sending.ask("stop"), type=Paced)
        store = node.client()
        timeout_s = 60 + 3 * plan.window_ms / 1000
        outage.stored = events_stored(store, outage.wanted, timeout_s=timeout_s)
        store.close()
    return outage


def _flood(plan: Plan, node: ChaosNode, pace: Pace) -> tuple[Paced, float]:
    """As much as is answered; and the seconds until all of it is decided and stored.

    Waiting for the last window to close is no work, so half a window is taken off.
    """
    with Conversation("bench.paced", pace) as sending:
        began_s = time.monotonic()
        time.sleep(plan.capacity_s)
        sent = msgspec.json.decode(sending.ask("stop"), type=Paced)
        ends = node.ends()
        wait_until(lambda: node.is_past(ends), timeout_s=300, what="the last window")
    return sent, time.monotonic() - began_s - plan.window_ms / 2000


def _be_away(plan: Plan, node: ChaosNode, outage: Outage) -> None:
    """Kill the store, keep it away, bring it back, and wait until nobody could tell."""
    popen = node.popen("store")
    popen.kill()
    popen.wait()
    began_s = time.monotonic()
    time.sleep(plan.outage_s)
    outage.behind = sum(node.ends()) - sum(node.decided())
    outage.away_s = time.monotonic() - began_s
    node.revive()
    back_s = time.monotonic()
    usual_s = 2 * plan.window_ms / 1000  # what a window waits for its close, and for its turn
    ends: list[tuple[float, Sequence[int]]] = []

    def caught_up() -> bool:
        now_s = time.monotonic()
        ends.append((now_s, node.ends()))
        while len(ends) > 1 and ends[1][0] <= now_s - usual_s:
            ends.pop(0)
        return ends[0][0] <= now_s - usual_s and node.is_past(ends[0][1])

    wait_until(caught_up, timeout_s=120 + 5 * plan.outage_s, what="the store to be caught up")
    outage.caught_up_s = time.monotonic() - back_s


def report(plan: Plan, outage: Outage) -> Report:
    """The figures with their bounds."""
    sent, flooded = outage.sent, outage.flooded
    if sent is None or flooded is None:
        raise ValueError("the sending process said nothing")
    events = outage.wanted
    missing = events - outage.stored
    return Report(
        "outage",
        [
            Result("C7", "capacity", outage.capacity, "uploads/s", None, flooded.uploads),
            Result("C7", "load that was wanted", outage.rate, "uploads/s"),
            Result("C7", "load", sent.uploads / sent.seconds, "uploads/s",
                   None, sent.uploads),
            Result("C7", "least share of it, on a slower machine", sent.slowest, "share"),
            Result("C7", "the store was away", outage.away_s, "s"),
            Result("C7", "log records undecided when it came back", outage.behind, "records"),
            Result("C7", "caught up after", outage.caught_up_s, "s", ("<=", outage.away_s)),
            Result("C7", "events lost", max(missing, 0), "events", ("<=", 0), events),
            Result("C7", "events doubled", max(-missing, 0), "events", ("<=", 0), events),
            Result("C7", "answers 503", sent.come_back, "answers", ("<=", 0), sent.uploads),
            Result("C7", "uploads refused", sent.refused + flooded.refused, "uploads",
                   ("<=", 0), sent.uploads + flooded.uploads),
            Result("C7", "uploads waiting at once", sent.waiting_max, "uploads"),
            Result("C7", "service RSS, most before", outage.before_mb, "MB"),
            Result("C7", "service RSS, most since", outage.most_mb, "MB", None, outage.samples),
            Result("C7", "service RSS after", outage.after_mb, "MB"),
            Result("C7", "growth of it", outage.most_mb - outage.before_mb, "MB",
                   ("<=", _GROWTH_MB_MAX), outage.samples),
        ],
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print; 0 if every bound holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the store is away")
    parser.add_argument("--fast", action="store_true", help="20 s, windows of 2 s")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    plan = Plan(1 / 3, 10.0, 2_000) if given.fast else Plan(given.minutes)
    with tempfile.TemporaryDirectory(prefix="holdfast-outage-") as folder:
        outage = measure(plan, Path(folder))
    return report(plan, outage).give(as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
