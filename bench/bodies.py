"""`holdfast bench bodies`: what hostile bodies cost beside an honest one of the same size (S5).

In process each is decompressed, decoded, judged and encoded as an upload of its own, and its CPU
time is set against that of an honest upload of the same encodings that has as many bytes on the
wire, at least 4 KiB; the best of a few runs counts, of both. `bench.honest_bodies` says what is
honest: rows of random values in every column. Then all go over each road into a server of its own;
see `bench.bodies_live`.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from actions.desired_files import read_desired
from bench.bodies_live import live
from bench.honest_bodies import Honest
from bench.hostile_bodies import SIZES, SMALL_BYTES, Body, bodies
from bench.report import Report, Result
from bench.uploads import APP, repository
from ingest.bodies import BodyLimits, decompress
from ingest.commit import Committer, Sent
from ingest.receipt import Outcome, UploadRefused
from streams.log.memory import MemoryLog
from wire.desired import Desired
from wire.errors import PermanentError

_RUNS: int = 5


@dataclass(frozen=True, slots=True)
class _Always:
    desired: Desired

    def current(self) -> Desired | None:
        return self.desired


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one body: CPU seconds, code of the refusal if any, bytes that the log would hold."""

    seconds: float
    code: str
    log_bytes: int


class Road:
    """A body's way from the wire to the bytes of the log, without the log."""

    def __init__(self, now_ms: int) -> None:
        contents = {path: text.encode() for path, text in repository(60_000).items()}
        self._now_ms = now_ms
        self._committer = Committer(
            log=MemoryLog(partitions=1),
            desired=_Always(read_desired(contents, commit="0" * 40)),
            now_ms=lambda: now_ms,
            writer="bench",
        )

    def take(self, group: list[Body]) -> Cost:
        """All in one commit group."""
        began = time.thread_time()
        code, written = "", 0
        try:
            sent = [
                Sent(b.encoding, decompress(b.wire, b.content_encoding, BodyLimits()), APP)
                for b in group
            ]
            judged = self._committer.judge(sent, self._now_ms, {})
            written = sum(len(entry.payload) for entry in judged.written)
            code = next((o.error.code for o in judged.outcomes if isinstance(o, UploadRefused)), "")
        except PermanentError as error:
            code = error.code
        return Cost(time.thread_time() - began, code, written)

    def outcomes(self, group: list[Sent]) -> list[Outcome]:
        """Of one commit group."""
        return self._committer.judge(group, self._now_ms, {}).outcomes

    def best(self, group: list[Body], runs: int = _RUNS) -> Cost:
        """The cheapest of some runs: what the machine did beside is not the body's cost."""
        return min((self.take(group) for _ in range(runs)), key=lambda cost: cost.seconds)


@dataclass(frozen=True, slots=True)
class Judged:
    """A body beside an honest one."""

    body: Body
    cost: Cost
    ratio: float

    @property
    def log_ratio(self) -> float:
        """Bytes of the log for each byte on the wire."""
        return self.cost.log_bytes / max(SMALL_BYTES, len(self.body.wire))


def judged(size: int, names: str, road: Road, now_ms: int) -> Iterator[Judged]:
    """All shapes of one size."""
    beside, known = Honest(now_ms), dict[int, float]()
    for body in bodies(now_ms - 1_000, size):
        if names not in body.name:
            continue
        like, count = beside.like(body)
        if id(like) not in known:
            known[id(like)] = road.best([like], 15).seconds
        allowed_s = known[id(like)] * count
        cost = road.take([body])
        if cost.seconds > allowed_s:  # the rest is of no interest
            cost = road.best([body])
        yield Judged(body, cost, cost.seconds / allowed_s)


def run(sizes: Sequence[int], names: str, *, is_live: bool) -> Report:
    """All shapes at all sizes, in process and over the roads into a server."""
    now_ms = time.time_ns() // 1_000_000
    road, results, count = Road(now_ms), list[Result](), 0
    for size in sizes:
        found = sorted(judged(size, names, road, now_ms), key=lambda one: -one.ratio)
        for one in found[:12]:
            print(
                f"  {one.ratio:6.1f} x  {one.cost.seconds * 1e3:8.2f} ms"
                f"  {one.cost.code or 'taken':20s}"
                f" {len(one.body.wire):8d} B  {one.body.encoding} {one.body.content_encoding}"
                f" {one.body.name}"
            )
        count += len(found)
        what = f"{size // 1024} KiB, worst CPU: {found[0].body.name}"
        results.append(Result("S5", what, found[0].ratio, "x honest", ("<=", 20), len(found)))
        heaviest = max(found, key=lambda one: one.log_ratio)
        what = f"{size // 1024} KiB, log per wire byte: {heaviest.body.name}"
        results.append(Result("S8", what, heaviest.log_ratio, "x", n=len(found)))
    if is_live:
        results += live(sizes, names, now_ms)
    return Report(
        "bodies", [Result("S5", "hostile bodies", count, "bodies", (">=", 200)), *results]
    )


def main() -> int:
    """Arguments in, exit code out."""
    parser = argparse.ArgumentParser(prog="holdfast bench bodies", description=__doc__)
    parser.add_argument("--size", type=int, action="append", help="bytes of a body on the wire")
    parser.add_argument("--names", default="", help="only shapes whose name contains this")
    parser.add_argument("--in-process", action="store_true", help="without a server")
    parser.add_argument("--json", action="store_true", help="figures as one line of JSON")
    options = parser.parse_args()
    report = run(options.size or SIZES, options.names, is_live=not options.in_process)
    return report.give(as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
