"""Mutations of good bodies that keep enough of their structure to get far."""

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import zstandard

from bench.hostile_bodies import (
    FOLDED,
    Body,
    json_head,
    json_shapes,
    protobuf_columns,
    protobuf_shapes,
    varint,
)
from wire.decode import Encoding

_TOKENS: Final = (
    *(b"{}", b"[]", b"null", b"0", b"-1", b"1e39", b"1e999", b'""', b"true", b",", b":", b'"'),
    *(b'"rows":[{}]', b'"columns":{}', b'"n":1', b'"latency_ms"', b"\\u0000", b"\\ud800", b"\xff"),
    *(b"4294967295", b"18446744073709551616", b"9" * 33, b"NaN", b"[" * 40, b'{"a":' * 40),
)
_NUMBERS: Final = (*range(1, 9), 16, 17, *range(20, 28), 99, 100, 19_000, 500_000, 2**29 - 1)
_FOLD: Final[dict[str, Callable[[bytes], bytes]]] = {
    "identity": bytes,
    "gzip": lambda body: gzip.compress(body, 1, mtime=0),
    "zstd": zstandard.compress,
}


def seeds(created_ms: int, rng: random.Random) -> list[tuple[Encoding, bytes]]:
    """Good uploads in all forms, and the hostile shapes in small."""
    found: list[tuple[Encoding, bytes]] = []
    head = json_head(created_ms)
    for n in (0, 1, 3, 20):
        columns = {
            name: [rng.randrange(200) for _ in range(n)]
            for name in ("latency_ms", "error_code", "event_offset_ms", "confidence")
        }
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        days = [{"day": 1, "errored": True, "energy_mj": 1.5}] * (n % 4)
        parts = ({"columns": columns}, {"rows": rows, "unit_days": days, "strange": [1, {}]})
        found += [(Encoding.JSON, head + b"," + json.dumps(part).encode()[1:]) for part in parts]
        found.append((Encoding.PROTOBUF, protobuf_columns(created_ms, columns)))
    for encoding, shapes in (
        (Encoding.JSON, json_shapes(created_ms)),
        (Encoding.PROTOBUF, protobuf_shapes(created_ms)),
    ):
        found.extend((encoding, fill(rng.choice((300, 600, 900)))) for _, fill in shapes)
    return found


def mutated(known: Sequence[tuple[Encoding, bytes]], rng: random.Random) -> Iterator[Body]:
    """Without end."""
    folded = [(how, fill(400)) for how, fill in FOLDED.values()]
    while True:
        encoding, body = rng.choice(known)
        for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
            body = _changed(encoding, body, rng.choice(known)[1], rng)
        if rng.random() < 0.02:
            how, wire = rng.choice(folded)
        else:
            how = rng.choice(("identity", "identity", "identity", "gzip", "zstd"))
            wire = _FOLD[how](body)
        if how != "identity" and rng.random() < 0.3:
            wire = _changed(Encoding.PROTOBUF, wire, b"", rng)
        yield Body("mutated", encoding, how, wire)


def _changed(encoding: Encoding, body: bytes, other: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body) + 1)
    end = min(len(body), at + rng.choice((0, 1, 1, 2, 4, 30)))
    return body[:at] + _piece(encoding, body, other, rng) + body[end:]


def _piece(encoding: Encoding, body: bytes, other: bytes, rng: random.Random) -> bytes:
    kind = rng.randrange(5)
    if kind == 0:
        return rng.randbytes(rng.choice((1, 1, 2, 5)))
    if kind == 1:  # a stretch of itself, again
        at = rng.randrange(len(body) + 1)
        return body[at : at + rng.randrange(1, 80)] * rng.choice((1, 1, 2, 30))
    if kind == 2:  # of another
        at = rng.randrange(len(other) + 1)
        return other[at : at + rng.randrange(1, 80)]
    if encoding is Encoding.JSON:
        return rng.choice(_TOKENS)
    payload = rng.randbytes(rng.choice((0, 1, 4, 8, 16)))
    length = varint(rng.choice((len(payload), len(payload), 0, 3, 2**31 - 1, 2**63)))
    tag = varint(rng.choice(_NUMBERS) << 3 | rng.randrange(8))
    return tag + length * rng.randrange(2) + payload


def checksum(body: bytes) -> str:
    """A short name of an input."""
    return f"{zlib.crc32(body):08x}"
