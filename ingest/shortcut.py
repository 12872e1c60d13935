"""Uvicorn's HTTP protocol with a short way for the ordinary upload.

A phone's upload comes whole, in one read: a POST with a plain head and a small body. Such a request
needs no parser state, no task and no ASGI messages, which cost twice what its commit costs. Only
what is plainly that is taken; anything else, a single odd header included, goes the ordinary way
through uvicorn and the ASGI app, with the same bytes.
"""

import re
from typing import Any, Final

from ingest.budgeted import BudgetedProtocol
from ingest.connections import NEVER, ConnectionLimits, Rank
from ingest.http_answer import problem_bytes, receipt_bytes
from ingest.http_body import KEYED, MEANT, SLOT, Headers, RequestReader, Scope
from ingest.receipt import Outcome, Receipt, UploadRefused
from ingest.receive import Receiver
from ingest.turns import Turns
from wire.decode import Encoding
from wire.errors import PermanentError, TransientError

_START: Final = b"POST /v1/telemetry HTTP/1.1\r\n"
_FIELD: Final = rb"([A-Za-z0-9_-]++):([^\r\n\0]*+)\r\n"  # possessive: one pass, no way back
_FIELDS: Final = re.compile(_FIELD)
_HEAD: Final = re.compile(rb"(?:%b)*+" % _FIELD)
_ODD: Final = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer"))
_LENGTH_DIGITS_MAX: Final = 7


def plain_request(data: bytes, limits: ConnectionLimits) -> tuple[Headers, bytes] | None:
    """Headers and body of a whole, plain upload request; None if it is anything else."""
    end = data.find(b"\r\n\r\n", 0, limits.head_bytes_max)
    if end < 0 or not data.startswith(_START):
        return None
    start, end = len(_START), end + 2
    if _HEAD.fullmatch(data, start, end) is None:
        return None  # another reader might see another request in these bytes
    found = Headers(length=-1)
    fields = _FIELDS.findall(data, start, end)
    if len(fields) > limits.headers_max:
        return None
    for name, value in fields:
        name, value = name.lower(), value.strip(b" \t")  # noqa: PLW2901
        if name == b"content-length":
            if found.length >= 0 or not value.isdigit() or len(value) > _LENGTH_DIGITS_MAX:
                return None
            found.length = int(value)
        elif name in MEANT:
            found.take(name, value)
        elif name in _ODD or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
    body = data[end + 2 :]
    return (found, body) if found.length == len(body) else None


