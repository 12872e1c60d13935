"""Uvicorn's HTTP protocol with a short way for the ordinary upload.

A phone's upload comes whole, in one read: a POST with a plain head and a small body. Such a request
needs no parser state, no task and no ASGI messages, which cost twice what its commit costs. Only
what is plainly that is taken; anything else, a single odd header included, goes the ordinary way
through uvicorn and the ASGI app, with the same bytes.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from ingest.http_answer import Answer, problem_answer, receipt_answer
from ingest.http_body import Headers, RequestReader
from ingest.receipt import Outcome, UploadRefused
from ingest.receive import Receiver
from wire.decode import Encoding
from wire.errors import PermanentError, TransientError

_START: Final = b"POST /v1/telemetry HTTP/1.1\r\n"
_ODD: Final = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer"))
_NAME: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
_LENGTH_DIGITS_MAX: Final = 7


def plain_request(data: bytes) -> tuple[Headers, bytes] | None:
    """Headers and body of a whole, plain upload request; None if it is anything else."""
    end = data.find(b"\r\n\r\n")
    if end < 0 or not data.startswith(_START):
        return None
    lines = data[len(_START) : end].split(b"\r\n")
    if any(stray in line for line in lines for stray in (b"\n", b"\r", b"\0")):
        return None  # another reader might see another request in these bytes
    found = Headers(length=-1)
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or not name or not _NAME.issuperset(name) or name in _ODD:
            return None
        value = value.strip(b" \t")
        if name == b"content-length":
            if found.length >= 0 or not value.isdigit() or len(value) > _LENGTH_DIGITS_MAX:
                return None
            found.length = int(value)
        elif name == b"connection":
            if value.lower() != b"keep-alive":
                return None
        else:
            found.take(name, value)
    body = data[end + 4 :]
    return (found, body) if found.length == len(body) else None


class UploadProtocol(HttpToolsProtocol):
    """Give it to uvicorn as ``http=``, with its receiver and reader bound."""

    def __init__(self, *, receiver: Receiver, reader: RequestReader, **uvicorns: Any) -> None:  # noqa: ANN401  # passed on
        super().__init__(**uvicorns)
        self._receiver = receiver
        self._reader = reader
        self._is_answering = False
        self._is_between = True  # the parser has seen whole requests only
        self._later = b""
        self._closes = False

    def data_received(self, data: bytes) -> None:
        """Take the short way if nothing else is under way on this connection."""
        if self._is_answering:
            self._later += data  # pipelined: in its turn
            return
        if self._is_idle():
            plain = plain_request(data)
            if plain is not None and self._take(*plain):
                return
        self._is_between = False
        super().data_received(data)

    def on_message_complete(self) -> None:
        """The parser stands between requests again."""
        self._is_between = True
        super().on_message_complete()

    def shutdown(self) -> None:
        """Close, or close after the answer that is owed."""
        if self._is_answering:
            self._closes = True
        else:
            super().shutdown()

    def _is_idle(self) -> bool:
        is_full = self.limit_concurrency is not None and (
            len(self.connections) >= self.limit_concurrency
        )
        cycle: RequestResponseCycle | None = self.cycle  # None before the first ordinary request
        is_answered = cycle is None or cycle.response_complete
        return self._is_between and is_answered and not is_full

    def _take(self, headers: Headers, body: bytes) -> bool:
        """Offer the upload; False if the ordinary way must have it."""
        if not self._reader.is_small(headers, body):
            return False
        self._unset_keepalive_if_required()
        try:
            sent = self._reader.whole(headers, body)
            future = self._receiver.offer(sent.encoding, sent.body, sent.app_id)
        except PermanentError as error:
            self._receiver.count_refused(error.code)
            self._write(problem_answer(error))
        except TransientError as error:
            self._write(problem_answer(error))
        else:
            self._is_answering = True
            future.add_done_callback(self._answer_in(sent.encoding))
        return True

    def _answer_in(self, encoding: Encoding) -> Callable[[asyncio.Future[Outcome]], None]:
        def answer(future: asyncio.Future[Outcome]) -> None:
            self._is_answering = False
            if future.cancelled():
                self.transport.close()
                return
            error = future.exception()
            if isinstance(error, PermanentError | TransientError):
                self._write(problem_answer(error))
            elif error is not None:
                self.transport.close()
                raise error
            else:
                outcome = future.result()
                if isinstance(outcome, UploadRefused):
                    self._write(problem_answer(outcome.error))
                else:
                    self._write(receipt_answer(outcome, encoding))

        return answer

    def _write(self, answer: Answer) -> None:
        if self.transport.is_closing():
            return  # nobody is there; the rows count all the same
        lines = [STATUS_LINE[answer.status]]
        for name, value in answer.headers:
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n", answer.body)
        self.transport.write(b"".join(lines))
        if self._closes:
            self.transport.close()
            return
        self.on_response_complete()
        if self._later:
            data, self._later = self._later, b""
            self.data_received(data)
