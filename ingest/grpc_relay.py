"""Passes bytes between gRPC's clients and grpcio, and decides whose connection stays.

grpcio takes so many connections and refuses the next: it evicts nobody, so whoever holds them all
keeps the others out. Here the budget of HTTP's door holds (`ingest.connections`). Before a call
shows a valid key a connection is a stranger: it reaches grpcio with HTTP/2's preface only, its
bytes wait for turns, and it has so many bytes in all. What of HTTP/2 is read: `ingest.http2_guard`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ingest.acceptor import Crowd, Door, Newcomer
from ingest.connections import NEVER, Rank
from ingest.http2_guard import PREFACE, HeaderGuard

_STRANGER_BYTES_MAX: Final = 128 * 1024
"""Settings, metadata and what flow control lets a client send before anybody reads it: 64 KiB."""
_PIECE_BYTES: Final = 1024  # of a stranger, in one turn: a client's first header block
_STRANGER_BLOCKS_MAX: Final = 8
"""Header blocks, then the rest waits until one of them had a key: each call costs the loop."""
_LOOPBACK: Final = "127.0.0.1"


@dataclass(slots=True)
class Relay:
    """Between the connections of one door and grpcio's `port` on loopback.

    `slot_of` says where the quota counts an address; `stranger_s` is the time to show a key in.
    """

    crowd: Crowd
    slot_of: Callable[[str], int]
    stranger_s: float
    port: int = 0
    clients: set["Client"] = field(default_factory=set)
    _by_port: dict[int, "Client"] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def door(self) -> Door:
        """For its acceptors. HTTP/2 folds headers, so that no key is to be seen from outside."""
        return Door(lambda _data, _address: False, self.serve)

    def serve(self, newcomer: Newcomer, _is_known: bool) -> "Client":
        """Who takes over a connection that has had its turn."""
        return Client(self, newcomer)

    def client_of(self, peer: str) -> "Client | None":
        """Who is behind gRPC's name of a peer, ``ipv4:127.0.0.1:5``; None: gone, or not of ours."""
        return self._by_port.get(int(peer.rpartition(":")[2] or 0))

    async def close(self, farewell: Awaitable[None]) -> None:
        """Wait for grpcio's farewell, and end what is left."""
        await farewell
        while self.clients or self._tasks or self._by_port:
            self.evict_all()
            await asyncio.sleep(0.01)  # both sides of each are told in later turns

    def evict_all(self) -> None:
        """End every connection; clients come again."""
        for client in self.clients:
            client.evict()

    def run(self, dialling: Coroutine[Any, Any, None]) -> None:
        """Run it, and hold it until it is done."""
        task = asyncio.create_task(dialling)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def dialled(self, port: int, client: "Client") -> None:
        """A client is known to grpcio by this port of ours."""
        self._by_port[port] = client

    def gone(self, port: int) -> None:
        """It is no more."""
        self._by_port.pop(port, None)


