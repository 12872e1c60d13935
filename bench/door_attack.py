"""Strangers at the doors, a process of its own: `python -m bench.door_attack`.

Reads an `Attack`, says "ready", plays its shapes over and over at the next line, says what it cost.
With no connections it burns as much of its core as it is told instead: a load that is no attack.
"""

import asyncio
import os
import resource
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
import uvloop

from bench.door_greedy import Greedy, greedy
from bench.door_shapes import Door, End, Shape, shapes
from bench.uploads import Order, make_uploads
from holdfast.clock import now_ms

_ANSWER_S: Final = 3.0
_STEP_S: Final = 0.005
_BODIES, _ROWS = 300, 20
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Attack:
    """`ports` by door; `connections` at a time; `kinds` empty: all. Or burn `cpu_share`."""

    ports: dict[Door, int]
    seconds: float
    core: int
    connections: int
    pool: int = 600
    seed: int = 1
    kinds: tuple[str, ...] = ()
    cpu_share: float = 0.0
    key: str = ""  # a valid one of another app: `greedy` instead of shapes
    greedy: Greedy = Greedy.UPLOADS
    app: str = ""


@dataclass(slots=True)
class Played:
    """What it came to: connections by kind, those that could not be made, 5xx by status."""

    cpu_share: float = 0.0
    played: dict[str, int] = field(default_factory=Counter)
    refused: int = 0
    statuses: dict[str, int] = field(default_factory=Counter)


async def _play(shape: Shape, port: int, until_s: float, played: Played) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.create_task(_read(reader, played)) if shape.reads else None
    try:
        for piece in shape.pieces:
            writer.write(piece)
            await writer.drain()
            if shape.pause_s:
                await asyncio.sleep(min(shape.pause_s, max(0.0, until_s - time.monotonic())))
        if shape.end is End.RESET:
            opened: socket.socket | None = writer.get_extra_info("socket")
            if opened is not None:  # the node had not ended it first
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        elif shape.end is End.HALF:
            writer.write_eof()
        if reading is not None and shape.end in (End.READ, End.HALF):
            await asyncio.wait_for(reading, min(_ANSWER_S, max(0.0, until_s - time.monotonic())))
    finally:
        if reading is not None:
            reading.cancel()
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader, played: Played) -> None:
    while answer := await reader.read(1 << 16):
        if answer.startswith(b"HTTP/1.1 5"):
            played.statuses[answer[9:12].decode()] += 1


async def _stranger(
    attack: Attack, pool: list[Shape], number: int, until_s: float, played: Played
) -> None:
    at = number * 7
    while time.monotonic() < until_s:
        shape = pool[at % len(pool)]
        at += 1
        try:
            async with asyncio.timeout(until_s - time.monotonic()):
                await _play(shape, attack.ports[shape.door], until_s, played)
        except TimeoutError:
            pass  # it was held, as it should be
        except (OSError, RuntimeError):  # uvloop says RuntimeError of what is closed
            played.refused += 1
            await asyncio.sleep(_STEP_S)
        played.played[shape.kind] += 1


async def _attack(attack: Attack, pool: list[Shape]) -> Played:
    played, until_s = Played(), time.monotonic() + attack.seconds
    numbers = range(attack.connections)
    await asyncio.gather(*(_stranger(attack, pool, n, until_s, played) for n in numbers))
    return played


def _burn(attack: Attack) -> Played:
    """Busy for a share of each step, as an event loop is."""
    until_s = time.monotonic() + attack.seconds
    while (now_s := time.monotonic()) < until_s:
        busy_s = time.thread_time() + attack.cpu_share * _STEP_S
        while time.thread_time() < busy_s:
            pass
        time.sleep(max(0.0, now_s + _STEP_S - time.monotonic()))
    return Played()


def _pool(attack: Attack) -> list[Shape]:
    rng, doors = np.random.default_rng(attack.seed), tuple(attack.ports)
    if attack.key:
        order = Order("", "", _BODIES, _ROWS, seed=attack.seed, app=attack.app)
        bodies = [upload.body for upload in make_uploads(order, now_ms=now_ms(), rng=rng)]
        return greedy(rng, attack.greedy, attack.pool, attack.key, bodies)
    pool = shapes(rng, attack.pool, doors)
    return [shape for shape in pool if not attack.kinds or shape.kind in attack.kinds]


def main() -> None:
    """Read an attack, wait for the word, play it, say what came of it."""
    attack = msgspec.json.decode(sys.stdin.readline(), type=Attack)
    os.sched_setaffinity(0, {attack.core})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pool = _pool(attack)
    print("ready", flush=True)
    sys.stdin.readline()
    began_s, cpu_s = time.monotonic(), time.process_time()
    played = uvloop.run(_attack(attack, pool)) if attack.connections else _burn(attack)
    played.cpu_share = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
    print(msgspec.json.encode(played).decode(), flush=True)


if __name__ == "__main__":
    main()
