"""A TCP proxy on loopback that does to connections what networks do; switched while it runs."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from weakref import WeakSet

_CHUNK_BYTES: Final = 64 * 1024
_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class Mode(StrEnum):
    """What happens to bytes."""

    PASS = "pass"  # noqa: S105  # no password: bytes pass
    LATENCY = "latency"  # every chunk comes later, in both directions
    RESET = "reset"  # every connection is reset, old or new
    HALF_OPEN = "half_open"  # requests arrive, answers are lost, and nobody is told
    BLACKHOLE = "blackhole"  # nothing arrives, and nobody is told


@dataclass(eq=False, slots=True)
class _Link:
    """One connection through the proxy. `is_torn`: bytes of it were lost, it cannot go on."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    is_torn: bool = False

    def abort(self) -> None:
        for writer in (self.client, self.server):
            _reset(writer)


class FaultProxy:
    """Listens on a free port in a thread of its own, from `start` to `stop`."""

    def __init__(self, target_port: int, *, host: str = "127.0.0.1") -> None:
        self.port = 0
        self._host, self._target_port = host, target_port
        self._mode = Mode.PASS
        self._latency_s = 0.0
        self._links: set[_Link] = set()
        self._writers: WeakSet[asyncio.StreamWriter] = WeakSet()  # of all connections, also torn
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def start(self) -> int:
        """Listen; the port."""
        self._thread.start()
        serving = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        self.port = serving.result(10.0)
        return self.port

    def switch(self, mode: Mode, *, latency_s: float = 0.0) -> None:
        """From now on. What `BLACKHOLE` held back goes on; what `HALF_OPEN` tore is reset."""
        done = threading.Event()

        def change() -> None:
            self._mode, self._latency_s = mode, latency_s
            (self._open.clear if mode is Mode.BLACKHOLE else self._open.set)()
            for link in list(self._links):
                if mode is Mode.RESET or link.is_torn:
                    link.abort()
            done.set()

        self._loop.call_soon_threadsafe(change)
        done.wait(10.0)

    def stop(self) -> None:
        """Reset every connection, and listen no more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        if self._server is not None:
            self._server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for writer in list(self._writers):
            _reset(writer)
        self._loop.run_until_complete(asyncio.sleep(0))  # aborted transports close here
        self._loop.close()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._accepted, self._host, 0, backlog=2048)
        return int(self._server.sockets[0].getsockname()[1])

    async def _accepted(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self._writers.add(client)
        with contextlib.suppress(asyncio.CancelledError):  # by `_run`, which closes what is open
            await self._link(reader, client)

    async def _link(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        await self._open.wait()
        if self._mode is Mode.RESET:
            _reset(client)
            return
        try:
            answers, server = await asyncio.open_connection(self._host, self._target_port)
        except OSError:
            _reset(client)  # nobody listens behind: the client is told as if it had dialled itself
            return
        self._writers.add(server)
        link = _Link(client, server)
        self._links.add(link)
        try:
            await asyncio.gather(
                self._pump(reader, server, lambda: False),
                self._pump(answers, client, lambda: self._lose(link)),
            )
        finally:
            self._links.discard(link)
            link.client.close()
            link.server.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_lost: Callable[[], bool]
    ) -> None:
        """Until the source ends. Its end is an event like every chunk: it is held back, or lost."""
        while True:
            try:
                chunk = await source.read(_CHUNK_BYTES)
                await self._open.wait()
                if self._mode is Mode.LATENCY:
                    await asyncio.sleep(self._latency_s)
                if is_lost():
                    if chunk:
                        continue
                    return
                if not chunk:
                    sink.write_eof()
                    return
                sink.write(chunk)
                await sink.drain()
            except (OSError, RuntimeError):  # either side has gone, or was reset by us
                _reset(sink)
                return

    def _lose(self, link: _Link) -> bool:
        if self._mode is Mode.HALF_OPEN:
            link.is_torn = True
        return link.is_torn


def _reset(writer: asyncio.StreamWriter) -> None:
    peer = writer.get_extra_info("socket")
    if peer is not None and peer.fileno() >= 0:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    writer.transport.abort()
