"""Runs HTTP, gRPC and the committer in one asyncio loop, and takes them down without loss."""

import asyncio
import contextlib
import gc
import logging
import resource
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import uvicorn
from prometheus_client import CollectorRegistry, generate_latest

from ingest.acceptor import Acceptor, Crowd, Door, crowd_of
from ingest.attest import Everybody
from ingest.connections import ConnectionLimits
from ingest.grant_issue import GrantIssuer
from ingest.grant_quota import GrantLimits, GrantQuota
from ingest.grpc import GrpcLimits, GrpcServer, connection_limits
from ingest.grpc_callers import Callers
from ingest.grpc_door import grpc_door
from ingest.grpc_relay import Relay
from ingest.health import Health, Pulse
from ingest.health_server import HealthServer
from ingest.http import HttpIngest
from ingest.http_body import RequestLimits, RequestReader
from ingest.http_door import http_door
from ingest.listen import listeners
from ingest.metrics import IngestCollector
from ingest.ports import Attestor, Keys
from ingest.quota import QuotaLimits, Quotas
from ingest.receive import Receiver
from ingest.releases import ReleaseConfigs
from ingest.shortcut import UploadProtocol
from ingest.turns import Turns

_log = logging.getLogger("holdfast.ingest")
_BEAT_S: Final = 0.25
_DESCRIPTORS: Final = 16_384


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Where to listen (port 0: any free one), and how long a farewell may take.

    `unready_s` is the time between "unready" and the closed
    door, in which a load balancer turns away; with twice `drain_s` it stays under 10 s.
    """

    host: str = "127.0.0.1"
    http_port: int = 8080
    grpc_port: int = 8081
    health_host: str = "127.0.0.1"
    health_port: int = 0
    request: RequestLimits = field(default_factory=RequestLimits)
    grpc: GrpcLimits = field(default_factory=GrpcLimits)
    quota: QuotaLimits = field(default_factory=QuotaLimits)  # of each app, both ways together
    grants: GrantLimits = field(default_factory=GrantLimits)
    attestor: Attestor = field(default_factory=Everybody)
    unready_s: float = 0.5
    drain_s: float = 4.0
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    tick_s: float = 1.0  # between the ticks that let log time go on without uploads


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the servers listen."""

    http: int
    grpc: int
    health: int


class _EmbeddedServer(uvicorn.Server):
    """Uvicorn without its signal handlers: signals belong to whoever embeds it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, slots=True)
class _Parts:
    """What serves. `crowd` is HTTP's."""

    reader: RequestReader
    crowd: Crowd
    http: _EmbeddedServer
    relay: Relay
    grpc_door: Door
    grpc: GrpcServer
    health: Health

    def chores(self, *more: Coroutine[None, None, None]) -> list[asyncio.Task[None]]:
        """What goes on until the end."""
        endless = (
            self.reader.keep_deadlines(),
            _look_after(self.crowd, self.relay.crowd),
            _beat(self.health.pulse),
            self.grpc.keep(),
            *more,
        )
        return [asyncio.create_task(chore) for chore in endless]


def _make(
    receiver: Receiver, keys: Keys, releases: ReleaseConfigs, settings: ServeSettings
) -> _Parts:
    now_s = asyncio.get_running_loop().time
    quotas = Quotas(settings.quota, now_s)
    reader = RequestReader(keys, receiver.admission, quotas, settings.request)
    turns = Turns()  # strangers of both doors have one share
    crowd = crowd_of(settings.connections, now_s, turns)
    grpc_crowd = crowd_of(connection_limits(settings.grpc), now_s, turns)
    relay = Relay(grpc_crowd, Callers(keys, quotas, receiver.count_refused))
    issuer = _issuer(receiver, settings, now_s)
    app = HttpIngest(receiver, reader, releases, issuer)
    numbers = IngestCollector(receiver, crowd, grpc_crowd, quotas, issuer.quota)
    return _Parts(
        reader,
        crowd,
        _EmbeddedServer(_uvicorn_config(app, settings)),
        relay,
        grpc_door(relay, settings.grpc.idle_s),
        GrpcServer(receiver, keys, quotas, settings.grpc, relay),
        _health(numbers, receiver, app),
    )


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
    _allow_descriptors()
    parts = _make(receiver, keys, releases, settings)
    http, relay, grpc_server = parts.http, parts.relay, parts.grpc
    with contextlib.ExitStack() as opened:
        health_port = _open_health(parts.health, settings, opened)
        open_http = _open(settings.host, settings.http_port, "HOLDFAST_HTTP_PORT", opened)
        open_grpc = _open(settings.host, settings.grpc_port, "HOLDFAST_GRPC_PORT", opened)
        await grpc_server.start()
        ports = Ports(_port(open_http), _port(open_grpc), health_port)
        chores = parts.chores(_tick(receiver, settings.tick_s))
        committing = asyncio.create_task(receiver.run(), name="ingest-commit")
        serving = asyncio.create_task(http.serve(sockets=[]), name="ingest-http")
        door = http_door(http, receiver, parts.reader, parts.crowd)
        acceptors = [Acceptor(listener, door, parts.crowd) for listener in open_http]
        acceptors += [Acceptor(listener, parts.grpc_door, relay.crowd) for listener in open_grpc]
        try:
            if await _started(http, serving):
                for acceptor in acceptors:
                    acceptor.start()
                _spare_the_collector()
                ready(ports)
            await _first_of(stop, committing, serving, *chores)
        finally:
            receiver.announce_drain()
            if stop.is_set():
                await asyncio.sleep(settings.unready_s)
            for acceptor in acceptors:
                acceptor.close()
            http.should_exit = True
            farewells = (relay.close(grpc_server.stop(settings.drain_s)), serving)
            await asyncio.gather(*farewells, return_exceptions=True)
            for chore in chores:
                chore.cancel()
            await _drain(receiver, committing, http, settings.drain_s)


