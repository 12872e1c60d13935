"""What strangers may send to a door, from a seed: shapes of requests, frames, pauses and ends.

None of them has a key. A shape is the bytes of one connection in pieces, the pause between them,
and how the connection ends. Sizes, counts, cuts and paths are drawn, so another seed is another
set of the same kinds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from bench import door_frames as h2


class Door(StrEnum):
    """Where it is sent."""

    HTTP = "http"
    GRPC = "grpc"
    HEALTH = "health"
    STORE = "store"


class End(StrEnum):
    """What the stranger does after its last piece."""

    READ = "read"  # waits for what comes
    HALF = "half"  # sends no more, and waits
    CLOSE = "close"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Shape:
    """One connection. `pause_s` is between two pieces; `reads` False: answers are left unread."""

    kind: str
    door: Door
    pieces: tuple[bytes, ...]
    pause_s: float = 0.0
    end: End = End.READ
    reads: bool = True


_HTTP_LIKE: Final = (Door.HTTP, Door.HEALTH, Door.STORE)
_PATHS: Final = (
    *("/", "/x", "/v1", "/v1/telemetry", "/v1/telemetry/", "/v1/telemetry:validate", "/metrics"),
    *(
        "/v1/releases/camera",
        "/v1/releases/../../etc/passwd",
        "/livez",
        "/readyz",
        "/%00",
        "//",
        "*",
    ),
    *("/v1/tuf/camera/metadata/1.root.json", "/?query=SELECT%201", "http://other/v1/telemetry"),
)
_METHODS: Final = ("GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT", "PATCH")
_TYPE: Final = "Content-Type: application/x-protobuf"
_KEYS: Final = ("", "Authorization: Bearer hfk_00000000_" + "A" * 43, "Authorization: Basic eDp4")
_ODD: Final = (
    b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 6",
    *(b"Content-Length: -1", b"Content-Length: 5, 5", b"Content-Length: 99999999999999999999"),
    *(b"Content-Length : 5", b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked, chunked"),
    *(b"X: \x00", b"X:\r\n folded", b": nameless", b"no colon", b"X: a\rb", b"\xff\xfe: x"),
    *(b"Expect: 100-continue\r\nContent-Length: 5", b"Expect: 200-ok", b"TE: trailers"),
    *(b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQ",),
    *(
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13",
        b"Host: a\r\nHost: b",
    ),
    *(b"Connection: close, keep-alive", b"Trailer: X\r\nTransfer-Encoding: chunked"),
)


def _request(rng: np.random.Generator, *lines: str, body: bytes = b"") -> bytes:
    method, path = str(rng.choice(_METHODS)), str(rng.choice(_PATHS))
    key = str(rng.choice(_KEYS))
    head = [f"{method} {path} HTTP/1.1", "Host: a", *(line for line in (key, *lines) if line)]
    return "\r\n".join((*head, "", "")).encode() + body


def _upload(rng: np.random.Generator, size: int, announced: int) -> bytes:
    key = str(rng.choice(_KEYS))
    lines = ["POST /v1/telemetry HTTP/1.1", "Host: a", _TYPE, f"Content-Length: {announced}"]
    return "\r\n".join((*lines, *filter(None, [key]), "", "")).encode() + rng.bytes(size)


def _cut(rng: np.random.Generator, whole: bytes, pieces: int) -> tuple[bytes, ...]:
    at = np.sort(rng.integers(0, len(whole) + 1, pieces - 1)).tolist()
    return tuple(whole[i:j] for i, j in zip([0, *at], [*at, len(whole)], strict=True) if i < j)


def _size(rng: np.random.Generator, most: int) -> int:
    return int(most ** rng.random())


# -- HTTP/1.1


def _pipelined(rng: np.random.Generator, door: Door) -> Shape:
    return Shape("pipelined", door, (_request(rng) * _size(rng, 400),))


def _pipelined_uploads(rng: np.random.Generator, door: Door) -> Shape:
    size = _size(rng, 2_000)
    return Shape("pipelined_uploads", door, (_upload(rng, size, size) * _size(rng, 60),))


def _one(rng: np.random.Generator, door: Door) -> Shape:
    return Shape("one_request", door, (_request(rng),), end=_any_end(rng))


def _odd_head(rng: np.random.Generator, door: Door) -> Shape:
    odd = _ODD[int(rng.integers(len(_ODD)))]
    whole = b"POST %b HTTP/1.1\r\nHost: a\r\n%b\r\n\r\nhello" % (
        str(rng.choice(_PATHS)).encode(),
        odd,
    )
    return Shape("odd_head", door, _cut(rng, whole, 1 + int(rng.integers(4))), end=_any_end(rng))


def _long_head(rng: np.random.Generator, door: Door) -> Shape:
    lines = [f"X-{i}: {'a' * _size(rng, 9000)}" for i in range(_size(rng, 300))]
    return Shape("long_head", door, _cut(rng, _request(rng, *lines), 3))


def _head_without_end(rng: np.random.Generator, door: Door) -> Shape:
    piece = bytes(rng.choice([b"a", b"a: b\r\n", b"\r\n", b" "])) * _size(rng, 20_000)
    return Shape("head_without_end", door, (b"GET / HTTP/1.1\r\n", *[piece] * _size(rng, 60)))


def _slow_head(rng: np.random.Generator, door: Door) -> Shape:
    whole = _request(rng, "X: " + "a" * 50)
    pieces = tuple(whole[i : i + 1] for i in range(len(whole)))
    return Shape("slow_head", door, pieces[:80], pause_s=float(rng.uniform(0.05, 0.3)))


def _slow_body(rng: np.random.Generator, door: Door) -> Shape:
    head = _upload(rng, 0, _size(rng, 4 << 20) + 1_000)
    return Shape("slow_body", door, (head, *[b"x"] * 60), pause_s=float(rng.uniform(0.05, 0.3)))


def _half_body(rng: np.random.Generator, door: Door) -> Shape:
    size = _size(rng, 4 << 20)
    whole = _upload(rng, size // 2, size + 1)
    return Shape("half_body", door, _cut(rng, whole, 3), end=_any_end(rng))


def _large_body(rng: np.random.Generator, door: Door) -> Shape:
    size = _size(rng, 5 << 20)
    return Shape("large_body", door, _cut(rng, _upload(rng, size, size), 4), end=_any_end(rng))


def _chunks(rng: np.random.Generator, door: Door) -> Shape:
    head = (
        f"POST /v1/telemetry HTTP/1.1\r\nHost: a\r\n{_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    sizes = [_size(rng, 3_000) for _ in range(_size(rng, 200))]
    extension = b";" + b"e" * _size(rng, 3_000) if rng.random() < 0.4 else b""
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (size, extension, rng.bytes(size)) for size in sizes)
    ends = [
        b"0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"",
        b"0\r\n",
        b"ffffffffffffffffff\r\n",
        b"-1\r\n",
        b"zz\r\n",
    ]
    end = ends[int(rng.integers(len(ends)))]
    return Shape("chunks", door, _cut(rng, head.encode() + chunks + end, 4), end=_any_end(rng))


def _unread(rng: np.random.Generator, door: Door) -> Shape:
    return Shape("unread", door, (_request(rng) * 300,) * _size(rng, 40), reads=False)


def _other_protocol(rng: np.random.Generator, door: Door) -> Shape:
    tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.bytes(_size(rng, 500))
    firsts = [
        tls,
        h2.PREFACE + h2.settings(),
        rng.bytes(_size(rng, 5_000)),
        b"GET /\r\n",
        b"\r\n" * 500,
    ]
    firsts += [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    ]
    return Shape(
        "other_protocol", door, (firsts[int(rng.integers(len(firsts)))],), end=_any_end(rng)
    )


def _idle(rng: np.random.Generator, door: Door) -> Shape:
    first = _request(rng) if rng.random() < 0.5 else b""
    return Shape("idle", door, (first,), pause_s=float(rng.uniform(0, 5)), end=_any_end(rng))


# -- HTTP/2


def _h2(kind: str, *pieces: bytes, **more: object) -> Shape:
    return Shape(kind, Door.GRPC, (h2.PREFACE + h2.settings(), *pieces), **more)  # type: ignore[arg-type]


def _half_messages(rng: np.random.Generator, _door: Door) -> Shape:
    """Each stream announces a message and sends a part of it, without a key."""
    path = str(rng.choice(("Upload", "UploadStream", "Nothing")))
    streams = range(1, 2 * _size(rng, 100) + 1, 2)
    size = _size(rng, 60_000)
    opened = b"".join(h2.call(stream, path) for stream in streams)
    announced = b"\0" + (4 << 20).to_bytes(4)
    first = b"".join(
        h2.body_frame(stream, announced + b"x" * min(size, 16_000)) for stream in streams
    )
    more = b"".join(h2.body_frame(stream, b"x" * min(size, 16_000)) for stream in streams)
    return _h2("half_messages", opened, first, *[more] * (size // 16_000), end=_any_end(rng))


def _rapid_reset(rng: np.random.Generator, _door: Door) -> Shape:
    calls = [
        h2.call(stream, "Upload") + h2.reset(stream)
        for stream in range(1, 2 * _size(rng, 3_000), 2)
    ]
    return _h2("rapid_reset", b"".join(calls))


def _frame_flood(rng: np.random.Generator, _door: Door) -> Shape:
    frames = {
        "settings": h2.settings((4, 70_000)),
        "ping": h2.frame(6, 0, 0, rng.bytes(8)),
        "window": h2.frame(8, 0, 0, (1).to_bytes(4)),
        "priority": h2.frame(2, 0, 3, b"\0\0\0\0\x10"),
        "unknown": h2.frame(0xBE, 0xFF, 7, rng.bytes(100)),
        "empty_data": h2.body_frame(1, b""),
        "goaway": h2.frame(7, 0, 0, bytes(8)),
    }
    kind = str(rng.choice(list(frames)))
    flood = frames[kind] * 200
    return _h2(f"{kind}_flood", h2.call(1, "Upload"), *[flood] * _size(rng, 100))


def _continuation(rng: np.random.Generator, _door: Door) -> Shape:
    more = h2.frame(9, 0, 1, h2.literal("x", "a" * 4_000) * 3)
    return _h2("continuation", h2.call(1, "Upload", flags=0), *[more] * _size(rng, 200))


def _metadata(rng: np.random.Generator, _door: Door) -> Shape:
    extra = b"".join(h2.literal(f"x-{i}", "a" * _size(rng, 900)) for i in range(_size(rng, 17)))
    return _h2(
        "metadata", h2.call(1, "Upload", extra=extra) + h2.body_frame(1, bytes(5), ends=True)
    )


def _refused_calls(rng: np.random.Generator, _door: Door) -> Shape:
    """Whole calls without a key, one after the other."""
    path = str(rng.choice(("Upload", "UploadStream", "Nothing")))
    message = b"\0" + (100).to_bytes(4) + bytes(100)
    calls = [
        h2.call(stream, path) + h2.body_frame(stream, message, ends=True)
        for stream in range(1, 2 * _size(rng, 100) + 1, 2)
    ]
    return _h2("refused_calls", *calls)


def _broken_frames(rng: np.random.Generator, _door: Door) -> Shape:
    whole = (
        h2.call(1, "Upload")
        + h2.body_frame(1, rng.bytes(100))
        + h2.frame(
            int(rng.integers(12)),
            int(rng.integers(256)),
            int(rng.integers(9)),
            rng.bytes(_size(rng, 90)),
        )
    )
    spoilt = bytearray(whole)
    for at in rng.integers(0, len(spoilt), 3).tolist():
        spoilt[at] ^= int(rng.integers(1, 256))
    return _h2("broken_frames", bytes(spoilt), end=_any_end(rng))


def _slow_frames(rng: np.random.Generator, _door: Door) -> Shape:
    whole = h2.PREFACE + h2.settings() + h2.call(1, "Upload") + h2.body_frame(1, bytes(20))
    pieces = tuple(whole[i : i + 2] for i in range(0, len(whole), 2))
    return Shape("slow_frames", Door.GRPC, pieces, pause_s=float(rng.uniform(0.05, 0.3)))


def _any_end(rng: np.random.Generator) -> End:
    return list(End)[int(rng.integers(len(End)))]


_Make = Callable[[np.random.Generator, Door], Shape]
_TEXT: Final[tuple[_Make, ...]] = (
    *(_pipelined, _pipelined_uploads, _one, _odd_head, _long_head, _head_without_end, _slow_head),
    *(_slow_body, _half_body, _large_body, _chunks, _unread, _other_protocol, _idle),
)
_FRAMES: Final[tuple[_Make, ...]] = (
    *(_half_messages, _rapid_reset, _frame_flood, _continuation, _metadata, _refused_calls),
    *(_broken_frames, _slow_frames, _other_protocol, _idle),
)


def shapes(
    rng: np.random.Generator, count: int, doors: tuple[Door, ...] = tuple(Door)
) -> list[Shape]:
    """So many of them: each kind in turn at each of the doors."""
    makes = [(make, door) for door in doors for make in (_FRAMES if door is Door.GRPC else _TEXT)]
    order = rng.permutation(len(makes)).tolist()
    made = []
    for number in range(count):
        make, door = makes[order[number % len(order)]]
        made.append(make(rng, door))
    return made
