"""`holdfast bench fuzz`: mutated bodies in process and over the wire to a real ingest (S5).

In process every body is decompressed, decoded, judged and encoded in a commit group among good
ones; the group's good uploads must be accepted, and a protobuf body that the fast parser took must
come out of the public one with the same columns. `bench.fuzz_wire` says what must be over the wire.
What failed is kept as a file; so is the first body of each end that no file of the corpus comes to,
to be looked at and moved to `tests/corpus`, which the tests replay.
"""

import argparse
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.bodies import Road
from bench.fuzz_inputs import checksum, mutated, seeds
from bench.fuzz_wire import over_the_wire
from bench.hostile_bodies import Body, json_head
from bench.report import Report, Result
from bench.roads import WAIT_S
from bench.tally import Tally
from bench.uploads import APP
from ingest.bodies import BodyLimits, decompress
from ingest.commit import Sent
from ingest.receipt import Receipt, UploadRefused
from wire import protobuf
from wire.decode import Encoding
from wire.errors import PermanentError

NOW_MS: Final = 1_790_000_000_000  # bodies that are kept stay as old as they were
_GROUP: Final = 16
_INDEX: Final = re.compile(r"\[\d+]")
_GOOD: Final = Body("good", Encoding.JSON, "identity", json_head(NOW_MS) + b"}")


def in_process(count: int, seed: int, until_s: float) -> Tally:
    """Groups of mutated bodies with a good one at the end of each."""
    rng = random.Random(seed)  # to be told again, not to be secret
    road, tally = Road(NOW_MS), Tally()
    stream = mutated(seeds(NOW_MS - 1_000, rng), rng)
    while tally.done < count and time.monotonic() < until_s:
        bodies = [next(stream) for _ in range(_GROUP - 1)]
        judge_group(road, bodies, tally)
    return tally


def replayed(corpus: Path) -> Tally:
    """Every file of it, in a group of its own."""
    road, tally = Road(NOW_MS), Tally()
    for body in kept(corpus):
        judge_group(road, [body], tally)
    return tally


def kept(corpus: Path) -> Iterator[Body]:
    """Its files; a name is the encodings and a checksum."""
    for file in sorted(corpus.iterdir()):
        encoding, how, _ = file.name.split("-")
        yield Body(file.name, Encoding(encoding), how, file.read_bytes())


def judge_group(road: Road, bodies: list[Body], tally: Tally) -> None:
    """Judge these and a good upload as one commit group; note what broke a promise."""
    began = time.thread_time()
    sent: list[Sent] = []
    of: list[Body] = []
    for body in bodies:
        try:
            unfolded = decompress(body.wire, body.content_encoding, BodyLimits())
        except PermanentError as error:
            _note(tally, body, error)
            continue
        except Exception as error:  # noqa: BLE001  # that is what is looked for
            tally.fail(repr(error), body)
            continue
        sent.append(Sent(body.encoding, unfolded, APP))
        of.append(body)
        if body.encoding is Encoding.PROTOBUF and not _parsers_agree(unfolded):
            tally.fail("the parsers disagree", body)
    outcomes = road.outcomes([*sent, Sent(_GOOD.encoding, _GOOD.wire, APP)])
    for outcome, body in zip(outcomes, of, strict=False):
        _note(tally, body, outcome.error if isinstance(outcome, UploadRefused) else None)
    if not isinstance(outcomes[-1], Receipt):
        tally.fail("a good neighbour was refused", of[0] if of else _GOOD)
    tally.slowest_s = max(tally.slowest_s, time.thread_time() - began)


def _note(tally: Tally, body: Body, error: PermanentError | None) -> None:
    code, at = (error.code, error.field) if error else ("taken", "")
    tally.note(code)
    kind = (body.encoding, body.content_encoding, code, _INDEX.sub("[]", at))
    tally.kinds.setdefault(kind, body)
    if code == "undecodable":
        tally.fail(code, body)


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


def run(options: argparse.Namespace) -> Report:
    """Both, each with half of the time."""
    results = []
    known = replayed(options.corpus).kinds if options.corpus.exists() else {}
    for what, go, count in (
        ("in process", in_process, options.count),
        ("over the wire", over_the_wire, options.wire_count),
    ):
        began_s = time.monotonic()
        tally = go(count, options.seed, began_s + options.minutes * 30)
        took_s = time.monotonic() - began_s
        for reason, body in tally.failed[:20]:
            print("  failed:", reason, _keep(body, options.keep))
        new = [kind for kind in tally.kinds if kind not in known]
        for kind in sorted(new):
            print("  new:", *kind, _keep(tally.kinds[kind], options.keep))
        print(f"  {what}: {dict(tally.codes.most_common())}")
        unplanned = sum(n for code, n in tally.codes.items() if code[:1] == "5" and code != "503")
        n = tally.done
        results += [
            Result("S5", f"bodies {what}", n, "bodies", (">=", min(count, 1))),
            Result("S5", f"failed {what}", len(tally.failed), "bodies", ("<=", 0), n),
            Result("S5", f"unplanned 5xx {what}", unplanned, "answers", ("<=", 0), n),
            Result("S5", f"hangs {what}", tally.codes["hung"], "bodies", ("<=", 0), n),
            Result("S5", f"slowest {what}", tally.slowest_s, "s", ("<=", WAIT_S), n),
            Result("S5", f"ends that the corpus lacks, {what}", len(new), "bodies", n=n),
            Result("S5", f"seconds {what}", took_s, "s"),
        ]
    return Report("fuzz", results)


def _keep(body: Body, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{body.encoding}-{body.content_encoding}-{checksum(body.wire)}"
    file.write_bytes(body.wire)
    return file


def main() -> int:
    """Arguments in, exit code out."""
    parser = argparse.ArgumentParser(prog="holdfast bench fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="in all, half of it each")
    parser.add_argument("--count", type=int, default=1_000_000, help="in process, at most")
    parser.add_argument("--wire-count", type=int, default=100_000, help="over the wire, at most")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations")
    parser.add_argument("--corpus", type=Path, default=Path("tests/corpus"), help="known ones")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-found"), help="failed and new ones")
    parser.add_argument("--json", action="store_true", help="figures as one line of JSON")
    options = parser.parse_args()
    return run(options).give(as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
