"""Bodies that a hostile client would send: what is in them is data, how they are sent is not.

A shape is a unit that is repeated between a head and a tail until the body has a size. Shapes are
crossed with the encodings of the body and with sizes, so one line here is a dozen bodies.
"""

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import zstandard

from bench.uploads import APP
from ingest.bodies import BodyLimits, room_of
from wire.decode import BYTES_MAX, Encoding
from wire.gather import COLUMNS
from wire.pb import telemetry_pb2

SMALL_BYTES: Final = 4096
SIZES: Final = (SMALL_BYTES, 64 * 1024, 1024 * 1024, BodyLimits().wire_bytes_max)
"""Of a body on the wire: from what an ordinary upload has to what none may have more of."""


@dataclass(frozen=True, slots=True)
class Body:
    """One body as it goes over the wire."""

    name: str
    encoding: Encoding
    content_encoding: str
    wire: bytes


_FLOATS: Final = ("latency_ms", "energy_mj", "confidence")
Fill = Callable[[int], bytes]
"""A body of about so many bytes."""
_CONTEXT: Final = {
    "app_id": APP,
    "app_version": "1.0.0",
    "platform": "android",
    "os_major": 14,
    "device_tier": "mid",
    "region": "DE",
    "network": "wifi",
    "model_id": "scene-labels",
    "model_version": "3.1.0",
    "runtime": "tflite",
    "placement": "device",
    "sdk_version": "0.1.0",
}


def json_head(created_ms: int) -> bytes:
    """An upload without its closing brace."""
    head = {"batch_id": "5a" * 16, "created_ms": created_ms, "context": _CONTEXT}
    return json.dumps(head).encode()[:-1]


def protobuf_head(created_ms: int, n: int = 0) -> bytes:
    """An upload that more fields may follow."""
    made = telemetry_pb2.UploadRequest(batch_id=b"Z" * 16, created_ms=created_ms, n=n)
    words = {"platform": "ANDROID", "device_tier": "MID", "network": "WIFI", "runtime": "TFLITE"}
    for name, value in (_CONTEXT | words | {"placement": "DEVICE"}).items():
        setattr(made.context, name, getattr(telemetry_pb2, str(value), value))
    return made.SerializeToString()