class UploadProtocol(BudgetedProtocol):
    """Give it to uvicorn as ``http=``, with its parts bound."""

    def __init__(
        self,
        *,
        receiver: Receiver,
        reader: RequestReader,
        turns: Turns,
        is_known: bool,
        **others: Any,  # noqa: ANN401  # passed on
    ) -> None:
        super().__init__(admission=receiver.admission, **others)
        self._turns = turns
        self._is_swift = is_known  # what comes is read at once
        self._has_turn = not is_known  # whoever accepted it waited for one
        self._waits = False
        self._unread = bytearray()
        self._receiver = receiver
        self._reader = reader
        self._is_answering = False
        self._encoding = Encoding.PROTOBUF  # of the upload that is under way
        self._closes = False
        self._showed_key = False
        self._keyless = 0
        self._asked: Scope = {}  # the last request that went the ordinary way
        self._slot = 0

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  # uvicorn narrows it
        super().connection_made(transport)
        self._slot = self._reader.slot_of(self.client[0] if self.client else "")

    def on_message_begin(self) -> None:
        if KEYED in self._asked:
            self._showed_key = True
        super().on_message_begin()
        self.scope[SLOT] = self._slot  # type: ignore[typeddict-unknown-key]  # of our own
        self._asked = self.scope  # type: ignore[assignment]  # a TypedDict is one

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self._is_last_keyless():
            self.cycle.keep_alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._waits = False
        self._turns.leave(self)
        self._take_unread()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn says None: close
        if self._waits:
            self._is_eof = True
            return True
        return super().eof_received()

    def data_received(self, data: bytes) -> None:
        """Read it, if a valid key was shown; whoever showed none waits for a turn."""
        if self._lingers or self._is_last:
            super().data_received(data)  # it is thrown away
            self._wait(b"")
        elif not self._waits and (self._has_turn or self._comes_first(data)):
            self._has_turn = False
            self._read(data)
        else:
            self._wait(data)

    def _comes_first(self, data: bytes) -> bool:
        if not self._is_swift:
            if self._is_between:
                app_id = self._reader.app_shown(data)
                self._is_swift = self._reader.goes_first(app_id, self._slot)
            else:
                self._is_swift = KEYED in self._asked
        return self._is_swift

    def _wait(self, data: bytes) -> None:
        if not self._turns.hold(len(data)):
            self.transport.abort()
            return
        self._unread += data
        if not self._waits and not self.transport.is_closing():
            self._waits = True
            self.transport.pause_reading()
            self._turns.wait(self, self._take_turn)

    def _take_turn(self) -> None:
        if not self._waits:
            return  # it is gone
        self._waits = False
        data = self._take_unread()
        if data:
            self._read(data)
        if self.transport.is_closing():
            return
        if self._is_eof and not self.is_owed():
            self.transport.close()
        elif not self.flow.read_paused:
            self.transport.resume_reading()

    def _take_unread(self) -> bytes:
        unread = bytes(self._unread)
        self._unread.clear()
        self._turns.hold(-len(unread))
        return unread

    def on_response_complete(self) -> None:
        self._is_swift = False  # the next request is looked at anew
        super().on_response_complete()

    def _read(self, data: bytes) -> None:
        """Take the short way if nothing else is under way on this connection."""
        if self._is_idle():
            plain = plain_request(data, self._connections.limits)
            if plain is not None and self._take(*plain):
                return
        super().data_received(data)

    def is_owed(self) -> bool:
        return self._is_answering or super().is_owed()

    def shutdown(self) -> None:
        """Close, or close after the answer that is owed."""
        if self._is_answering:
            self._closes = True
        else:
            super().shutdown()

    def _is_idle(self) -> bool:
        return (
            self._is_between
            and not (self._is_answering or self._head_bytes or self._held)
            and not (self._is_last or self._lingers)
            and not super().is_owed()
        )

    def _take(self, headers: Headers, body: bytes) -> bool:
        """Offer the upload; False if the ordinary way must have it."""
        if not self._reader.is_small(headers, body):
            return False
        try:
            sent = self._reader.whole(headers, body, self._slot)
            self._showed_key = self._is_swift = True
            self._encoding = sent.encoding
            self._receiver.offer(sent, self._answer)
        except PermanentError as error:
            self._is_swift = False
            self._receiver.count_refused(error.code)
            self._closes = self._closes or self._is_last_keyless()
            self._write(problem_bytes(error, closes=self._closes))
        except TransientError as error:
            self._is_swift = False
            self._write(problem_bytes(error))
        else:
            self._is_answering = True
            self.deadline_s = NEVER
            self._connections.rank(self, Rank.OWED)
        return True

    def _answer(self, outcome: Outcome | TransientError) -> None:
        self._is_answering = False
        if isinstance(outcome, Receipt):
            self._write(receipt_bytes(outcome, self._encoding))
        else:
            error = outcome.error if isinstance(outcome, UploadRefused) else outcome
            self._write(problem_bytes(error))

    def _write(self, answer: bytes) -> None:
        if self.transport.is_closing():
            return  # nobody is there; the rows count all the same
        self.transport.write(answer)
        if self._closes:
            self.finish()
            return
        self.server_state.total_requests += 1
        self.answered()

    def _is_last_keyless(self) -> bool:
        """Count a request; True if it is one too many without a key."""
        self._keyless += not self._showed_key
        return self._keyless >= self._connections.limits.keyless_max

    def _resting_rank(self) -> Rank:
        return Rank.KNOWN if self._showed_key else Rank.FRESH
