"""What strangers without a key can do to a node: `python -m bench.doors`.

The node has one core; the strangers, and beside them honest phones, have the other. The same
phones beside a load that takes as much of that core but asks nothing are what they are held
against. Needs two cores.
"""

import argparse
import http.client
import os
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from bench.door_attack import Attack, Played
from bench.door_greedy import Greedy
from bench.door_phones import Both, Phones, Served
from bench.door_shapes import Door
from bench.node import Bench, running_node
from bench.processes import Conversation, resident_mb
from bench.report import Bound, Report, Result
from bench.stored import events_stored
from bench.uploads import APP, repository

_NODE_CORE, _OTHER_CORE = 0, 1
_MEMORY_MB_MAX: Final = 128.0
_LIVE_S_MAX: Final = 1.0
_P99_RATIO_MAX: Final = 2.0
_LOOK_S: Final = 0.2
_BESIDE_S_MAX: Final = 120.0
_CONNECTIONS: Final = 3_000
_WARM_S: Final = 20.0
_STORED_S: Final = 180.0
_OTHER_APP: Final = "keyboard"
_QUOTA_S: Final = 400.0  # uploads a second of each app at least
_BURST_S: Final = 10.0  # of them
_GREEDY_CONNECTIONS: Final = 200
_KEYED: Final = (Door.HTTP, Door.GRPC)
_RECEIVED: Final = 'holdfast_ingest_received_total{what="uploads"}'
_NONE: Final[Bound] = ("<=", 0)


@dataclass(slots=True)
class Watched:
    """What was seen of the node meanwhile."""

    rss_mb: list[float] = field(default_factory=list)
    live_s: list[float] = field(default_factory=list)
    dead: int = 0


@dataclass(frozen=True, slots=True)
class Phase:
    """One time: what stood at the doors, and what the phones and the node came to."""

    phones: Both
    played: Played
    watched: Watched

    @property
    def receipts(self) -> int:
        """Of the phones, over both transports."""
        return len(self.phones.http.took_ms) + len(self.phones.grpc.took_ms)


def _p99_ms(served: Served) -> float:
    """Of an honest upload; infinite if none was served."""
    return float(np.percentile(served.took_ms, 99)) if served.took_ms else float("inf")


def _pin(pid: int, core: int) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def _watch(bench: Bench, done: threading.Event) -> Watched:
    watched, pid = Watched(), bench.pids()["service"]
    while not done.wait(_LOOK_S):
        began_s = time.monotonic()
        try:
            asked = http.client.HTTPConnection(
                "127.0.0.1", bench.node.settings.health_port, timeout=5
            )
            asked.request("GET", "/livez")
            watched.dead += asked.getresponse().status != http.HTTPStatus.OK
            asked.close()
        except OSError:
            watched.dead += 1
        watched.live_s.append(time.monotonic() - began_s)
        watched.rss_mb.append(resident_mb(pid)[0])
    return watched


def _phase(bench: Bench, attack: Attack, phones: Phones) -> Phase:
    done = threading.Event()
    with (
        Conversation("bench.door_attack", attack) as strangers,
        Conversation("bench.door_phones", phones) as honest,
        ThreadPoolExecutor(3) as threads,
    ):
        watching: Future[Watched] = threads.submit(_watch, bench, done)
        try:
            playing = threads.submit(strangers.ask, "go")
            served = msgspec.json.decode(honest.ask("go"), type=Both)
            played = msgspec.json.decode(playing.result(), type=Played)
        finally:
            done.set()
        return Phase(served, played, watching.result())


def _ports(bench: Bench) -> dict[Door, int]:
    settings = bench.node.settings
    return {
        Door.HTTP: settings.http_port,
        Door.GRPC: settings.grpc_port,
        Door.HEALTH: settings.health_port,
        Door.STORE: settings.store_port,
    }


