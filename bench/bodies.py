"""`holdfast bench bodies`: what hostile bodies cost beside an honest one of the same size (S5).

Each is decompressed, decoded, judged and encoded as an upload of its own, in process, and its CPU
time is set against that of an honest upload of the same encodings that has as many bytes on the
wire, at least 4 KiB. The best of a few runs counts, of both. `honest` says what is honest: rows of
random values in every column. A stall is what one body holds the interpreter for at most, against
an honest commit group of the largest size.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import zstandard

from actions.desired_files import read_desired
from bench.hostile_bodies import SMALL_BYTES, Body, bodies, json_head, protobuf_columns
from bench.report import Report, Result
from bench.uploads import APP, repository
from ingest.bodies import BodyLimits, decompress
from ingest.commit import Committer, Sent
from ingest.receipt import Outcome, UploadRefused
from streams.log.memory import MemoryLog
from wire.decode import Encoding
from wire.desired import Desired
from wire.errors import PermanentError
from wire.gather import COLUMNS

_GROUP: int = 512
_RUNS: int = 5
_FOLD: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
}


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


def honest(encoding: Encoding, content_encoding: str, wire_bytes: int, now_ms: int) -> Body:
    """Rows of random values in every column, as many as come to that size on the wire."""
    rng = np.random.default_rng(1)
    rows = 8
    wire = b""
    while rows <= 9_000:
        values = rng.integers(1, 1_000, (len(COLUMNS), rows))
        columns = {name: values[c].tolist() for c, name in enumerate(COLUMNS)}
        columns["unit_bet"] = [0] * rows
        if encoding is Encoding.JSON:
            body = json_head(now_ms) + b',"columns":' + json.dumps(columns).encode() + b"}"
        else:
            body = protobuf_columns(now_ms, columns)
        if len(wire := _FOLD[content_encoding](body)) >= wire_bytes:
            break
        rows = rows * 5 // 4
    return Body("honest", encoding, content_encoding, wire)


def run(size: int, names: str = "") -> Report:
    """All shapes at one size."""
    now_ms = time.time_ns() // 1_000_000
    road = Road(now_ms)
    known: dict[tuple[Encoding, str, int], float] = {}
    worst: list[tuple[float, Body, Cost]] = []
    slowest = 0.0
    for body in bodies(now_ms - 1_000, size):
        if names not in body.name:
            continue
        like = max(SMALL_BYTES, len(body.wire))
        key = (body.encoding, body.content_encoding, like.bit_length())
        if key not in known:
            known[key] = road.best([honest(*key[:2], 1 << key[2] - 1, now_ms)], 15).seconds
        cost = road.best([body])
        slowest = max(slowest, cost.seconds)
        worst.append((cost.seconds / known[key], body, cost))
    worst.sort(key=lambda one: -one[0])
    for ratio, body, cost in worst[:25]:
        print(
            f"  {ratio:6.1f} x  {cost.seconds * 1e3:8.2f} ms  {cost.code or 'taken':20s}"
            f" {len(body.wire):8d} B  {body.encoding} {body.content_encoding} {body.name}"
        )
    heaviest = max(worst, key=lambda one: one[2].log_bytes / max(SMALL_BYTES, len(one[1].wire)))
    on_disk = heaviest[2].log_bytes / max(SMALL_BYTES, len(heaviest[1].wire))
    group = [honest(Encoding.PROTOBUF, "gzip", 8 * SMALL_BYTES, now_ms)] * (_GROUP // 8)
    commit = road.best(group).seconds
    return Report(
        "bodies",
        [
            Result("S5", "hostile bodies", len(worst), "bodies", (">=", 200)),
            Result(
                "S5",
                f"worst CPU: {worst[0][1].name}",
                worst[0][0],
                "x honest",
                ("<=", 20),
                len(worst),
            ),
            Result("S5", "worst hold against an honest group", slowest / commit, "x", ("<=", 5)),
            Result("S8", f"log per wire byte: {heaviest[1].name}", on_disk, "x", n=len(worst)),
        ],
    )


def main() -> int:
    """Arguments in, exit code out."""
    parser = argparse.ArgumentParser(prog="holdfast bench bodies", description=__doc__)
    parser.add_argument("--size", type=int, default=SMALL_BYTES, help="bytes of a body on the wire")
    parser.add_argument("--names", default="", help="only shapes whose name contains this")
    parser.add_argument("--json", action="store_true", help="figures as one line of JSON")
    options = parser.parse_args()
    return run(options.size, options.names).give(as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