async def _started(http: uvicorn.Server, serving: asyncio.Task[None]) -> bool:
    while not http.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event
        await asyncio.sleep(0.01)
    return not serving.done()


async def _drain(
    receiver: Receiver, committing: asyncio.Task[None], http: _EmbeddedServer, drain_s: float
) -> None:
    receiver.stop()
    try:
        await asyncio.wait_for(committing, drain_s)
    except TimeoutError:  # the log does not answer: what waits got no receipt and comes again
        _log.warning("drain_cut_short")
        for connection in list(http.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # their ends are told in the loop's next turn


def _issuer(receiver: Receiver, settings: ServeSettings, now_s: Callable[[], float]) -> GrantIssuer:
    quota = GrantQuota(settings.grants, now_s)
    grants = receiver.committer.grants
    return GrantIssuer(grants, quota, settings.attestor, receiver.desired, receiver.now_ms)


def _health(numbers: IngestCollector, receiver: Receiver, app: HttpIngest) -> Health:
    registry = CollectorRegistry()
    registry.register(numbers)
    pulse = Pulse(time.monotonic)
    pulse.beat()
    return Health(pulse, receiver.why_not_ready, partial(generate_latest, registry), app.openapi)


def _open(host: str, port: int, setting: str, opened: contextlib.ExitStack) -> list[socket.socket]:
    return [opened.enter_context(one) for one in listeners(host, port, setting=setting)]


def _open_health(health: Health, settings: ServeSettings, opened: contextlib.ExitStack) -> int:
    """Answer until `opened` is closed; the port."""
    found = listeners(settings.health_host, settings.health_port, setting="HOLDFAST_HEALTH_PORT")
    for listener in found:
        answering = HealthServer(listener, health)
        answering.start()
        opened.callback(answering.close)
    return _port(found)


def _port(opened: list[socket.socket]) -> int:
    port: int = opened[0].getsockname()[1]
    return port


def _allow_descriptors() -> None:
    """Let connections have descriptors: the usual soft limit of 1024 is less than their budget."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _look_after(*crowds: Crowd) -> None:
    while True:
        await asyncio.sleep(min(crowd.connections.limits.sweep_s for crowd in crowds))
        for crowd in crowds:
            crowd.newcomers.sweep()
            crowd.connections.sweep()


async def _beat(pulse: Pulse) -> None:
    while True:
        pulse.beat()
        await asyncio.sleep(_BEAT_S)


def _spare_the_collector() -> None:
    """What lives now lives as long as the process, and phones' uploads make no cycles: look seldom.

    Collecting took 7 % of an ingest worker's time. Strangers' connections do make cycles, and
    50,000 objects of them at once would hold the loop up for 30 ms. Whoever is connected while a
    generation is looked through goes to the next, and is no garbage before that is.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # the oldest generation is empty: a quarter more of it is soon there
    gc.set_threshold(5_000, 20, 4)


async def _first_of(stop: asyncio.Event, *tasks: asyncio.Task[None]) -> None:
    """Wait for `stop`, or for a task that should not have ended."""
    stopped = asyncio.create_task(stop.wait())
    ended, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in ended - {stopped}:
        _log.error("service_part_ended", exc_info=None if task.cancelled() else task.exception())
    stopped.cancel()


async def _tick(receiver: Receiver, tick_s: float) -> None:
    while True:
        await asyncio.sleep(tick_s)
        receiver.tick()


def _uvicorn_config(app: HttpIngest, settings: ServeSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=UploadProtocol,
        ws="none",
        lifespan="off",
        access_log=False,  # it would write addresses down
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,  # nobody asks who the client is
        timeout_graceful_shutdown=int(settings.drain_s),
    )
