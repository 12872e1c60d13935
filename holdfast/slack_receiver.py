"""A receiver of Slack webhooks on loopback that keeps what it is sent. For the demo and tests."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclass(slots=True)
class SlackReceiver:
    """A context manager; `messages` are the payloads so far, also appended to `path` as lines."""

    path: Path
    messages: list[dict[str, object]] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """The webhook's address."""
        assert self._server is not None, "enter the receiver first"  # noqa: S101
        return f"http://127.0.0.1:{self._server.server_address[1]}/services/demo"

    def __enter__(self) -> Self:
        receiver = self

        class Receive(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.messages.append(json.loads(body))
                with receiver.path.open("ab") as file:
                    file.write(body + b"\n")
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self.path.touch()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Receive)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
