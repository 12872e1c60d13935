"""Takes connections from listening sockets, and looks at what they say before it spends on them.

A newcomer is a bare socket here. One whose first bytes show a valid key is served at once; any
other waits for a turn (`ingest.turns`), and has neither parser nor buffer until then. Nothing is
taken off the socket: whoever serves it reads the same bytes again, and for more than has been seen
the kernel is asked to wait (SO_RCVLOWAT).
"""

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from typing import Final

from ingest.connections import NEVER, ConnectionLimits, Connections, Rank
from ingest.turns import Turns

_AT_ONCE: Final = 8  # newcomers; then others come in between
_ACCEPTED_S: Final = 50e-6  # of the loop's time for each: to accept it and to close it
_NEWCOMERS_MAX: Final = 6_000
"""Of one door, half of them of one address: whoever had to go would come again at once."""
_LOOKS_MAX: Final = 16  # at one newcomer: each costs
_REST_S: Final = 0.1  # while the machine has no descriptor for another connection
_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class Crowd:
    """The connections of one door: those that nobody serves yet, which cost next to nothing, those
    that are served, and the turns of whoever showed no key.
    """

    newcomers: Connections
    connections: Connections
    turns: Turns

    @property
    def evicted_count(self) -> int:
        """How many had to make room."""
        return self.newcomers.evicted_count + self.connections.evicted_count

    @property
    def expired_count(self) -> int:
        """How many had their time."""
        return self.newcomers.expired_count + self.connections.expired_count


def crowd_of(limits: ConnectionLimits, now_s: Callable[[], float], turns: Turns) -> Crowd:
    """An empty one. `limits` are of those that are served."""
    waiting = replace(
        limits, connections_max=_NEWCOMERS_MAX, per_address_max=(_NEWCOMERS_MAX + 1) // 2
    )
    return Crowd(Connections(waiting, now_s), Connections(limits, now_s), turns)


class Look(Enum):
    """What a newcomer's first bytes are."""

    KNOWN = auto()  # a valid key
    LATER = auto()  # a valid key, whose share is used up
    STRANGER = auto()
    LONG = auto()  # so much that to tell takes a turn
    MORE = auto()  # are needed to tell
    HOPELESS = auto()  # whatever follows
    GONE = auto()


@dataclass(frozen=True, slots=True)
class Door:
    """`judge` looks at first bytes and an address, at `glance_bytes` at most, and is told whether
    it has a turn for that; `serve` makes the protocol of a newcomer, known or stranger. `greeting`
    is said to whoever waits for it, and then has `more_s` seconds, and an answer to each question.
    """

    judge: Callable[[bytes, str, bool], Look]
    serve: Callable[["Newcomer", Look], asyncio.Protocol]
    glance_bytes: int
    greeting: bytes = b""
    more_s: float = 0.0
    pongs: Callable[[bytes], list[bytes]] = lambda _said: []


class Acceptor:
    """Of one listening socket, from `start` to `close`."""

    def __init__(self, listener: socket.socket, door: Door, crowd: Crowd) -> None:
        listener.setblocking(False)
        self._listener = listener
        self.door = door
        self.newcomers = crowd.newcomers
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
        for newcomer in self.waiting:
            newcomer.close()

    @property
    def waiting(self) -> list["Newcomer"]:
        """Those that nobody serves yet."""
        return list(self._waiting)

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
            self.newcomers.enter(newcomer, newcomer.address)
            newcomer.look()

    def serve(self, newcomer: "Newcomer", opened: socket.socket, look: Look) -> None:
        """Give it to its protocol."""
        task = asyncio.create_task(self._adopt(newcomer, opened, look))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def _adopt(self, newcomer: "Newcomer", opened: socket.socket, look: Look) -> None:
        made = partial(self.door.serve, newcomer, look)
        try:
            await self.loop.connect_accepted_socket(made, opened)
        except (OSError, RuntimeError):  # it hung up meanwhile; uvloop says RuntimeError too
            opened.close()
        finally:
            self.forget(newcomer)

    def forget(self, newcomer: "Newcomer") -> None:
        """It is served, or gone."""
        self._waiting.discard(newcomer)
        self.newcomers.leave(newcomer)


