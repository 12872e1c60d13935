"""Uvicorn's HTTP protocol with budgets that need no key: bytes and time of heads, rests, idleness.

One request at a time: what comes while an answer is owed is kept, within a budget, and read in its
turn. Whoever is refused can read why: the rest of what he sends is thrown away, within a budget,
before the connection ends. What follows a request that ends the connection is never a request.
"""

from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ingest.acceptor import Newcomer
from ingest.admission import Admission
from ingest.connections import NEVER, Connections, Rank
from ingest.http_answer import problem_bytes, send_problem
from ingest.http_body import Receive, Scope, Send
from wire.errors import PermanentError, TransientError

_HEAD_END: Final = b"\r\n\r\n"
_PIECE: Final = 512  # of a chunked body at least: its end is looked for behind so much
_FRAMING_BYTES_MAX: Final = 64 * 1024
"""Chunk sizes, extensions and trailers may be so much, and as much as the body itself."""


class _Exit:
    """The transport as a request's cycle sees it: its close lets the client read the answer."""

    def __init__(self, protocol: "BudgetedProtocol") -> None:
        self._protocol = protocol
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing

    def close(self) -> None:
        self._protocol.finish()


class BudgetedProtocol(HttpToolsProtocol):
    """Its states: in a head, in a body, owed an answer, between requests, lingering at the end."""

    def __init__(
        self,
        *,
        connections: Connections,
        newcomer: Newcomer,
        admission: Admission,
        **uvicorns: Any,  # noqa: ANN401  # passed on
    ) -> None:
        super().__init__(**uvicorns)
        self._newcomer = newcomer
        self.rank = Rank.FRESH
        self.ranked_s = 0.0
        self.deadline_s = self.stalled_at_s = NEVER
        self._connections = connections
        self._admission = admission
        self._is_between = True  # the parser has seen whole requests only
        self._is_in_head = True  # or before the next one
        self._head_bytes = 0
        self._framed_bytes = self._body_bytes = 0
        self._length_left = 0
        self._rest_bytes = 0
        self._held = b""
        self._is_last = False  # nothing after this request is read
        self._is_malformed = False
        self._lingers = False
        self._is_eof = False

    # -- the connection

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  # uvicorn narrows it
        super().connection_made(transport)
        self._connections.enter(self, self._newcomer.address)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.leave(self)
        self._take_held()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn says None: close
        """A client that sends no more may still read: it gets what it is owed."""
        self._is_eof = True
        return not self._lingers and self.is_owed() and (self._is_between or self._is_last)

    def pause_writing(self) -> None:
        """Whoever does not read answers is not read either, and not for long."""
        super().pause_writing()
        self.stalled_at_s = self._connections.now_s() + self._connections.limits.stalled_s
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.stalled_at_s = NEVER
        if not self._held:
            self.flow.resume_reading()

    def shutdown(self) -> None:
        """Close, or close after the answer that is owed."""
        if self._lingers or not self.is_owed():
            self.transport.close()
        else:
            super().shutdown()

    def expire(self) -> None:
        """Head, rest, idleness or an unread answer took too long."""
        if self._connections.now_s() >= self.stalled_at_s:
            self.transport.abort()
        elif self._is_in_head and self._head_bytes and not self._lingers:
            seconds = self._connections.limits.head_s
            self._refuse(_head_refused("head_too_slow", "did not come in time", f"{seconds:g} s"))
        else:
            self.transport.close()

    def evict(self) -> None:
        """Make room for others; in the middle of a body it is told to come back."""
        if self.rank is Rank.READING:
            self._disconnect()
            self.transport.write(
                problem_bytes(self._admission.come_back("overloaded", "too many are sending"))
            )
        self.transport.close()

    def is_owed(self) -> bool:
        """Whether a request has been read (or half read) that has no answer yet."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first ordinary request
        return cycle is not None and not cycle.response_complete

    # -- what comes

    def data_received(self, data: bytes) -> None:
        if self._lingers or self._is_last:
            self._throw_away(len(data))
        elif self._held:
            self._hold(data)
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        at, size, view = 0, len(data), memoryview(data)
        if self._is_between and self._is_in_head and not self._head_bytes and not self.is_owed():
            self.deadline_s = min(
                self.deadline_s if not self.cycle and self.rank is Rank.FRESH else NEVER,
                self._connections.now_s() + self._connections.limits.head_s,
            )
        while at < size and not self.transport.is_closing():
            if self._lingers or self._is_last:
                self._throw_away(size - at)
                return
            if self._is_between and self.is_owed():
                self._hold(data[at:])
                return
            end = self._piece_end(data, at)
            if not self._has_budget(end - at):
                return
            try:
                self.parser.feed_data(view[at:end])
            except httptools.HttpParserUpgrade:
                self._is_last = True  # its refusal is under way
            except httptools.HttpParserError:
                self._malformed()
                return
            at = end

    def _piece_end(self, data: bytes, at: int) -> int:
        """Where this request probably ends; the parser has the last word."""
        if not self._is_in_head and self._length_left:
            return min(at + self._length_left, len(data))
        found = data.find(_HEAD_END, at if self._is_in_head else at + _PIECE)
        return len(data) if found < 0 else found + len(_HEAD_END)

    def _has_budget(self, size: int) -> bool:
        limits = self._connections.limits
        if self._is_in_head:
            self._head_bytes += size
            if self._head_bytes > limits.head_bytes_max:
                accepted = f"{limits.head_bytes_max} bytes"
                self._refuse(_head_refused("head_too_large", "is too large", accepted))
                return False
            return True
        self._length_left = max(0, self._length_left - size)
        if not self.is_owed():
            self._throw_away(size)
            return not self.transport.is_closing()
        self._framed_bytes += size
        if self._framed_bytes > _FRAMING_BYTES_MAX + 2 * self._body_bytes + size:
            self._malformed()
            return False
        return True

    def _throw_away(self, size: int) -> None:
        self._rest_bytes += size
        if self._rest_bytes > self._connections.limits.rest_bytes_max:
            self.transport.close()

    def _hold(self, data: bytes) -> None:
        """Keep what came too early; beyond the budget the answer that is owed is the last."""
        self.flow.pause_reading()
        if self._connections.hold(len(data)):
            self._held += data
        else:
            self._is_last = True
            self._take_held()

    def _take_held(self) -> bytes:
        held, self._held = self._held, b""
        self._connections.hold(-len(held))
        return held

    # -- what the parser sees

    def on_message_begin(self) -> None:
        self._is_between, self._is_in_head = False, True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_head:
            return  # a trailer means nothing here
        super().on_header(name, value)
        if name.lower() == b"content-length":
            self._length_left = int(value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._head_bytes = self._framed_bytes = self._body_bytes = self._rest_bytes = 0
        self.deadline_s = NEVER
        app, error = self.app, self._objection()
        if error is not None:
            self.app = _refusing(error)  # in its turn, behind what is owed
        try:
            super().on_headers_complete()
        finally:
            self.app = app
        self._is_last = self._is_last or error is not None
        self.cycle.transport = _Exit(self)  # type: ignore[assignment]  # the part that it uses
        if self.expect_100_continue:
            self.cycle.keep_alive = False  # refused, the body may come or not: nobody can know
        self._connections.rank(self, Rank.READING)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_between = self._is_in_head = True
        self._length_left = 0
        if self.is_owed():
            self._connections.rank(self, Rank.OWED)
        else:  # the rest of a body that was answered early
            self._rest()
        super().on_message_complete()

    def _objection(self) -> PermanentError | None:
        if len(self.headers) > self._connections.limits.headers_max:
            accepted = f"{self._connections.limits.headers_max} headers"
            return _head_refused("head_too_large", "has too many headers", accepted)
        if self.parser.should_upgrade() or any(name == b"upgrade" for name, _ in self.headers):
            return PermanentError(
                "upgrade_refused",
                "this connection speaks HTTP/1.1 alone",
                field="upgrade",
                accepted="a request without Upgrade",
            )
        return None

    # -- answers

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if not self._lingers and not self.transport.is_closing():
            self.answered()

    def answered(self) -> None:
        """An answer was given: on with what waits, or an end, or rest."""
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._is_malformed:
            self._refuse(_MALFORMED)
        elif self._is_last:
            self.finish()
        elif not self._is_between:  # answered before the body was whole: it is thrown away
            self.deadline_s = self._connections.now_s() + self._connections.limits.rest_s
            self._connections.rank(self, Rank.FRESH)
            self.flow.resume_reading()
        elif self._held:
            self.flow.resume_reading()
            self.data_received(self._take_held())
        elif self._is_eof:
            self.transport.close()
        else:
            self._rest()
            self.flow.resume_reading()

    def _rest(self) -> None:
        self.deadline_s = self._connections.now_s() + self._connections.limits.keep_alive_s
        self._connections.rank(self, self._resting_rank())

    def _resting_rank(self) -> Rank:
        return Rank.FRESH

    def finish(self) -> None:
        """No more answers: end, but let the client read the last one if it is still sending."""
        if self._lingers or self.transport.is_closing():
            return
        is_quiet = self._is_between and not (self._held or self._is_last or self._is_malformed)
        if is_quiet or self._is_eof:
            self.transport.close()
            return
        self._lingers = True
        self._take_held()
        self.deadline_s = self._connections.now_s() + self._connections.limits.rest_s
        self._connections.rank(self, Rank.FRESH)
        self.transport.write_eof()
        self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's name for a request that cannot be parsed."""
        self._malformed()

    def _malformed(self) -> None:
        if self._is_malformed or self.transport.is_closing():
            return
        self._is_malformed = self._is_last = True
        if self.is_owed() and not self._is_between and not self._is_in_head:
            self.pipeline.clear()
            if self.cycle.response_started:
                self.transport.close()
                return
            self._disconnect()  # in the middle of its body: nobody else will answer it
        elif self.is_owed():
            return  # in its turn
        self._refuse(_MALFORMED)

    def _disconnect(self) -> None:
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def _refuse(self, error: PermanentError) -> None:
        """Answer outside any cycle, as the last thing on this connection."""
        self._is_last = True
        self.transport.write(problem_bytes(error, closes=True))
        self.finish()


_MALFORMED: Final = PermanentError(
    "malformed_http", "this is not HTTP/1.1", field="", accepted="a well-formed HTTP/1.1 request"
)


def _head_refused(code: str, detail: str, accepted: str) -> PermanentError:
    return PermanentError(
        code, f"the head of the request {detail}", field="headers", accepted=f"at most {accepted}"
    )


def _refusing(error: PermanentError | TransientError) -> Any:  # noqa: ANN401  # an ASGI app
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_problem(send, error, is_body_read=False)

    return app
