"""Hostile bodies over every road into a server of its own: CPU, and how long its loop stood still.

Both are the server's, all threads together, beside those of honest bodies over the same road. What
else the machine does makes figures larger and never smaller, so what looks too much is sent again,
and the least counts. A commit is the median of the groups that a flood of honest phones fills.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.honest_bodies import Honest, honest
from bench.hostile_bodies import Body, bodies
from bench.processes import SendingProcess
from bench.report import Result
from bench.roads import Road, all_roads, is_planned
from bench.uploads import Order
from ingest.receive import ReceiveSettings
from wire.decode import Encoding

_CPU_MAX: float = 20.0
_STALL_MAX: float = 5.0
_AGAIN = 6
_HONEST_RUNS = 15
_UPLOADS = 4_000


@dataclass(frozen=True, slots=True)
class Spent:
    """By the server, since it was last asked."""

    cpu_s: float
    late_s: float
    commits: list[tuple[int, float]]
    rss_mb: float

    def least(self, other: "Spent") -> "Spent":
        """Of each the smaller."""
        return Spent(
            min(self.cpu_s, other.cpu_s), min(self.late_s, other.late_s), self.commits, other.rss_mb
        )


@dataclass(slots=True)
class Server:
    """`bench.ingest_alone` with its probe."""

    popen: subprocess.Popen[str]
    told: dict[str, Any]

    def spent(self) -> Spent:
        """Ask."""
        assert self.popen.stdin is not None, "a pipe, as asked"  # noqa: S101
        assert self.popen.stdout is not None, "a pipe, as asked"  # noqa: S101
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()
        return Spent(**json.loads(self.popen.stdout.readline()))

    def commit_s(self) -> float:
        """The median commit of full groups, while honest phones send all they can."""
        self.spent()
        base_url = f"http://127.0.0.1:{self.told['http_port']}"
        with SendingProcess(Order(base_url, self.told["key"], _UPLOADS)) as phones:
            phones.send()
        full = 0.9 * ReceiveSettings().group_bytes_per_partition
        return statistics.median(s for size, s in self.spent().commits if size > full)


@contextmanager
def served() -> Iterator[Server]:
    """A server until the block ends."""
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-m", "bench.ingest_alone", folder, "probe"],
            env=os.environ | {"GRPC_VERBOSITY": "NONE"},  # it says each wrong compression
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as popen,
    ):
        assert popen.stdout is not None, "a pipe, as asked"  # noqa: S101
        try:
            yield Server(popen, json.loads(popen.stdout.readline()))
        finally:
            popen.terminate()


@dataclass(slots=True)
class Tried:
    """One road: what was sent over it, and the bodies that cost most."""

    server: Server
    name: str
    road: Road
    commit_s: float
    sent: int = 0
    cpu: tuple[float, str] = (0.0, "")
    late: tuple[float, str] = (0.0, "")
    codes: Counter[str] = field(default_factory=Counter)
    _known: dict[int, float] = field(default_factory=dict)  # CPU of honest ones

    def send(self, body: Body, like: Body, count: float) -> None:
        """A body, set against so many of an honest one."""
        if id(like) not in self._known:
            runs = [self._once(like)[1].cpu_s for _ in range(_HONEST_RUNS)]
            self._known[id(like)] = min(runs)
        allowed_s = self._known[id(like)] * count
        code, spent = self._once(body)
        for _ in range(_AGAIN):
            is_cheap = spent.cpu_s / allowed_s < max(_CPU_MAX / 4, self.cpu[0])
            if is_cheap and spent.late_s < max(self.commit_s, self.late[0]):
                break  # not the worst, whatever the machine did beside
            spent = spent.least(self._once(body)[1])
        self.sent += 1
        self.codes[code] += 1
        what = f"{body.name} ({len(body.wire) // 1024} KiB {body.encoding} {body.content_encoding})"
        self.cpu = max(self.cpu, (spent.cpu_s / allowed_s, what))
        self.late = max(self.late, (spent.late_s, what))

    def _once(self, body: Body) -> tuple[str, Spent]:
        self.server.spent()
        code = self.road.send(body)
        return code, self.server.spent()


def live(sizes: Sequence[int], names: str, now_ms: int) -> list[Result]:
    """All shapes of all sizes over all roads."""
    good = honest(Encoding.PROTOBUF, "identity", 8, now_ms).wire
    with served() as server, ExitStack() as opened:
        commit_s = server.commit_s()
        before_mb = server.spent().rss_mb
        tried = [
            Tried(server, name, opened.enter_context(closing(road)), commit_s)
            for name, road in all_roads(server.told, server.told["key"], good)
        ]
        beside = Honest(now_ms)
        for size in sizes:
            for body in bodies(now_ms - 1_000, size):
                for one in tried:
                    if names in body.name and one.road.takes(body):
                        one.send(body, *beside.like(body))
        grown_mb = server.spent().rss_mb - before_mb
        commit_s = min(commit_s, server.commit_s())
    results = [Result("S5", "an honest group's commit", commit_s * 1e3, "ms")]
    results.append(Result("S5", "memory that the server grew by", grown_mb, "MB", ("<=", 128)))
    for found in tried:
        name = found.name
        print(f"  {name}: {dict(found.codes.most_common())}")
        unplanned = sum(n for code, n in found.codes.items() if not is_planned(code))
        results += [
            Result(
                "S5",
                f"{name}, worst CPU: {found.cpu[1]}",
                found.cpu[0],
                "x honest",
                ("<=", _CPU_MAX),
                found.sent,
            ),
            Result(
                "S5",
                f"{name}, worst stall: {found.late[1]}",
                found.late[0] / commit_s,
                "x commit",
                ("<=", _STALL_MAX),
                found.sent,
            ),
            Result("S5", f"{name}, unplanned answers", unplanned, "bodies", ("<=", 0), found.sent),
        ]
    return results