def measure(options: argparse.Namespace, folder: Path) -> list[Result]:
    """Warm up, attack, and the same phones beside an equal load."""
    files = repository(60_000, apps=(APP, _OTHER_APP))
    with running_node(folder, files, quota_uploads_s=max(_QUOTA_S, 4 * options.rate)) as bench:
        for pid in bench.pids().values():
            _pin(pid, _NODE_CORE)
        port, key, seconds = bench.node.settings.http_port, bench.key(APP), options.seconds
        beside_s = min(seconds, _BESIDE_S_MAX)
        ports = {door: port for door, port in _ports(bench).items() if door in options.doors}

        def phones(lasting_s: float, seed: int) -> Phones:
            grpc_port = bench.node.settings.grpc_port
            return Phones(port, grpc_port, key, lasting_s, _OTHER_CORE, options.rate, seed=seed)

        attack = Attack(
            ports,
            seconds,
            _OTHER_CORE,
            options.connections,
            seed=options.seed,
            kinds=tuple(options.kinds),
        )
        quiet = replace(attack, seconds=_WARM_S, connections=0)
        warm = _phase(bench, quiet, phones(_WARM_S, 1))
        attacked = _phase(bench, attack, phones(seconds, 2))
        burn = replace(quiet, seconds=beside_s, cpu_share=attacked.played.cpu_share)
        beside = _phase(bench, burn, phones(beside_s, 3))
        rows = phones(0, 0).rows
        sent = sum(one.receipts for one in (warm, attacked, beside)) * rows
        stored = events_stored(bench.store(), sent, timeout_s=_STORED_S)
        results = _results(warm, attacked, beside, unstored=sent - stored)
        if set(_KEYED) <= set(options.doors):
            keyed = replace(
                attack,
                ports={door: ports[door] for door in _KEYED},
                seconds=beside_s,
                connections=_GREEDY_CONNECTIONS,
                kinds=(),
                app=_OTHER_APP,
                key=bench.key(_OTHER_APP),
            )
            for kind in Greedy:
                results += _greedy(bench, replace(keyed, greedy=kind), phones)
    return results


def _greedy(bench: Bench, keyed: Attack, phones: Callable[[float, int], Phones]) -> list[Result]:
    """The same phones beside somebody with the key of another app."""
    before = _uploads_received(bench)
    greedy = _phase(bench, keyed, phones(keyed.seconds, 4))
    taken = _uploads_received(bench) - before - greedy.receipts
    burn = replace(keyed, connections=0, cpu_share=greedy.played.cpu_share)
    beside = _phase(bench, burn, phones(keyed.seconds, 5))
    quota = bench.node.settings.quota_uploads_s * (keyed.seconds + _BURST_S)
    named = f" beside a greedy app's {keyed.greedy}"
    played = sum(greedy.played.played.values())
    return [
        Result(
            "S4", f"uploads taken of a greedy app's {keyed.greedy} / its quota", taken / quota,
            "ratio", ("<=", 1), played,
        ),
        *_honest("HTTP" + named, greedy.phones.http, beside.phones.http, None),
        *_honest("gRPC" + named, greedy.phones.grpc, beside.phones.grpc, None),
    ]  # fmt: skip


def _uploads_received(bench: Bench) -> float:
    url = f"http://127.0.0.1:{bench.node.settings.health_port}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:  # our own
        lines = answer.read().decode().splitlines()
    found = [line for line in lines if line.startswith(_RECEIVED)]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def _results(warm: Phase, attacked: Phase, beside: Phase, *, unstored: int) -> list[Result]:
    watched, played, count = attacked.watched, attacked.played, sum(attacked.played.played.values())
    growth_mb = max(watched.rss_mb) - warm.watched.rss_mb[-1]
    unplanned = sum(played.statuses.values()) - played.statuses.get("503", 0)
    over_http = _honest("HTTP", attacked.phones.http, beside.phones.http, ("<=", _P99_RATIO_MAX))
    return [
        Result("S4", "memory growth without a key", growth_mb, "MB", ("<=", _MEMORY_MB_MAX), count),
        Result("S4", "livez not 200", watched.dead, "answers", _NONE, len(watched.live_s)),
        Result("S4", "livez, slowest", max(watched.live_s), "s", ("<=", _LIVE_S_MAX)),
        *over_http,
        *_honest("gRPC", attacked.phones.grpc, beside.phones.grpc, None),
        Result("S4", "receipted events not stored", unstored, "events", _NONE),
        Result("S4", "5xx but 503 to strangers", unplanned, "answers", _NONE, count),
        Result("S4", "strangers' share of their core", played.cpu_share, "share"),
    ]


def _honest(over: str, attacked: Served, beside: Served, bound: Bound | None) -> list[Result]:
    """How phones fare: their p99 beside strangers and beside an equal load, and what is lost."""
    there, here = _p99_ms(attacked), _p99_ms(beside)
    what, n = f"honest p99 over {over} / beside an equal load", attacked.sent
    return [
        Result("S4", what, there / here, "ratio", bound, n=n, low=here, high=there),
        Result("S4", f"honest uploads lost over {over}", attacked.lost, "uploads", _NONE, n),
    ]


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="holdfast bench doors", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--fast", action="store_true", help="20 seconds, 300 connections")
    parser.add_argument("--connections", type=int, default=_CONNECTIONS)
    parser.add_argument("--rate", type=float, default=50.0, help="honest uploads a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--doors", nargs="+", type=Door, default=list(Door), choices=list(Door))
    parser.add_argument("--kinds", nargs="*", default=[], help="only these shapes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.seconds = options.minutes * 60
    if options.fast:
        options.seconds, options.connections = 20.0, min(options.connections, 300)
    with tempfile.TemporaryDirectory(prefix="doors-") as folder:
        report = Report("doors", measure(options, Path(folder)))
    return report.give(as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