class Newcomer:
    """A connection that nobody serves yet. Silent, or waiting for its turn."""

    __slots__ = (
        *("_acceptor", "_is_watched", "_looks", "_socket", "address", "is_greeted", "pongs"),
        *("deadline_s", "rank", "ranked_s", "stalled_at_s"),
    )

    def __init__(self, acceptor: Acceptor, opened: socket.socket, address: str) -> None:
        self.address = address
        self.is_greeted = False
        self.pongs = 0  # how many it was told
        self.rank = Rank.FRESH
        self.ranked_s = 0.0
        self.deadline_s = self.stalled_at_s = NEVER
        self._acceptor = acceptor
        self._socket: socket.socket | None = opened
        self._is_watched = False
        self._looks = 0

    def look(self, *, has_turn: bool = False) -> None:
        """Peek at what it says, if it says anything."""
        opened, door = self._socket, self._acceptor.door
        if opened is None:
            return
        began_s, turns = time.thread_time(), self._acceptor.turns
        try:
            said = opened.recv(door.glance_bytes, socket.MSG_PEEK)
        except BlockingIOError:
            self._watch(opened)
            return
        except OSError:
            said = b""
        look = door.judge(said, self.address, has_turn) if said else Look.GONE
        if look is Look.MORE:
            self._wait_for_more(opened, said)
        if look is not Look.KNOWN and not has_turn:  # a turn is charged for itself
            accepted_s = 0.0 if look is Look.MORE else _ACCEPTED_S
            turns.charge(accepted_s + time.thread_time() - began_s)
        if look is not Look.MORE:
            self._unwatch()
            self._go_on(look, has_turn=has_turn)

    def _go_on(self, look: Look, *, has_turn: bool) -> None:
        turns = self._acceptor.turns
        waits = look in (Look.STRANGER, Look.LATER)
        if look is Look.KNOWN or (waits and has_turn):
            self._serve(look)
        elif waits:
            turns.wait(self, partial(self._serve, look))
        elif look is Look.LONG:
            turns.wait(self, partial(self.look, has_turn=True))
        elif look is Look.GONE or has_turn:
            self.close()
        else:  # or who comes again at once would take all of the loop's time
            turns.wait(self, self.close)

    def close(self) -> None:
        """Hang up."""
        self._acceptor.turns.leave(self)
        self._unwatch()
        opened, self._socket = self._socket, None
        self._acceptor.forget(self)
        if opened is not None:
            opened.close()

    expire = evict = close

    def _wait_for_more(self, opened: socket.socket, said: bytes) -> None:
        """It is looked at again when there is more than was seen, or when it hangs up."""
        self._looks += 1
        door = self._acceptor.door
        try:
            if not self.is_greeted:
                self.is_greeted, self.deadline_s = True, self.ranked_s + door.more_s
                opened.send(door.greeting)
            pongs = door.pongs(said)
            opened.send(b"".join(pongs[self.pongs :]))
            self.pongs = len(pongs)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(said) + 1)
        except OSError:
            self._looks = _LOOKS_MAX
        if self._looks < _LOOKS_MAX:
            self._watch(opened)
        else:
            self.close()

    def _serve(self, look: Look) -> None:
        opened, self._socket = self._socket, None
        if opened is None:
            return
        if self._looks:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._acceptor.serve(self, opened, look)

    def _watch(self, opened: socket.socket) -> None:
        if not self._is_watched:
            self._is_watched = True
            self._acceptor.loop.add_reader(opened, self.look)

    def _unwatch(self) -> None:
        if self._is_watched and self._socket is not None:
            self._is_watched = False
            self._acceptor.loop.remove_reader(self._socket)
