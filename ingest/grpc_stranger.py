"""A gRPC client whose first call showed no valid key: its calls are answered, and go nowhere.

It is served in turns. A key that it shows later is good on a new connection: clients are told so
(GOAWAY), and open the call again by themselves, because it was not looked at.
"""

import asyncio
from typing import Final, cast

from ingest.acceptor import Newcomer
from ingest.connections import NEVER
from ingest.grpc_answer import refusal
from ingest.grpc_relay import Relay
from ingest.http2 import SETTINGS_ACK, goaway, greeting
from ingest.http2_guard import FIRST_BLOCK_BYTES_MAX, REFUSED, HeaderGuard
from wire.errors import PermanentError, TransientError

_BYTES_MAX: Final = 128 * 1024
"""Settings, metadata and what flow control lets a client send before anybody reads it: 64 KiB."""
_FAREWELL_S: Final = 2.0
_TOO_LONG: Final = PermanentError(
    "head_too_large",
    "the metadata is too long",
    field="metadata",
    accepted=f"up to {FIRST_BLOCK_BYTES_MAX} bytes",
)


class Stranger(asyncio.Protocol):
    """From its turn to its end."""

    transport: asyncio.Transport

    def __init__(self, relay: Relay, newcomer: Newcomer, stranger_s: float) -> None:
        self.rank = newcomer.rank
        self.ranked_s = 0.0
        self.deadline_s = self.stalled_at_s = NEVER
        self._relay, self._crowd = relay, relay.crowd
        self._callers = relay.callers
        self._newcomer = newcomer
        self._stranger_s = stranger_s
        self._slot = relay.callers.slot_of(newcomer.address)
        self._calls_max = relay.crowd.connections.limits.keyless_max
        self._calls = list[tuple[int, bytes]]()
        self._guard = HeaderGuard(self._calls, 2 * self._calls_max, FIRST_BLOCK_BYTES_MAX)
        self._has_turn = True  # whoever accepted it waited for one
        self._waits = False
        self._is_last_word = False
        self._unread = bytearray()
        self._read_bytes = 0
        self._answered = 0
        self._last_stream = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._relay.open.add(self)
        self._crowd.connections.enter(self, self._newcomer.address)
        self.deadline_s = self.ranked_s + self._stranger_s
        first = b"" if self._newcomer.is_greeted else greeting(self._calls_max)
        self.transport.write(first + SETTINGS_ACK)

    def data_received(self, data: bytes) -> None:
        if not self._crowd.turns.hold(len(data)):
            self.transport.abort()
            return
        self._unread += data
        self._read_bytes += len(data)
        if self._has_turn:
            self._take_turn()
        elif not self._waits:
            self._wait()

    def connection_lost(self, _error: Exception | None) -> None:
        self._crowd.connections.leave(self)
        self._crowd.turns.leave(self)
        self._relay.open.discard(self)
        self._forget(len(self._unread))

    def expire(self) -> None:
        """It has had its time."""
        if self._is_last_word:
            self.transport.abort()
        else:
            self._say_farewell()

    def evict(self) -> None:
        """It must make room, at once."""
        self.transport.abort()

    def _wait(self) -> None:
        self._waits = True
        self.transport.pause_reading()
        self._crowd.turns.wait(self, self._take_turn)

    def _take_turn(self) -> None:
        self._waits = self._has_turn = False
        if self.transport.is_closing() or self._is_last_word:
            return
        passed = self._guard.passed(bytes(self._unread))
        may_go_on = self._answer_calls()
        if passed == REFUSED and not self._guard.is_too_long:
            self.transport.abort()
        elif not may_go_on:
            self._say_farewell()
        elif passed == REFUSED:
            self._callers.count_refused(_TOO_LONG.code)
            self._answer(self._guard.stream, _TOO_LONG)
            self._say_farewell()
        else:
            self._go_on(passed)

    def _go_on(self, passed: int) -> None:
        """With what has come and was too much for one turn, or with what comes."""
        self._forget(passed)
        if self._unread:
            self._wait()
        elif self._read_bytes < _BYTES_MAX:
            self.transport.resume_reading()
        else:
            self._say_farewell()

    def _forget(self, size: int) -> None:
        self._crowd.turns.hold(-size)
        del self._unread[:size]

    def _answer_calls(self) -> bool:
        """Whether there may be more. Clients are told in time to open none, and have others under
        way by then: those are answered too, because a client opens a call anew only once.
        """
        has_room = self._answered < self._calls_max
        for stream, authorization in self._calls:
            if stream <= self._last_stream:
                continue  # more of a call that has its answer
            error = self._callers.refusal(authorization, self._slot)
            if error is None:
                return False
            self._answer(stream, error)
        self._calls.clear()
        if has_room and self._answered >= self._calls_max:
            self.transport.write(goaway())
            self.deadline_s = self._crowd.connections.now_s() + _FAREWELL_S
        return self._answered < 2 * self._calls_max

    def _answer(self, stream: int, error: PermanentError | TransientError) -> None:
        self.transport.write(refusal(stream, error))
        self._last_stream = stream
        self._answered += 1

    def _say_farewell(self) -> None:
        """What has come is left unread: to close on it would take the answers back."""
        self._is_last_word = True
        self._forget(len(self._unread))
        self.transport.write(goaway(self._last_stream))
        self.transport.write_eof()
        self.transport.pause_reading()
        self.deadline_s = self._crowd.connections.now_s() + _FAREWELL_S
