"""Takes connections from listening sockets, and looks at what they say before it spends on them.

A newcomer is a bare socket here. One whose first bytes show a valid key is served at once; any
other waits for a turn (`ingest.turns`), and has neither parser nor buffer until then. Nothing is
taken off the socket: whoever serves it reads the same bytes again.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from ingest.connections import NEVER, Connections, Rank
from ingest.turns import Turns

_AT_ONCE: Final = 8  # newcomers; then others come in between
_PEEKED_BYTES: Final = 4096
_REST_S: Final = 0.1  # while the machine has no descriptor for another connection
_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class Crowd:
    """The connections of one door, and the turns of those that showed no key."""

    connections: Connections
    turns: Turns


@dataclass(frozen=True, slots=True)
class Door:
    """`shows_key` judges first bytes and an address; `serve` makes the protocol of a newcomer, who
    showed a key or not.
    """

    shows_key: Callable[[bytes, str], bool]
    serve: Callable[["Newcomer", bool], asyncio.Protocol]


class Acceptor:
    """Of one listening socket, from `start` to `close`."""

    def __init__(self, listener: socket.socket, door: Door, crowd: Crowd) -> None:
        listener.setblocking(False)
        self._listener = listener
        self.door = door
        self.connections = crowd.connections
        self.turns = crowd.turns
        self.loop = asyncio.get_running_loop()
        self._waiting: set[Newcomer] = set()
        self._adopting: set[asyncio.Task[None]] = set()
        self._rest: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Accept from now on."""
        self._rest = None
        self.loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Accept nobody; whoever has not been served yet is turned away."""
        self.loop.remove_reader(self._listener)
        if self._rest is not None:
            self._rest.cancel()
        self._listener.close()
        for newcomer in list(self._waiting):
            newcomer.close()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                opened, where = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self.loop.remove_reader(self._listener)
                    self._rest = self.loop.call_later(_REST_S, self.start)
                    return
                continue  # it hung up already
            opened.setblocking(False)
            newcomer = Newcomer(self, opened, str(where[0]))
            self._waiting.add(newcomer)
            self.connections.enter(newcomer, newcomer.address)
            newcomer.look()

    def serve(self, newcomer: "Newcomer", opened: socket.socket, is_known: bool) -> None:
        """Give it to its protocol, which takes its place among the connections over."""
        task = asyncio.create_task(self._adopt(newcomer, opened, is_known))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def _adopt(self, newcomer: "Newcomer", opened: socket.socket, is_known: bool) -> None:
        made = partial(self.door.serve, newcomer, is_known)
        try:
            await self.loop.connect_accepted_socket(made, opened)
        except (OSError, RuntimeError):  # it hung up meanwhile; uvloop says RuntimeError too
            opened.close()
        finally:
            self.forget(newcomer)

    def forget(self, newcomer: "Newcomer") -> None:
        """It is served, or gone."""
        self._waiting.discard(newcomer)
        self.connections.leave(newcomer)


class Newcomer:
    """A connection that nobody serves yet. Silent, or waiting for its turn."""

    __slots__ = (
        *("_acceptor", "_is_watched", "_socket", "address"),
        *("deadline_s", "rank", "ranked_s", "stalled_at_s"),
    )

    def __init__(self, acceptor: Acceptor, opened: socket.socket, address: str) -> None:
        self.address = address
        self.rank = Rank.FRESH
        self.ranked_s = 0.0
        self.deadline_s = self.stalled_at_s = NEVER
        self._acceptor = acceptor
        self._socket: socket.socket | None = opened
        self._is_watched = False

    def look(self) -> None:
        """Peek at what it says, if it says anything."""
        opened, acceptor = self._socket, self._acceptor
        if opened is None:
            return
        try:
            said = opened.recv(_PEEKED_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            if not self._is_watched:
                self._is_watched = True
                acceptor.loop.add_reader(opened, self.look)
            return
        except OSError:
            said = b""
        self._unwatch()
        if not said:
            self.close()
        elif acceptor.door.shows_key(said, self.address):
            self._serve(is_known=True)
        else:
            acceptor.turns.wait(self._take_turn)

    def close(self) -> None:
        """Hang up."""
        self._unwatch()
        opened, self._socket = self._socket, None
        self._acceptor.forget(self)
        if opened is not None:
            opened.close()

    expire = evict = close

    def _take_turn(self) -> None:
        if self._socket is not None:
            self._serve(is_known=False)

    def _serve(self, *, is_known: bool) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            self._acceptor.serve(self, opened, is_known)

    def _unwatch(self) -> None:
        if self._is_watched and self._socket is not None:
            self._is_watched = False
            self._acceptor.loop.remove_reader(self._socket)
