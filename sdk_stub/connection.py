"""One keep-alive HTTP/1.1 connection that does one request at a time, and little else.

The fleet shares its cores with the server that it measures, so a request is one write and its
answer one callback: no header objects, no futures, no streams.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, the raw header block in lower case, and the body."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: bytes) -> str:
        """The value of a header (lower-case name) as it was sent, or an empty string."""
        at = self.head.lower().find(b"\r\n" + name + b":")
        if at < 0:
            return ""
        start = at + len(name) + 3
        end = self.head.find(b"\r\n", start)
        return self.head[start : end if end >= 0 else None].strip().decode("latin-1")


LOST: Final = Answer(0, b"", b"")
"""The connection broke before the answer came: nobody knows whether the request was done."""


@runtime_checkable
class _Wire(Protocol):
    """What is used of a transport; uvloop's are no subclasses of asyncio's."""

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def is_closing(self) -> bool: ...


class Connection(asyncio.Protocol):
    """`on_answer` is called with each request's answer, or with `LOST`, exactly once."""

    def __init__(self) -> None:
        self._transport: _Wire | None = None
        self._received = b""
        self._on_answer: Callable[[Answer], None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def request(self, message: bytes, on_answer: Callable[[Answer], None]) -> None:
        """Send one whole request; the previous one must have been answered."""
        assert self._transport is not None  # noqa: S101 - the caller holds an open connection
        self._on_answer = on_answer
        self._transport.write(message)

    def close(self) -> None:
        """Close the socket; a request under way is lost."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, _Wire)  # noqa: S101 - a TCP transport
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._finish(LOST)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        head_end = self._received.find(_END)
        if head_end < 0:
            return
        head = self._received[:head_end]
        length = _content_length(head)
        body_end = head_end + len(_END) + length
        if len(self._received) < body_end:
            return
        body = self._received[head_end + len(_END) : body_end]
        self._received = self._received[body_end:]
        answer = Answer(int(head[9:12]), head, body)
        if b"connection: close" in head.lower() and self._transport is not None:
            self._transport.close()
        self._finish(answer)

    def _finish(self, answer: Answer) -> None:
        on_answer, self._on_answer = self._on_answer, None
        if on_answer is not None:
            on_answer(answer)


def _content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    start = at + len(b"\r\ncontent-length:")
    end = lower.find(b"\r\n", start)
    return int(lower[start : end if end >= 0 else None])
