"""What somebody with the valid key of another app may send to a door, from a seed."""

from enum import StrEnum

import numpy as np

from bench import door_frames as h2
from bench.door_shapes import Door, End, Shape


class Greedy(StrEnum):
    """For what."""

    UPLOADS = "uploads"  # as many of them in one connection as it takes
    ASKS = "asks"  # all that is no upload: connections, configs, calls that do not exist


def greedy(
    rng: np.random.Generator, kind: Greedy, count: int, key: str, bodies: list[bytes]
) -> list[Shape]:
    """So many connections, over HTTP and gRPC in turn."""
    make = _uploads if kind is Greedy.UPLOADS else _asks
    doors = (Door.HTTP, Door.GRPC)
    return [make(rng, doors[number % len(doors)], key, bodies) for number in range(count)]


def _uploads(rng: np.random.Generator, door: Door, key: str, bodies: list[bytes]) -> Shape:
    some = [bodies[i] for i in rng.integers(0, len(bodies), _many(rng))]
    if door is Door.HTTP:
        head = f"POST /v1/telemetry HTTP/1.1\r\n{_fields(key)}Content-Length: "
        sent = [head.encode() + b"%d\r\n\r\n" % len(body) + body for body in some]
        return Shape("uploads", door, (b"".join(sent),), end=End.HALF)
    sent = [
        h2.call(stream, "Upload", key=key)
        + h2.body_frame(stream, b"\0" + len(body).to_bytes(4) + body, ends=True)
        for stream, body in zip(range(1, 2 * len(some), 2), some, strict=True)
    ]
    return Shape("uploads", door, (b"".join((h2.PREFACE, h2.settings(), *sent)),))


def _asks(rng: np.random.Generator, door: Door, key: str, _bodies: list[bytes]) -> Shape:
    times = 1 if rng.random() < 0.5 else _many(rng)  # of two kinds: new, and long
    if door is Door.HTTP:
        ask = f"GET /v1/releases/keyboard HTTP/1.1\r\n{_fields(key)}\r\n".encode()
        return Shape("asks", door, (ask * times,), end=End.HALF)
    calls = [h2.call(stream, "None", key=key) for stream in range(1, 2 * times, 2)]
    pieces = (b"".join((h2.PREFACE, h2.settings(), *calls)),)
    return Shape("asks", door, pieces, end=End.CLOSE if times == 1 else End.READ)


def _many(rng: np.random.Generator) -> int:
    return int(rng.integers(1, 101))


def _fields(key: str) -> str:
    return f"Host: a\r\nContent-Type: application/x-protobuf\r\nAuthorization: Bearer {key}\r\n"