class Client(asyncio.Protocol):
    """A client's side. `slot` is where quotas count it."""

    transport: asyncio.Transport

    def __init__(self, relay: Relay, newcomer: Newcomer) -> None:
        self.rank = Rank.FRESH
        self.ranked_s = 0.0
        self.deadline_s = self.stalled_at_s = NEVER
        self.slot = relay.slot_of(newcomer.address)
        self._relay = relay
        self._newcomer = newcomer
        self._is_known = False
        self._waits = False
        self._has_turn = True
        self._unread = bytearray()
        self._passed_bytes = 0
        self._server: _Server | None = None  # once the preface has come
        self._is_dialling = False
        self._is_eof = False
        self._guard = HeaderGuard()

    # -- what the door sees

    def showed_key(self) -> None:
        """A call had a valid key: no stranger any more."""
        if not self._is_known:
            self._is_known = True
            self.deadline_s = NEVER
            self._relay.crowd.connections.rank(self, Rank.KNOWN)
            self._go_on()

    def expire(self) -> None:
        """It showed no key in time, or does not read its answers."""
        self.transport.abort()

    evict = expire

    # -- what the client does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._relay.clients.add(self)
        if not self._relay.crowd.connections.succeed(self._newcomer, self):
            self.transport.abort()  # it had to make room in between
        self.deadline_s = self.ranked_s + self._relay.stranger_s

    def data_received(self, data: bytes) -> None:
        if self._is_known and self._server is not None and not self._unread:
            self._forward(data)
            return
        if not self._relay.crowd.turns.hold(len(data)):
            self.transport.abort()
            return
        self._unread += data
        self._go_on()

    def eof_received(self) -> bool:
        self._is_eof = True
        self._go_on()
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        self._relay.crowd.connections.leave(self)
        self._relay.clients.discard(self)
        self._relay.crowd.turns.hold(-len(self._unread))
        self._unread.clear()
        if self._server is not None:
            self._server.transport.abort()
            self._server = None  # each holds the other, and what both hold

    def pause_writing(self) -> None:
        """It does not read its answers: nor are they read, and not for long."""
        connections = self._relay.crowd.connections
        self.stalled_at_s = connections.now_s() + connections.limits.stalled_s
        if self._server is not None:
            self._server.pause(True)

    def resume_writing(self) -> None:
        self.stalled_at_s = NEVER
        if self._server is not None:
            self._server.pause(False)

    # -- between both

    def _go_on(self) -> None:
        """Pass on what may be passed; wait for a turn, a key or room for the rest."""
        if self._waits or self._is_dialling or self.transport.is_closing():
            return
        if self._is_known or self._has_turn or not self._unread:
            self._pass_on()
        elif (
            self._passed_bytes + len(self._unread) <= _STRANGER_BYTES_MAX
            and self._guard.blocks < _STRANGER_BLOCKS_MAX
        ):
            self._wait()
        else:
            self.transport.pause_reading()  # until it shows a key, or its time is up

    def _wait(self) -> None:
        self._waits = True
        self.transport.pause_reading()
        self._relay.crowd.turns.wait(self._take_turn)

    def _take_turn(self) -> None:
        self._waits, self._has_turn = False, True
        self._go_on()

    def _pass_on(self) -> None:
        if self._server is None:
            self._greet()
            return
        if self._unread:
            size = len(self._unread) if self._is_known else _PIECE_BYTES
            piece = bytes(self._unread[:size])
            del self._unread[:size]
            self._relay.crowd.turns.hold(-len(piece))
            self._passed_bytes += len(piece)
            self._has_turn = False
            self._forward(piece)
        if self.transport.is_closing():
            return
        if self._unread:
            self._go_on()  # in the next turn, if there is one
        elif self._is_eof:
            self._server.write_eof()
        elif not self._server.is_full:
            self.transport.resume_reading()

    def _forward(self, data: bytes) -> None:
        assert self._server is not None, "dialled"  # noqa: S101
        if self._guard.refuses(data):
            self.transport.abort()
        else:
            self._server.write(data)

    def _greet(self) -> None:
        """Look for the preface; dial grpcio once it is there."""
        said = bytes(self._unread[: len(PREFACE)])
        if not PREFACE.startswith(said) or (self._is_eof and len(said) < len(PREFACE)):
            self.transport.abort()
        elif len(said) == len(PREFACE):
            self._is_dialling = True
            self.transport.pause_reading()
            self._relay.run(self._dial())

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, server = await loop.create_connection(
                lambda: _Server(self._relay, self), _LOOPBACK, self._relay.port
            )
        except OSError:
            self.transport.abort()
            return
        self._is_dialling = False
        if self.transport.is_closing():
            server.transport.abort()
            return
        self._server = server
        self._go_on()

    # -- what grpcio does

    def answer(self, data: bytes) -> None:
        """Pass an answer on, if anybody is there."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def pause(self, is_full: bool) -> None:  # a transport's way
        """Grpcio reads no more for now."""
        if is_full:
            self.transport.pause_reading()
        else:
            self._go_on()

    def end(self) -> None:
        """Grpcio has ended the connection: so it ends here, once its last words are out."""
        self.transport.close()


class _Server(asyncio.Protocol):
    """Grpcio's side of one connection."""

    transport: asyncio.Transport

    def __init__(self, relay: Relay, client: Client) -> None:
        self._relay = relay
        self._client = client
        self._port = 0
        self.is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._port = transport.get_extra_info("sockname")[1]
        self._relay.dialled(self._port, self._client)
        self.write, self.write_eof = self.transport.write, self.transport.write_eof

    def data_received(self, data: bytes) -> None:
        self._client.answer(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._relay.gone(self._port)
        self._client.end()

    def pause_writing(self) -> None:
        self.is_full = True
        self._client.pause(True)

    def resume_writing(self) -> None:
        self.is_full = False
        self._client.pause(False)

    def pause(self, is_full: bool) -> None:  # a transport's way
        """The client reads no more for now."""
        if is_full:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
