"""`holdfast bench fuzz`: mutated bodies in process and over the wire to a real ingest (S5).

In process every body is decompressed, decoded, judged and encoded in a commit group among good
ones; the group's good uploads must be accepted, and a protobuf body that the fast parser took must
come out of the public one with the same columns. Over the wire an answer must come, and be none of
the 500s but a planned 503. What failed is kept as a file.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.bodies import Road
from bench.fuzz_inputs import checksum, mutated, seeds
from bench.hostile_bodies import Body, json_head
from bench.report import Report, Result
from bench.uploads import APP
from ingest.bodies import BodyLimits, decompress
from ingest.commit import Sent
from ingest.receipt import Receipt, UploadRefused
from wire import protobuf
from wire.decode import Encoding
from wire.errors import PermanentError

_GROUP = 16
_HANG_S = 5.0
_TYPES = {Encoding.JSON: "application/json", Encoding.PROTOBUF: "application/x-protobuf"}


@dataclass(slots=True)
class Tally:
    """What came of the bodies; `failed` are those that broke a promise."""

    done: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, Body]] = field(default_factory=list)
    slowest_s: float = 0.0


def in_process(count: int, seed: int, until_s: float) -> Tally:
    """Groups of mutated bodies with a good one at the end of each."""
    now_ms = time.time_ns() // 1_000_000
    rng = random.Random(seed)  # to be told again, not to be secret
    road, tally = Road(now_ms), Tally()
    stream = mutated(seeds(now_ms - 1_000, rng), rng)
    good = Body("good", Encoding.JSON, "identity", json_head(now_ms) + b"}")
    while tally.done < count and time.monotonic() < until_s:
        bodies = [next(stream) for _ in range(_GROUP - 1)]
        judge_group(road, bodies, good, tally)
        tally.done += len(bodies)
    return tally


def judge_group(road: Road, bodies: list[Body], good: Body, tally: Tally) -> None:
    """Judge these and a good upload as one commit group; note what broke a promise."""
    began = time.thread_time()
    sent: list[Sent] = []
    of: list[Body] = []
    for body in bodies:
        try:
            unfolded = decompress(body.wire, body.content_encoding, BodyLimits())
        except PermanentError as error:
            tally.codes[error.code] += 1
            continue
        except Exception as error:  # noqa: BLE001  # that is what is looked for
            tally.failed.append((repr(error), body))
            continue
        sent.append(Sent(body.encoding, unfolded, APP))
        of.append(body)
        if body.encoding is Encoding.PROTOBUF and not _parsers_agree(unfolded):
            tally.failed.append(("the parsers disagree", body))
    outcomes = road.outcomes([*sent, Sent(good.encoding, good.wire, APP)])
    for outcome, body in zip(outcomes, of, strict=False):
        code = outcome.error.code if isinstance(outcome, UploadRefused) else "taken"
        tally.codes[code] += 1
        if code == "undecodable":
            tally.failed.append((code, body))
    if not isinstance(outcomes[-1], Receipt):
        tally.failed.append(("a good neighbour was refused", of[0] if of else good))
    tally.slowest_s = max(tally.slowest_s, time.thread_time() - began)


def _parsers_agree(body: bytes) -> bool:
    """Whether the view and the public schema say the same, refusals too.

    A context said a thousand times is in the schema; the first look refuses it for its bytes.
    """
    viewed = _said(body, protobuf.pieces_of_protobuf)
    said = _said(body, protobuf.by_public_schema)
    if isinstance(viewed, PermanentError):  # what is wrong twice may be refused for either
        return viewed.code == "unknown_fields_max" or isinstance(said, PermanentError)
    return viewed == said


def _said(body: bytes, parse: protobuf.Parser) -> PermanentError | str:
    try:
        pieces = parse(body)
    except PermanentError as error:
        return error
    return repr(pieces._replace(enrolled=int(pieces.enrolled)))  # as text: NaN is not itself


def over_the_wire(count: int, seed: int, until_s: float) -> Tally:
    """One at a time, on a few kept connections, to a server of its own."""
    rng = random.Random(seed)
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "bench.ingest_alone", folder], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None  # noqa: S101  # a pipe, as asked
        try:
            ports = json.loads(server.stdout.readline())
            base = f"http://127.0.0.1:{ports['http_port']}/v1/telemetry"
            with httpx.Client(timeout=_HANG_S) as http:
                stream = mutated(seeds(time.time_ns() // 1_000_000, rng), rng)
                while tally.done < count and time.monotonic() < until_s:
                    body = next(stream)
                    path = base + (":validate" if rng.random() < 0.1 else "")
                    _ask(http, path, ports["key"], body, tally)
                    tally.done += 1
            if server.poll() is not None:
                tally.failed.append(
                    ("the server ended", Body("last", Encoding.JSON, "identity", b""))
                )
        finally:
            server.terminate()
            server.wait(30)
            server.stdout.close()
    return tally


def _ask(http: httpx.Client, url: str, key: str, body: Body, tally: Tally) -> None:
    headers = {"authorization": f"Bearer {key}", "content-type": _TYPES[body.encoding]}
    if body.content_encoding != "identity":
        headers["content-encoding"] = body.content_encoding
    began = time.monotonic()
    try:
        answer = http.post(url, content=body.wire, headers=headers)
    except httpx.HTTPError as error:
        tally.failed.append((repr(error), body))
        return
    tally.slowest_s = max(tally.slowest_s, time.monotonic() - began)
    tally.codes[str(answer.status_code)] += 1
    if answer.status_code >= 500 and answer.status_code != 503:
        tally.failed.append((str(answer.status_code), body))


def run(options: argparse.Namespace) -> Report:
    """Both, each with half of the time."""
    half_s = options.minutes * 30
    results = []
    for what, go, count in (
        ("in process", in_process, options.count),
        ("over the wire", over_the_wire, options.wire_count),
    ):
        began = time.monotonic()
        tally = go(count, options.seed, began + half_s)
        for reason, body in tally.failed[:20]:
            name = f"{body.encoding}-{body.content_encoding}-{checksum(body.wire)}"
            print("  ", reason, name)
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / name).write_bytes(body.wire)
        print(f"  {what}: {dict(tally.codes.most_common())}")
        results += [
            Result("S5", f"bodies {what}", tally.done, "bodies"),
            Result("S5", f"failed {what}", len(tally.failed), "bodies", ("<=", 0), tally.done),
            Result("S5", f"slowest {what}", tally.slowest_s, "s", ("<=", _HANG_S), tally.done),
        ]
    return Report("fuzz", results)


def main() -> int:
    """Arguments in, exit code out."""
    parser = argparse.ArgumentParser(prog="holdfast bench fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="in all, half of it each")
    parser.add_argument("--count", type=int, default=1_000_000, help="in process, at most")
    parser.add_argument("--wire-count", type=int, default=100_000, help="over the wire, at most")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="failed bodies")
    parser.add_argument("--json", action="store_true", help="figures as one line of JSON")
    options = parser.parse_args()
    return run(options).give(as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
