"""Health and metrics on a port of their own, answered by a thread of its own.

So they answer while the door is busy, full, or frozen, and say which. Nobody outside needs them:
the port listens on loopback unless it is told otherwise. Whoever holds a connection longest without
having asked goes first; an answer that is not read is given up.
"""

import logging
import re
import selectors
import socket
import threading
import time
from http import HTTPStatus
from typing import Final

from ingest.health import Health

_log = logging.getLogger("holdfast.ingest")
_OPEN_MAX: Final = 256
_HEAD_BYTES_MAX: Final = 8 * 1024
_READ_BYTES: Final = 64 * 1024
_REQUEST_S: Final = 2.0
_AT_ONCE: Final = 32
_NAP_S: Final = 0.002
"""After so many newcomers at once: a flood leaves the interpreter to uploads most of the time."""
_HEAD_END: Final = b"\r\n\r\n"
_REQUEST: Final = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")


class HealthServer:
    """Serves on a listening socket until it is closed."""

    def __init__(self, listener: socket.socket, health: Health) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._health = health
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._wake, woken = socket.socketpair()
        self._selector.register(woken, selectors.EVENT_READ)
        self._woken = woken
        self._open: dict[_Asking, None] = {}  # the one that came first is first
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._wake.close()
        self._thread.join()
        for asking in list(self._open):
            self._end(asking)
        for part in (self._selector, self._listener, self._woken):
            part.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select(_REQUEST_S):
                if key.fileobj is self._woken:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._go_on(key.data)
            self._end_late()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                opened, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # it hung up already, or there is no descriptor for it
                break
            opened.setblocking(False)
            asking = _Asking(opened, time.monotonic() + _REQUEST_S)
            self._open[asking] = None
            self._go_on(asking)
            while len(self._open) > _OPEN_MAX:
                self._end(next(iter(self._open)))
        time.sleep(_NAP_S)

    def _go_on(self, asking: "_Asking") -> None:
        if asking not in self._open:
            return  # ended for another in this very round
        wanted = asking.go_on(self._health)
        if wanted is None:
            self._end(asking)
        elif asking.watched != wanted:
            change = self._selector.modify if asking.watched else self._selector.register
            change(asking.opened, wanted, asking)
            asking.watched = wanted

    def _end(self, asking: "_Asking") -> None:
        del self._open[asking]
        if asking.watched:
            self._selector.unregister(asking.opened)
        asking.opened.close()

    def _end_late(self) -> None:
        now_s = time.monotonic()
        while self._open and (oldest := next(iter(self._open))).until_s <= now_s:
            self._end(oldest)


class _Asking:
    """One connection: a head is read, an answer written, and the rest thrown away."""

    __slots__ = ("_answer", "_head", "opened", "until_s", "watched")

    def __init__(self, opened: socket.socket, until_s: float) -> None:
        self.opened = opened
        self.until_s = until_s
        self.watched = 0
        self._head = b""
        self._answer: bytes | None = None

    def go_on(self, health: Health) -> int | None:
        """What to wait for; None: it is over."""
        try:
            return self._step(health)
        except BlockingIOError:
            pass
        except OSError:  # it hung up
            return None
        return selectors.EVENT_WRITE if self._answer else selectors.EVENT_READ

    def _step(self, health: Health) -> int | None:
        if self._answer is None:
            said = self.opened.recv(_READ_BYTES)
            self._head += said
            self._answer = _answer(self._head, health)
            if self._answer is None:
                return selectors.EVENT_READ if said else None
        if self._answer:
            self._answer = self._answer[self.opened.send(self._answer) :]
            if self._answer:
                return selectors.EVENT_WRITE
            self.opened.shutdown(socket.SHUT_WR)
        return selectors.EVENT_READ if self.opened.recv(_READ_BYTES) else None


def _answer(head: bytes, health: Health) -> bytes | None:
    """The whole answer; None while the head has no end."""
    if _HEAD_END not in head:
        if len(head) <= _HEAD_BYTES_MAX:
            return None
        return _whole(431, "text/plain", b"the head is too large\n")
    asked = _REQUEST.match(head)
    if asked is None:
        return _whole(400, "text/plain", b"this is not HTTP/1.1\n")
    method, path = asked.groups()
    if method not in (b"GET", b"HEAD"):
        return _whole(405, "text/plain", b"only GET\n", b"allow: GET, HEAD\r\n")
    try:
        status, kind, body = health.answer(path.decode("latin-1").partition("?")[0])
    except Exception:  # noqa: BLE001  # the next question may have an answer
        _log.exception("health_not_told")
        status, kind, body = 500, "text/plain", b"this cannot be told now; the log says why\n"
    whole = _whole(status, kind, body)
    return whole if method == b"GET" else whole[: len(whole) - len(body)]


def _whole(status: int, kind: str, body: bytes, more: bytes = b"") -> bytes:
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n%b\r\n%b"
        % (
            *(status, HTTPStatus(status).phrase.encode(), kind.encode(), len(body)),
            *(more, body),
        )
    )
