"""A git remote over HTTP as files, a proxy in front of it, and servers that misbehave."""

import http.server
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Server:
    """A listening server; `seen` holds the request lines' targets."""

    port: int
    seen: list[str] = field(default_factory=list)


@contextmanager
def _serving(
    handler: type[http.server.BaseHTTPRequestHandler], tls: Path | None = None
) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is for people."""


@contextmanager
def files(bare: Path, *, tls: Path | None = None) -> Iterator[Server]:
    """The bare repository as git's "dumb" protocol has it: files."""
    subprocess.run(["git", "--git-dir", str(bare), "update-server-info"], check=True)
    server = Server(0)

    class Files(_Quiet):
        def do_GET(self) -> None:
            server.seen.append(self.path)
            file = bare / self.path.split("?")[0].removeprefix("/x.git/")
            found = file.is_file()
            body = file.read_bytes() if found else b""
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with _serving(Files, tls) as server.port:
        yield server


@contextmanager
def proxy(target: int) -> Iterator[Server]:
    """Sends every request, for whatever host, to the target's port."""
    server = Server(0)
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    class Proxy(_Quiet):
        def do_GET(self) -> None:
            server.seen.append(self.path)
            path = "/" + self.path.split("/", 3)[3]
            try:
                with directly.open(f"http://127.0.0.1:{target}{path}") as answer:
                    status, body = answer.status, answer.read()
            except urllib.error.HTTPError as error:
                status, body = error.code, b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with _serving(Proxy) as server.port:
        yield server


@contextmanager
def answering(
    status: int, body: bytes, *, kind: str = "text/plain", location: str = ""
) -> Iterator[Server]:
    """The same answer to everything; a `location` for redirects."""
    server = Server(0)

    class Answers(_Quiet):
        def do_GET(self) -> None:
            server.seen.append(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if location:
                self.send_header("Location", f"http://127.0.0.1:{server.port}{location}")
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the base class calls it so

    with _serving(Answers) as server.port:
        yield server
