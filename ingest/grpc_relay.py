"""Passes bytes between gRPC's clients and grpcio, and decides whose connection stays.

grpcio takes so many connections and refuses the next: it evicts nobody, so whoever holds them all
keeps the others out. Here the budget of HTTP's door holds (`ingest.connections`), and whoever comes
here has shown a valid key (`ingest.grpc_door`). What of HTTP/2 is read: `ingest.http2_guard`.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, field
from typing import Final, cast

from ingest.acceptor import Crowd, Newcomer
from ingest.connections import NEVER, Connection, Rank
from ingest.grpc_callers import Callers
from ingest.http2 import Remainder
from ingest.http2_guard import COST_OF_ASK, REFUSED, HeaderGuard

_LOOPBACK: Final = "127.0.0.1"
_PIECE_BYTES: Final = 16 * 1024  # in one turn, of a key whose share is used up


@dataclass(slots=True)
class Relay:
    """Between the connections of one door and grpcio's `port` on loopback.

    `open` are the connections that are served, whether they lead to grpcio or not.
    """

    crowd: Crowd
    callers: Callers
    port: int = 0
    open: set[Connection] = field(default_factory=set)
    _by_port: dict[int, "Client"] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def client_of(self, peer: str) -> "Client | None":
        """Who is behind gRPC's name of a peer, ``ipv4:127.0.0.1:5``; None: gone, or not of ours."""
        return self._by_port.get(int(peer.rpartition(":")[2] or 0))

    async def close(self, farewell: Awaitable[None]) -> None:
        """Wait for grpcio's farewell, and end what is left."""
        await farewell
        while self.open or self._tasks or self._by_port:
            self.evict_all()
            await asyncio.sleep(0.01)  # both sides of each are told in later turns

    def evict_all(self) -> None:
        """End every connection; clients come again."""
        for client in list(self.open):
            client.evict()

    def run(self, dialling: Coroutine[None, None, None]) -> None:
        """Run it, and hold it until it is done."""
        task = asyncio.create_task(dialling)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def dialled(self, port: int, client: "Client") -> None:
        """A client is known to grpcio by this port of ours."""
        self._by_port[port] = client

    def gone(self, port: int, client: "Client") -> None:
        """It is no more. The kernel may have given its port to another one already."""
        if self._by_port.get(port) is client:
            del self._by_port[port]


class Client(asyncio.Protocol):
    """A client's side, from its first byte on. `slot` is where quotas count it."""

    transport: asyncio.Transport

    def __init__(self, relay: Relay, newcomer: Newcomer) -> None:
        self.rank = Rank.FRESH
        self.ranked_s = 0.0
        self.deadline_s = self.stalled_at_s = NEVER
        self.slot = relay.callers.slot_of(newcomer.address)
        self._relay = relay
        self._newcomer = newcomer
        self._unread = b""
        self._server: _Server | None = None
        self._calls = list[tuple[int, bytes]]()
        self._owed = 0  # of the guard's cost, less than an ask's
        self._authorization = b""  # that the door let it in by, for as long as it is valid
        self._guard = HeaderGuard(self._calls)
        self._remainder = Remainder(is_greeted=newcomer.is_greeted, pings=newcomer.pongs)

    # -- what the door sees

    def expire(self) -> None:
        """It does not read its answers."""
        self.transport.abort()

    evict = expire

    # -- what the client does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._relay.open.add(self)
        connections = self._relay.crowd.connections
        connections.enter(self, self._newcomer.address)
        connections.rank(self, Rank.KNOWN)
        self.deadline_s = NEVER  # grpcio ends what is idle or old
        self._relay.run(self._dial())

    def data_received(self, data: bytes) -> None:
        if self._server is None or self._unread:
            self._keep(data)
        elif self._is_late():
            self._wait(data)
        else:
            self._pass_on(data, self._server)

    def eof_received(self) -> bool:
        if self._server is not None:
            self._server.write_eof()
        return self._server is not None

    def connection_lost(self, _error: Exception | None) -> None:
        self._relay.crowd.connections.leave(self)
        self._relay.crowd.turns.leave(self)
        self._relay.open.discard(self)
        self._take_unread()
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

    def _pay(self) -> None:
        """For what was passed on: all by one key, or the last could be another's and pay for it.
        Trailers show none.
        """
        callers = self._relay.callers
        if self._calls and not callers.knows(self._authorization):
            shown = [authorization for _, authorization in self._calls]
            self._authorization = next(filter(callers.knows, shown), shown[-1])
        by_cost, self._owed = divmod(self._owed + self._guard.cost, COST_OF_ASK)
        asks = max(len(self._calls), by_cost)
        self._calls.clear()
        if asks:
            callers.goes_first(self._authorization, self.slot, asks)

    def _is_late(self) -> bool:
        """Whether its share is used up, or its key no good any more: it waits with strangers."""
        shown = self._authorization
        return bool(shown) and not self._relay.callers.goes_first(shown, self.slot, 0)

    def _keep(self, data: bytes) -> None:
        """Until its turn, or until there is a server; all connections together so much."""
        if not self._relay.crowd.connections.hold(len(data)):
            self.transport.abort()
            return
        self._unread += data
        self.transport.pause_reading()

    def _take_unread(self) -> bytes:
        unread, self._unread = self._unread, b""
        self._relay.crowd.connections.hold(-len(unread))
        return unread

    def _wait(self, data: bytes) -> None:
        self._keep(data)
        self._relay.crowd.turns.wait(self, self._go_on)

    def _pass_on(self, data: bytes, server: "_Server", later: bytes = b"") -> None:
        """What is too much for one turn of the loop waits for others, with the strangers."""
        passed = self._guard.passed(data)
        if passed == REFUSED:
            self.transport.abort()
            return
        self._pay()
        rest, data = data[passed:] + later, data[:passed]
        server.write(data if self._remainder.is_all else self._remainder.of(data))
        if rest:
            self._wait(rest)

    def _go_on(self) -> None:
        unread = self._take_unread()
        if self._server is None or self.transport.is_closing():
            return
        size = _PIECE_BYTES if self._is_late() else len(unread)
        self._pass_on(unread[:size], self._server, unread[size:])
        self._read_on()

    def _read_on(self) -> None:
        """Unless something that has come waits for its turn, or for grpcio."""
        if not self._unread and self._server is not None and not self._server.is_full:
            self.transport.resume_reading()

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, server = await loop.create_connection(
                lambda: _Server(self._relay, self), _LOOPBACK, self._relay.port
            )
        except OSError:
            self.transport.abort()
            return
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
            self._read_on()

    def end(self) -> None:
        """Grpcio has ended the connection: so it ends here, once its last words are out."""
        connections = self._relay.crowd.connections
        self.deadline_s = connections.now_s() + connections.limits.stalled_s
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
        self._relay.gone(self._port, self._client)
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