def _repeated(head: bytes, unit: bytes, tail: bytes, separator: bytes) -> Fill:
    def fill(size: int) -> bytes:
        count = max(1, (size - len(head) - len(tail)) // (len(unit) + len(separator)))
        return head + separator.join([unit] * count) + tail

    return fill


def _numbered(head: bytes, unit: str, tail: bytes) -> Fill:
    """The unit with a number in it each time: keys that differ."""

    def fill(size: int) -> bytes:
        count = max(1, (size - len(head) - len(tail)) // (len(unit) + 5))
        return head + b",".join([(unit % i).encode() for i in range(count)]) + tail

    return fill


_VALUES: Final = {
    "empty objects": b"{}",
    "empty lists": b"[]",
    "empty strings": b'""',
    "nulls": b"null",
    "zeros": b"0",
    "trues": b"true",
    "floats": b"0.1",
    "long floats": b"0." + b"123456789" * 30,
    "tiny floats": b"1e-320",
    "huge floats": b"9e307",
    "floats of many zeros": b"0." + b"0" * 300 + b"1",
    "floats between two": b"9007199254740993" + b"0" * 14 + b"1e-39",
    "floats between two, far": b"9007199254740993" + b"0" * 14 + b"1e39",
    "infinite floats": b"1e999",
    "long integers": b"9" * 300,
    "escaped strings": b'"\\u0041\\n"',
    "surrogates": b'"\\ud83d\\ude00"',
    "nested objects": b'{"a":{"b":{}}}',
    "nested lists": b"[[[[]]]]",
    "not UTF-8": b'"\xff"',
    "spaced zeros": b" 0 ",
    "newlines": b"\n\r\n0",
    "rows of one value": b'{"latency_ms":1}',
    "days": b'{"day":1}',
    "reports": b'{"correct":1}',
    "rows with a strange key": b'{"zz":1}',
    "rows with the same key twice": b'{"latency_ms":1,"latency_ms":2}',
    "rows with an escaped key": b'{"latency\\u005fms":1}',
}
_PLACES: Final = {
    "an unknown key": (b',"zz":[', b"]}"),
    "rows": (b',"rows":[', b"]}"),
    "unit_days": (b',"unit_days":[', b"]}"),
    "outcomes": (b',"outcomes":[', b"]}"),
    "a float column": (b',"columns":{"latency_ms":[', b"]}}"),
    "an integer column": (b',"columns":{"error_code":[', b"]}}"),
}


def json_shapes(created_ms: int) -> Iterator[tuple[str, Fill]]:
    """Every value in every place, and what is hostile for another reason."""
    good = json_head(created_ms)
    for place, (head, tail) in _PLACES.items():
        for name, unit in _VALUES.items():
            yield f"{name} in {place}", _repeated(good + head, unit, tail, b",")
    for place, (head, tail) in {
        "the upload": (b",", b"}"),
        "columns": (b',"columns":{', b"}}"),
        "an unknown object": (b',"zz":{', b"}}"),
        "a row": (b',"rows":[{', b"}]}"),
    }.items():
        yield f"strange keys in {place}", _numbered(good + head, '"k%d":0', tail)
        yield f"one strange key again in {place}", _repeated(good + head, b'"zz":0', tail, b",")
    context = json.dumps(_CONTEXT).encode()
    for key, value in {
        "context": context,
        "columns": b'{"latency_ms":[1]}',
        "rows": b"[{}]",
        "batch_id": b'"00"',
        "created_ms": b"1",
    }.items():
        again = b'"%b":%b' % (key.encode(), value)
        yield f"{key} again and again", _repeated(good + b",", again, b"}", b",")
    for name, unit in {"lists": b"[", "objects": b'{"a":', "both": b'[{"a":'}.items():
        yield f"depth of {name}", _repeated(b"", unit, b"", b"")
        yield f"depth of {name} in an upload", _repeated(good + b',"zz":', unit, b"", b"")
    yield (
        "closed depth",
        lambda size: good + b',"zz":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}",
    )
    for name, unit in {"integer": b"9", "string": b"a", "escapes": b"\\u0041"}.items():
        quote = b"" if name == "integer" else b'"'
        yield f"one long {name}", _repeated(good + b',"zz":' + quote, unit, quote + b"}", b"")
    in_column = good + b',"columns":{"latency_ms":['
    yield "one long integer in a column", _repeated(in_column, b"9", b"]}}", b"")
    yield "one long fraction in a column", _repeated(in_column + b"0.", b"9", b"e1]}}", b"")
    yield "one long exponent in a column", _repeated(in_column + b"1e", b"9", b"]}}", b"")
    yield "white space", _repeated(good, b" ", b"}", b"")
    yield "a long batch id", _repeated(b'{"batch_id":"', b"5a", b'",' + good[1:] + b"}", b"")


def _tag(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def varint(value: int) -> bytes:
    """Protobuf's."""
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def protobuf_shapes(created_ms: int) -> Iterator[tuple[str, Fill]]:
    """Fields again and again, behind a good head: known and unknown, of every wire type."""
    good = protobuf_head(created_ms, 1)
    fields = telemetry_pb2.UploadRequest.DESCRIPTOR.fields_by_name
    numbers = {name: field.number for name, field in fields.items()} | {
        "an unknown field": 100,
        "a far field": 500_000,
    }
    units = {
        "varints": (0, b"\0"),
        "long varints": (0, b"\x80" * 9 + b"\0"),
        "endless varints": (0, b"\xff" * 12),
        "doubles": (1, bytes(8)),
        "empty chunks": (2, b"\0"),
        "chunks of one": (2, b"\x04" + bytes(4)),
        "chunks of strange fields": (2, b"\x06" + b"\xa0\x06\0" * 2),
        "lengths beyond the end": (2, b"\xff\xff\xff\x7f"),
        "groups": (3, b""),
        "ends of groups": (4, b""),
        "words": (5, bytes(4)),
    }
    places = ("context", "unit_days", "outcomes", "latency_ms", "error_code", "batch_id", "n")
    for place in (*places, "an unknown field", "a far field"):
        for name, (kind, payload) in units.items():
            unit = _tag(numbers[place], kind) + payload
            yield f"{name} as {place}", _repeated(good, unit, b"", b"")
    closed = _tag(99, 3) + _tag(99, 4)
    yield "closed groups", _repeated(good, closed, b"", b"")
    yield "messages in messages", lambda size: _nested(good, size)
    yield "zero bytes", _repeated(b"", b"\0", b"", b"")
    yield "one chunk for all columns", _columns_of(created_ms, 0.0)
    yield "columns of what no metric may be", _columns_of(created_ms, float("inf"))
    yield "rows without columns", lambda _: protobuf_head(created_ms, 10_000)
    yield "more rows than there are", lambda _: protobuf_head(created_ms, 2**32 - 1)


def _nested(good: bytes, size: int) -> bytes:
    inner = b""
    while len(inner) < min(size, 60_000):
        inner = _tag(4, 2) + varint(len(inner)) + inner
    return good + inner


def protobuf_columns(created_ms: int, columns: Mapping[str, Sequence[float]]) -> bytes:
    """An upload of these columns."""
    made = telemetry_pb2.UploadRequest()
    for name, values in columns.items():
        getattr(made, name).extend(values)
    n = len(next(iter(columns.values())))
    return protobuf_head(created_ms, n) + made.SerializeToString()


def _columns_of(created_ms: int, value: float) -> Fill:
    def fill(size: int) -> bytes:
        n = min(10_000, size // 4 // len(COLUMNS))
        return protobuf_columns(
            created_ms, {c: [value if c in _FLOATS else 7] * n for c in COLUMNS}
        )

    return fill


def _empty_blocks(size: int) -> bytes:
    """A gzip member of stored blocks without a byte."""
    blocks = b"\0\0\0\xff\xff" * (size // 5) + b"\1\0\0\xff\xff"
    return gzip.compress(b"")[:10] + blocks + bytes(8)


def _flushed(size: int) -> bytes:
    """A member of blocks of one byte each, every one with its own start."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [packer.compress(b"a") + packer.flush(zlib.Z_SYNC_FLUSH) for _ in range(size // 8)]
    return b"".join(pieces) + packer.flush()


def _zeros(count: int) -> bytes:
    return bytes(min(count, 64 * 1024 * 1024))  # four times what a body may unfold to


_ZSTD_EMPTY: Final = zstandard.ZstdCompressor(write_content_size=False).compress(b"")
_SKIPPED: Final = b"\x50\x2a\x4d\x18" + bytes(4)
FOLDED: Final[dict[str, tuple[str, Fill]]] = {
    "empty members": ("gzip", lambda size: gzip.compress(b"", mtime=0) * (size // 20)),
    "members of one byte": ("gzip", lambda size: gzip.compress(b"{", mtime=0) * (size // 21)),
    "a member and junk": ("gzip", lambda size: gzip.compress(b"{}") + bytes(size - 64)),
    "empty stored blocks": ("gzip", _empty_blocks),
    "blocks of one byte": ("gzip", _flushed),
    "a bomb of zeros": ("gzip", lambda size: gzip.compress(_zeros(900 * size))),
    "a long file name": ("gzip", lambda size: b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (size - 64)),
    "half a member": ("gzip", lambda size: gzip.compress(_zeros(500 * size))[: size // 3]),
    "empty frames": ("zstd", lambda size: _ZSTD_EMPTY * (size // len(_ZSTD_EMPTY))),
    "skippable frames": ("zstd", lambda size: _SKIPPED * (size // 8)),
    "a frame and skippable ones": (
        "zstd",
        lambda s: zstandard.compress(b"{}") + _SKIPPED * (s // 8 - 8),
    ),
    "a frame and junk": ("zstd", lambda size: zstandard.compress(b"{}") + bytes(size - 64)),
    "empty blocks": ("zstd", lambda size: b"\x28\xb5\x2f\xfd\0\x58" + bytes(size - 64) + b"\1\0\0"),
    "a bomb of zeros in a frame": ("zstd", lambda size: zstandard.compress(_zeros(9_000 * size))),
    "a bomb that does not say its size": (
        "zstd",
        lambda size: zstandard.ZstdCompressor(write_content_size=False).compress(
            _zeros(900 * size)
        ),
    ),
    "a huge window": ("zstd", lambda size: b"\x28\xb5\x2f\xfd\x00\xf8" + bytes(size - 64)),
    "a size that is not so": (
        "zstd",
        lambda size: b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 100_000) + bytes(size - 64),
    ),
}


def bodies(created_ms: int, size: int = SMALL_BYTES) -> Iterator[Body]:
    """All shapes of so many bytes on the wire: plain, and folded as far as a server unfolds them.

    What is equal again and again folds to less than that; it is filled up where that costs nothing.
    """
    for encoding, shapes in (
        (Encoding.JSON, json_shapes(created_ms)),
        (Encoding.PROTOBUF, protobuf_shapes(created_ms)),
    ):
        unfolded_bytes = min(room_of(size, BodyLimits()), BYTES_MAX[encoding]) - 256
        for name, fill in shapes:
            yield Body(name, encoding, "identity", fill(size))
            unfolded = fill(unfolded_bytes)
            yield Body(name, encoding, "gzip", filled_gzip(gzip.compress(unfolded, 1), size))
            yield Body(name, encoding, "zstd", filled_zstd(zstandard.compress(unfolded), size))
    for name, (how, folded) in FOLDED.items():
        yield Body(name, Encoding.PROTOBUF, how, folded(size))


def filled_gzip(member: bytes, size: int) -> bytes:
    """The same with a file name that makes it as long."""
    if len(member) >= size:
        return member
    name = b"n" * (size - len(member) - 1) + b"\0"
    return member[:3] + b"\x08" + member[4:10] + name + member[10:]


def filled_zstd(frame: bytes, size: int) -> bytes:
    """The same with empty blocks that make it as long."""
    head = zstandard.frame_header_size(frame)
    return frame[:head] + bytes(3 * max(0, (size - len(frame)) // 3)) + frame[head:]
