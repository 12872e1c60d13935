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
import resource
import shutil
import signal
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from store import sandbox, statements
from store.budgets import ConnectionBudgets, StoreProtocol, keep
from store.embedded import EmbeddedStore, without_arrow
from store.gate import Limits, Role
from store.http_app import Credential, HttpApp, Run, ServerLimits
from wire.errors import PermanentError

_LOG: Final = logging.getLogger("holdfast.store")
_STUCK_S: Final = 1.0
_BUDGETS: Final = ConnectionBudgets()
_LOOK_S: Final = 1.0
OVERRUN_EXIT: Final = 75
"""Exit code when a statement outlived its time limit and the grace."""


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


def serve(app: HttpApp, listener: socket.socket, *, grace_s: int, overrun_s: float) -> None:
    """Answer until SIGTERM or SIGINT; what still runs then is left to its end with the process."""
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=partial(StoreProtocol, budgets=_BUDGETS),  # type: ignore[arg-type]  # parts bound
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
    asyncio.run(_serve(_Server(config), listener, app, overrun_s))
    app.close()
    deadline = time.monotonic() + _STUCK_S
    while app.running and time.monotonic() < deadline:
        time.sleep(0.02)
    if app.running:
        # A statement outlived the grace. Inserts that were answered are synced; leave at once.
        sys.stderr.flush()
        os._exit(0)


async def _serve(
    server: uvicorn.Server, listener: socket.socket, app: HttpApp, overrun_s: float
) -> None:
    chores = [
        asyncio.create_task(_end_overruns(app, overrun_s)),
        asyncio.create_task(keep(server.server_state.connections, _BUDGETS)),
    ]
    try:
        await server.serve(sockets=[listener])
    finally:
        for chore in chores:
            chore.cancel()


async def _end_overruns(app: HttpApp, overrun_s: float) -> None:
    """End the process when a statement does not heed its time limit: nothing else ends its thread.

    Whoever started the store starts it again; inserts that were not answered are sent again.
    """
    while True:
        await asyncio.sleep(_LOOK_S)
        late_s = app.overrun_s()
        if late_s > overrun_s:
            _LOG.error("statement_overran late_s=%.1f; the store starts anew", late_s)
            sys.stderr.flush()
            os._exit(OVERRUN_EXIT)


def listener_on(host: str, port: int) -> socket.socket:
    """On an address of either family; `::` takes IPv4 as well."""
    family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    both = family is socket.AF_INET6 and where[0] == "::" and socket.has_dualstack_ipv6()
    listener = socket.create_server(where[:2], family=family, backlog=128, dualstack_ipv6=both)
    # asyncio asks for it only where it made the socket: without, an answer waits 40 ms for an ACK
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _stay(number: int, frame: FrameType | None) -> None:
    """Do nothing: the server has seen the signal already."""


def _exit_with_parent() -> None:
    def watch() -> None:
        # the descriptor itself: a buffered reader held by a daemon thread aborts the exit
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def shut_in(folder: Path) -> None:
    """Take this process's rights, but to its folder; say loudly what the kernel cannot hold.

    The engine makes a scratch database while it is imported: that lies in the folder too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    os.putenv("TMPDIR", str(scratch))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    held = sandbox.enter(folder)
    if held.open_doors != ("UDP",):
        _LOG.error("store_not_shut_in abi=%d open=%s", held.abi, ",".join(held.open_doors))


def main(arguments: list[str], run: Run = statements.run) -> int:
    """Open, listen, serve. `run` judges and runs a statement."""
    os.umask(0o077)  # what the engine writes is readable by its owner alone
    parser = argparse.ArgumentParser(prog="store.endpoint", description="chDB over ClickHouse HTTP")
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--credentials", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--exit-with-parent", action="store_true")
    parser.add_argument("--grace-s", type=int, default=7)
    parser.add_argument("--statement-s", type=int, default=Limits().seconds_max)
    parser.add_argument("--overrun-s", type=float, default=10.0)
    parser.add_argument("--log-level", default="WARNING")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=options.log_level, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
    os.putenv("TZ", "UTC")  # the engine's time zone, before it is loaded
    without_arrow()
    try:
        credentials = read_credentials(options.credentials)
        listener = listener_on(options.host, options.port)
        shut_in(options.path)
        store = EmbeddedStore(options.path)
    except (PermanentError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.exit_with_parent:
        _exit_with_parent()
    limits = ServerLimits(analyst=Limits(seconds_max=options.statement_s))
    app = HttpApp(store, credentials, limits, run)
    serve(app, listener, grace_s=options.grace_s, overrun_s=options.overrun_s)
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
