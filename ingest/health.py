"""Health, metrics and OpenAPI on a port of their own, answered by threads of their own.

So they answer while the door is busy, full, or frozen, and say which. Nobody outside needs them:
the port listens on loopback unless it is told otherwise.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST

_FROZEN_S: Final = 5.0
"""An event loop that has not turned for so long takes no uploads; it is alive all the same."""
_REQUEST_S: Final = 2.0
_THREADS_MAX: Final = 32
_JSON: Final = "application/json"


@dataclass(slots=True)
class Pulse:
    """When the event loop was last seen to turn, by a clock in seconds."""

    now_s: Callable[[], float]
    last_s: float = 0.0

    def beat(self) -> None:
        """It turns."""
        self.last_s = self.now_s()

    @property
    def is_frozen(self) -> bool:
        """Whether it has not turned for seconds."""
        return self.now_s() - self.last_s > _FROZEN_S


@dataclass(frozen=True, slots=True)
class Health:
    """What is answered. `why_not_ready` says why no upload can be taken; empty if one can."""

    pulse: Pulse
    why_not_ready: Callable[[], str]
    metrics: Callable[[], bytes]
    openapi: bytes

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body of a GET."""
        if path == "/livez":
            said = "frozen" if self.pulse.is_frozen else "alive"
            return 200, _JSON, json.dumps({"status": said}).encode()
        if path == "/readyz":
            why = "frozen" if self.pulse.is_frozen else self.why_not_ready()
            return 503 if why else 200, _JSON, json.dumps({"status": why or "ready"}).encode()
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, self.metrics()
        if path == "/openapi.json":
            return 200, _JSON, self.openapi
        return 404, _JSON, json.dumps({"status": "not found"}).encode()


class HealthServer(ThreadingMixIn, HTTPServer):
    """Serves on a listening socket until it is closed."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, health: Health) -> None:
        super().__init__(listener.getsockname()[:2], _Answer, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.health = health
        self._free = threading.BoundedSemaphore(_THREADS_MAX)
        self._lock = threading.Lock()
        self._served: dict[socket.socket, None] = {}  # the one that came first is first
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.1,), name="health", daemon=True
        )

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """A thread for each, but not without end: who holds one longest without asking goes."""
        assert isinstance(request, socket.socket), "a stream server"  # noqa: S101
        if not self._free.acquire(blocking=False):
            self._end_oldest()
            self._free.acquire()
        with self._lock:
            self._served[request] = None
        super().process_request(request, client_address)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Closed under the lock, so that nobody ends what its number has become."""
        assert isinstance(request, socket.socket), "a stream server"  # noqa: S101
        with self._lock:
            self._served.pop(request, None)
            super().shutdown_request(request)

    def _end_oldest(self) -> None:
        with self._lock:
            oldest = next(iter(self._served), None)
            if oldest is not None:
                del self._served[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is no news."""


class _Answer(BaseHTTPRequestHandler):
    timeout = _REQUEST_S
    server: HealthServer

    def do_GET(self) -> None:
        status, kind, body = self.server.health.answer(self.path.partition("?")[0])
        self.send_response_only(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """No access log: it would write addresses down."""
