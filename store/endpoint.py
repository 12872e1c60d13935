"""The store's process: a chDB folder behind the ClickHouse HTTP interface on loopback.

``python -m store.endpoint --path DIR --port PORT --credentials FILE``; port 0 picks one. When it
listens it prints one line, ``{"ready": true, "port": N}``. SIGTERM or SIGINT: what runs is finished
(`--grace-s` at most), the engine is closed, exit 0.

Why uvicorn with a raw ASGI application: it is what ingest uses, so there is one HTTP server to keep
patched; it reads chunked bodies and keeps connections alive as stock clients expect; it costs 12 MB
over the standard library's server, which has no limits on headers or idle connections. Only one
process may open a chDB folder, and an engine crash must not take ingest along; hence a process of
its own. With `--exit-with-parent` it ends when its standard input ends, so a killed supervisor
leaves no orphan that holds the folder.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from store.embedded import EmbeddedStore, without_arrow
from store.gate import Role
from store.http_app import Credential, HttpApp, ServerLimits
from wire.errors import PermanentError

_STUCK_S: Final = 1.0


def read_credentials(path: Path) -> list[Credential]:
    """Both credentials of a JSON file; what is wrong with it is said."""
    try:
        text = json.loads(path.read_text("utf-8"))
        found = [
            Credential(role, str(text[role]["user"]), str(text[role]["password_sha256"]).lower())
            for role in Role
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PermanentError(
            "credentials_unreadable",
            f"{path}: {error}",
            accepted='{"writer": {"user", "password_sha256"}, "analyst": {...}}',
        ) from error
    return found


class _Server(uvicorn.Server):
    """Says on standard output when it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            port = sockets[0].getsockname()[1]
            sys.stdout.write(json.dumps({"ready": True, "port": port}) + "\n")
            sys.stdout.flush()


def serve(
    store: EmbeddedStore, credentials: list[Credential], listener: socket.socket, *, grace_s: int
) -> None:
    """Answer until SIGTERM or SIGINT; then close the engine, whatever still runs."""
    app = HttpApp(store, credentials, ServerLimits())
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=grace_s,
    )
    signal.signal(signal.SIGTERM, _stay)  # uvicorn raises the signal again once it has stopped
    signal.signal(signal.SIGINT, _stay)
    asyncio.run(_Server(config).serve(sockets=[listener]))
    app.close()
    deadline = time.monotonic() + _STUCK_S
    while app.running and time.monotonic() < deadline:
        time.sleep(0.02)
    if app.running:
        # A statement outlived the grace. Inserts that were answered are synced; leave at once.
        sys.stderr.flush()
        os._exit(0)
    store.close()


def _stay(number: int, frame: FrameType | None) -> None:
    """Do nothing: the server has seen the signal already."""


def _exit_with_parent() -> None:
    def watch() -> None:
        # the descriptor itself: a buffered reader held by a daemon thread aborts the exit
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def main(arguments: list[str]) -> int:
    """Open, listen, serve."""
    os.umask(0o077)  # what the engine writes is readable by its owner alone
    parser = argparse.ArgumentParser(prog="store.endpoint", description="chDB over ClickHouse HTTP")
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--credentials", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--exit-with-parent", action="store_true")
    parser.add_argument("--grace-s", type=int, default=7)
    parser.add_argument("--log-level", default="WARNING")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=options.log_level, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
    os.putenv("TZ", "UTC")  # the engine's time zone, before it is loaded
    without_arrow()
    try:
        credentials = read_credentials(options.credentials)
        listener = socket.create_server((options.host, options.port), backlog=128)
        store = EmbeddedStore(options.path)
    except (PermanentError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.exit_with_parent:
        _exit_with_parent()
    serve(store, credentials, listener, grace_s=options.grace_s)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
