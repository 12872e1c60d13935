"""A real HTTP server that answers like Slack's incoming webhooks, from a script of answers."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, dict[str, str], str]
OK: Answer = (200, {}, "ok")


@dataclass
class Receiver:
    """What arrived, and what will be answered (then always OK)."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    messages: list[dict[str, object]] = field(default_factory=list)


@contextmanager
def slack_receiver(*answers: Answer) -> Iterator[Receiver]:
    """Serve on a free loopback port until the block ends."""
    receiver = Receiver("", list(answers))

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.messages.append(json.loads(body))
            status, headers, text = receiver.answers.pop(0) if receiver.answers else OK
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}/services/T0/B0/canary-token"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
