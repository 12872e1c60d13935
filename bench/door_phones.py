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
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import grpc
import msgspec
import numpy as np

from bench.uploads import Order, make_uploads
from holdfast.clock import now_ms

_PATIENCE_S: Final = 30.0
_AGAIN_S: Final = 1.0
_ANSWER_S: Final = 10.0
_LINES: Final = 8
_UPLOAD: Final = "/holdfast.v1.Telemetry/Upload"
_OWN: Final = (("grpc.use_local_subchannel_pool", 1),)  # each channel has a connection of its own
_CLOSING: Final[set[asyncio.Future[None]]] = set()


@dataclass(frozen=True, slots=True)
class Phones:
    """`rate` uploads a second for `seconds`, of `rows` rows each; some of them over gRPC."""

    port: int
    grpc_port: int
    key: str
    seconds: float
    core: int
    rate: float = 50.0
    grpc_share: float = 0.1
    rows: int = 20
    seed: int = 1


@dataclass(slots=True)
class Served:
    """`lost` have no receipt after all their retries. Times in milliseconds, in order."""

    sent: int = 0
    lost: int = 0
    took_ms: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=Counter)


@dataclass(slots=True)
class Both:
    """Over each transport."""

    http: Served = field(default_factory=Served)
    grpc: Served = field(default_factory=Served)
    cpu_share: float = 0.0


class _Line(Protocol):
    async def ask(self, request: bytes) -> tuple[str, float]:
        """Status, and the seconds after which to come back."""

    def close(self) -> None:
        """End the connection; asking again opens another."""


class _HttpLine:
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


class _GrpcLine:
    """One channel of a stock client."""

    def __init__(self, port: int, key: str) -> None:
        self._target = f"127.0.0.1:{port}"
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._channel: grpc.aio.Channel | None = None

    async def ask(self, request: bytes) -> tuple[str, float]:
        """Status, and the seconds after which to come back."""
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._target, options=_OWN)
        try:
            await self._channel.unary_unary(_UPLOAD)(request, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            self.close()
            return error.code().name, _AGAIN_S
        return "200", 0.0

    def close(self) -> None:
        if self._channel is not None:
            closing = asyncio.ensure_future(self._channel.close())
            _CLOSING.add(closing)
            closing.add_done_callback(_CLOSING.discard)
        self._channel = None


async def _deliver(
    lines: list[_Line], make: Callable[[], _Line], request: bytes, served: Served
) -> None:
    """One upload until its receipt, on a line that is free or on a new one."""
    due_s = time.monotonic()
    line = lines.pop() if lines and served.sent % 2 else make()
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
        line.close()
    while len(lines) > _LINES:
        lines.pop(0).close()


async def _send(
    requests: list[bytes], seconds: float, make: Callable[[], _Line], served: Served
) -> None:
    lines = list[_Line]()
    began_s, each_s = time.monotonic(), seconds / max(1, len(requests))
    async with asyncio.TaskGroup() as group:
        for number, request in enumerate(requests):
            await asyncio.sleep(max(0.0, began_s + number * each_s - time.monotonic()))
            group.create_task(_deliver(lines, make, request, served))
    for line in lines:
        line.close()


async def _run(phones: Phones, bodies: list[bytes]) -> Both:
    both, over_grpc = Both(), int(len(bodies) * phones.grpc_share)
    requests = [_request(phones.key, body) for body in bodies[over_grpc:]]
    async with asyncio.TaskGroup() as group:
        http = partial(_HttpLine, phones.port)
        group.create_task(_send(requests, phones.seconds, http, both.http))
        stock = partial(_GrpcLine, phones.grpc_port, phones.key)
        group.create_task(_send(bodies[:over_grpc], phones.seconds, stock, both.grpc))
    await asyncio.gather(*_CLOSING)
    return both


def _request(key: str, body: bytes) -> bytes:
    head = (
        "POST /v1/telemetry HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _bodies(phones: Phones) -> list[bytes]:
    order = Order("", "", int(phones.rate * phones.seconds), phones.rows, seed=phones.seed)
    rng = np.random.default_rng(phones.seed)
    return [upload.body for upload in make_uploads(order, now_ms=now_ms(), rng=rng)]


def main() -> None:
    """Read an order, say "ready", send at the next line, say what came of it."""
    phones = msgspec.json.decode(sys.stdin.readline(), type=Phones)
    os.sched_setaffinity(0, {phones.core})
    bodies = _bodies(phones)
    print("ready", flush=True)
    sys.stdin.readline()
    began_s, cpu_s = time.monotonic(), time.process_time()
    both = asyncio.run(_run(phones, bodies))
    both.cpu_share = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
    print(msgspec.json.encode(both).decode(), flush=True)


if __name__ == "__main__":
    main()
