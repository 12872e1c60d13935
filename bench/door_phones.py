"""Honest phones beside strangers, a process of its own: `python -m bench.door_phones`.

Uploads at a steady rate, every other one over a connection of its own, as phones come. A phone
that gets no receipt waits as it is told, or a second, and sends the same again. What counts is the
time from when an upload was due until its receipt, every retry in it.
"""

import asyncio
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
import uvloop

from bench.uploads import Order, make_uploads
from holdfast.clock import now_ms

_PATIENCE_S: Final = 30.0
_AGAIN_S: Final = 1.0
_ANSWER_S: Final = 10.0
_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class Phones:
    """`rate` uploads a second for `seconds`, of `rows` rows each."""

    port: int
    key: str
    seconds: float
    core: int
    rate: float = 50.0
    rows: int = 20
    seed: int = 1


@dataclass(slots=True)
class Served:
    """`lost` have no receipt after all their retries. Times in milliseconds, in order."""

    sent: int = 0
    lost: int = 0
    cpu_share: float = 0.0
    took_ms: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=Counter)


class _Line:
    """One connection, opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[str, float]:
        """Status, and the seconds after which to come back."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(_field(head, b"content-length: ")))
        if b"connection: close" in head:
            self.close()
        return head[9:12].decode(), float(_field(head, b"retry-after: ") or b"1")

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
        self._streams = None


def _field(head: bytes, name: bytes) -> bytes:
    return head.partition(name)[2].partition(b"\r\n")[0]


async def _deliver(lines: list[_Line], request: bytes, port: int, served: Served) -> None:
    """One upload until its receipt, on a line that is free or on a new one."""
    due_s = time.monotonic()
    line = lines.pop() if lines and served.sent % 2 else _Line(port)
    served.sent += 1
    while time.monotonic() - due_s < _PATIENCE_S:
        wait_s = _AGAIN_S
        try:
            async with asyncio.timeout(_ANSWER_S):
                status, wait_s = await line.ask(request)
        except (OSError, TimeoutError, EOFError) as error:
            status = type(error).__name__
            line.close()
        served.statuses[status] += 1
        if status == "200":
            served.took_ms.append((time.monotonic() - due_s) * 1e3)
            lines.append(line)
            break
        await asyncio.sleep(wait_s)
    else:
        served.lost += 1
    while len(lines) > _LINES:
        lines.pop(0).close()


async def _run(phones: Phones, requests: list[bytes]) -> Served:
    served, lines = Served(), list[_Line]()
    began_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number, request in enumerate(requests):
            wait_s = began_s + number / phones.rate - time.monotonic()
            await asyncio.sleep(max(0.0, wait_s))
            group.create_task(_deliver(lines, request, phones.port, served))
    for line in lines:
        line.close()
    return served


def _requests(phones: Phones) -> list[bytes]:
    order = Order("", "", int(phones.rate * phones.seconds), phones.rows, seed=phones.seed)
    rng = np.random.default_rng(phones.seed)
    head = (
        "POST /v1/telemetry HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n"
        f"Authorization: Bearer {phones.key}\r\nContent-Length: "
    ).encode()
    return [
        b"%b%d\r\n\r\n%b" % (head, len(upload.body), upload.body)
        for upload in make_uploads(order, now_ms=now_ms(), rng=rng)
    ]


def main() -> None:
    """Read an order, say "ready", send at the next line, say what came of it."""
    phones = msgspec.json.decode(sys.stdin.readline(), type=Phones)
    os.sched_setaffinity(0, {phones.core})
    requests = _requests(phones)
    print("ready", flush=True)
    sys.stdin.readline()
    began_s, cpu_s = time.monotonic(), time.process_time()
    served = uvloop.run(_run(phones, requests))
    served.cpu_share = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
    print(msgspec.json.encode(served).decode(), flush=True)


if __name__ == "__main__":
    main()
