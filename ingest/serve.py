"""Runs HTTP, gRPC and the committer in one asyncio loop, and takes them down without loss."""

import asyncio
import contextlib
import gc
import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import uvicorn

from ingest.grpc import GrpcLimits, start_grpc
from ingest.http import HttpIngest
from ingest.http_body import RequestLimits, RequestReader
from ingest.ports import Keys
from ingest.receive import Receiver
from ingest.releases import ReleaseConfigs
from ingest.shortcut import UploadProtocol

_log = logging.getLogger("holdfast.ingest")
_KEEP_ALIVE_S: Final = 60


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Where to listen (port 0: any free one), and how long a farewell may take.

    Uvicorn has no deadline for headers: put a proxy with one in front of an open network. The
    deadline for bodies is held here. `unready_s` is the time between "unready" and the closed
    door, in which a load balancer turns away; with twice `drain_s` it stays under 10 s.
    """

    host: str = "127.0.0.1"
    http_port: int = 8080
    grpc_port: int = 8081
    request: RequestLimits = field(default_factory=RequestLimits)
    grpc: GrpcLimits = field(default_factory=GrpcLimits)
    unready_s: float = 0.5
    drain_s: float = 4.0
    connections_max: int = 2000
    tick_s: float = 1.0  # between the ticks that let log time go on without uploads


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the servers listen."""

    http: int
    grpc: int


class _EmbeddedServer(uvicorn.Server):
    """Uvicorn without its signal handlers: signals belong to whoever embeds it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    receiver: Receiver,
    *,
    keys: Keys,
    releases: ReleaseConfigs,
    settings: ServeSettings,
    ready: Callable[[Ports], None],
    stop: asyncio.Event,
) -> None:
    """Serve until `stop` is set; return when everything that was taken has been answered.

    `ready` is called once, with the ports. A failure of the committer ends the service.
    """
    reader = RequestReader(keys, receiver.admission, settings.request)
    listener = socket.create_server((settings.host, settings.http_port), backlog=2048)
    app = HttpIngest(receiver, reader, releases)
    protocol = partial(UploadProtocol, receiver=receiver, reader=reader)
    http = _EmbeddedServer(_uvicorn_config(app, protocol, settings))
    grpc_server, grpc_port = await start_grpc(
        receiver, keys, f"{settings.host}:{settings.grpc_port}", settings.grpc
    )
    committing = asyncio.create_task(receiver.run(), name="ingest-commit")
    serving = asyncio.create_task(http.serve(sockets=[listener]), name="ingest-http")
    sweeping = asyncio.create_task(reader.keep_deadlines(), name="ingest-deadlines")
    ticking = asyncio.create_task(_tick(receiver, settings.tick_s), name="ingest-tick")
    try:
        while not http.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event
            await asyncio.sleep(0.01)
        if not serving.done():
            _spare_the_collector()
            ready(Ports(listener.getsockname()[1], grpc_port))
        await _first_of(stop, committing, serving)
    finally:
        receiver.announce_drain()
        if stop.is_set():
            await asyncio.sleep(settings.unready_s)
        http.should_exit = True
        await asyncio.gather(grpc_server.stop(settings.drain_s), serving, return_exceptions=True)
        ticking.cancel()
        sweeping.cancel()
        receiver.stop()
        try:
            await asyncio.wait_for(committing, settings.drain_s)
        except TimeoutError:  # the log does not answer: what waits got no receipt and comes again
            _log.warning("drain_cut_short")
            for connection in list(http.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)  # their ends are told in the loop's next turn
        listener.close()


def _spare_the_collector() -> None:
    """What lives now lives as long as the process, and requests make no cycles: look seldom.

    Collecting took 7 % of an ingest worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _first_of(stop: asyncio.Event, *tasks: asyncio.Task[None]) -> None:
    """Wait for `stop`, or for a task that should not have ended."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()


async def _tick(receiver: Receiver, tick_s: float) -> None:
    while True:
        await asyncio.sleep(tick_s)
        receiver.tick()


def _uvicorn_config(
    app: HttpIngest, protocol: partial[UploadProtocol], settings: ServeSettings
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol,  # type: ignore[arg-type]  # a class with its parts bound
        ws="none",
        lifespan="off",
        access_log=False,  # it would write addresses down
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,  # nobody asks who the client is
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.drain_s),
        limit_concurrency=settings.connections_max,
    )
