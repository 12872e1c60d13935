"""The second wall: without the gate a statement still finds nothing outside the folder."""

import base64
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from store import process
from store.endpoint import OVERRUN_EXIT
from tests.integration.store_fixtures import (
    ANALYST_PASSWORD,
    WRITER_PASSWORD,
)

SECRET = "the-key-that-signs-releases"
USERS = {"holdfast": WRITER_PASSWORD, "analyst": ANALYST_PASSWORD}


@dataclass
class Listener:
    """Counts who connects."""

    server: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    met: int = 0

    @property
    def port(self) -> int:
        return int(self.server.getsockname()[1])

    def count(self) -> None:
        while True:
            try:
                self.server.accept()[0].close()
            except OSError:
                return
            self.met += 1


@dataclass(frozen=True)
class World:
    """An ungated store, what lies beside its folder, and a server that should never be met."""

    running: process.StoreProcess
    folder: Path
    outside: Path
    listener: Listener

    def ask(self, sql: str, user: str = "holdfast", timeout_s: float = 60.0) -> str:
        """The answer's or the error's text."""
        token = base64.b64encode(f"{user}:{USERS[user]}".encode()).decode()
        url = f"http://127.0.0.1:{self.running.port}/"
        request = urllib.request.Request(
            url, sql.encode(), {"Authorization": f"Basic {token}"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return str(answer.read().decode("utf-8", "replace"))
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode("utf-8", "replace")


def started(folder: Path, *more: str) -> process.StoreProcess:
    credentials = folder / "credentials.json"
    process.write_credentials(
        credentials, writer_password=WRITER_PASSWORD, analyst_password=ANALYST_PASSWORD
    )
    return process.start(
        folder / "chdb", credentials, grace_s=1, module="tests.fakes.ungated_store", more=more
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, outside = tmp_path_factory.mktemp("node"), tmp_path_factory.mktemp("outside")
    (outside / "key.pem").write_text(SECRET + "\n")
    listener = Listener()
    thread = threading.Thread(target=listener.count)
    thread.start()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HOLDFAST_GITOPS_AUTHORIZATION", SECRET)
        running = started(folder)
    world = World(running, folder, outside, listener)
    assert "4\n" in world.ask("SELECT 2 + 2")
    (folder / "chdb" / "user_files").symlink_to(outside)
    yield world
    assert running.stop() == 0
    listener.server.shutdown(socket.SHUT_RDWR)
    listener.server.close()
    thread.join()


READS = {
    "scalar": "SELECT file('{path}')",
    "lines": "SELECT * FROM file('{path}', LineAsString)",
    "glob": "SELECT * FROM file('{folder}/*', LineAsString)",
    "list": "SELECT _path, _file FROM file('{folder}/*', One)",
    "raw": "SELECT * FROM file('{path}', RawBLOB)",
    "link": "SELECT * FROM file('user_files/{name}', LineAsString)",
    "url": "SELECT * FROM url('file://{path}', LineAsString)",
    "engine": "CREATE OR REPLACE TABLE default.f (l String) ENGINE = File(LineAsString, '{path}')",
    "filesystem": "CREATE DATABASE IF NOT EXISTS d{n} ENGINE = Filesystem('{folder}')",
    "overlay": "SELECT * FROM d{n}.`{name}`",
    "sqlite": "SELECT * FROM sqlite('{path}', 't')",
    "archive": "SELECT * FROM file('{path} :: *', LineAsString)",
    "dictionary": "CREATE OR REPLACE DICTIONARY default.k (l String) PRIMARY KEY l "
    "SOURCE(FILE(path '{path}' format 'LineAsString')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)",
    "dictionary_read": "SELECT * FROM default.k",
    "executable": "SELECT * FROM executable('cat {path}', 'LineAsString', 'l String')",
    "infile": "INSERT INTO default.f FROM INFILE '{path}' FORMAT LineAsString",
    "restore": "RESTORE ALL FROM File('{path}')",
    "attach": "ATTACH TABLE default.g FROM '{folder}' (l String) ENGINE = File(LineAsString)",
    "python": "SELECT * FROM Python(os)",
}
WRITES = {
    "function": "INSERT INTO FUNCTION file('{path}', TSV, 'a String') SELECT 'x'",
    "link": "INSERT INTO FUNCTION file('user_files/{name}', TSV, 'a String') SELECT 'x'",
    "outfile": "SELECT 'x' INTO OUTFILE '{path}'",
    "engine": "CREATE OR REPLACE TABLE default.w (a String) ENGINE = File(TSV, '{path}')",
    "into_engine": "INSERT INTO default.w SELECT 'x'",
    "backup": "BACKUP DATABASE default TO File('{path}')",
    "backup_disk": "BACKUP DATABASE default TO Disk('default', '{path}')",
    "sqlite": "CREATE DATABASE IF NOT EXISTS lite ENGINE = SQLite('{path}')",
    "disk": "CREATE OR REPLACE TABLE default.m (a Int8) ENGINE = MergeTree ORDER BY a "
    "SETTINGS disk = disk(type = local, path = '{path}/')",
    "logs": "SET log_queries = 1, send_logs_level = 'trace'",
}
CONNECTIONS = {
    "remote": "SELECT * FROM remote('127.0.0.1:{port}', system.one)",
    "remote_secure": "SELECT * FROM remoteSecure('127.0.0.1:{port}', system.one)",
    "mysql": "SELECT * FROM mysql('127.0.0.1:{port}', 'd', 't', 'u', 'p')",
    "postgresql": "SELECT * FROM postgresql('127.0.0.1:{port}', 'd', 't', 'u', 'p')",
    "redis": "SELECT * FROM redis('127.0.0.1:{port}', 'k', 'k String, v String')",
}
"""Those that try once; HTTP is tried again for minutes, and stands in the test of the process."""


def targets(world: World) -> list[Path]:
    """Files with the secret, and files whose first bytes every system knows."""
    return [
        world.outside / "key.pem",
        world.folder / "credentials.json",
        Path("/etc/passwd"),
        Path("/proc/self/environ"),
        Path(f"/proc/{os.getpid()}/environ"),
        Path("/proc", str(os.getpid()), "root", "etc", "passwd"),
        Path(f"/proc/self/cwd/{Path(__file__).name}"),
        Path(__file__),
    ]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("way", READS)
def test_no_statement_reads_a_file_outside_the_folder(world: World, way: str, user: str) -> None:
    for n, path in enumerate(targets(world)):
        answer = world.ask(
            READS[way].format(path=path, folder=path.parent, name=path.name, n=n), user
        )

        assert SECRET not in answer
        assert "root:" not in answer
        assert "password_sha256" not in answer
        assert "PATH=" not in answer
        assert "second wall" not in answer


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("way", WRITES)
def test_no_statement_writes_outside_the_folder(world: World, way: str, user: str) -> None:
    before = sorted(p.name for p in world.outside.iterdir())

    world.ask(WRITES[way].format(path=world.outside / f"new-{user}", name=f"new-{user}"), user)
    world.ask(WRITES[way].format(path=world.outside / "key.pem", name="key.pem"), user)

    assert sorted(p.name for p in world.outside.iterdir()) == before
    assert (world.outside / "key.pem").read_text() == SECRET + "\n"


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("way", CONNECTIONS)
def test_no_statement_opens_a_connection(world: World, way: str, user: str) -> None:
    world.ask(CONNECTIONS[way].format(port=world.listener.port), user, timeout_s=200.0)

    assert world.listener.met == 0


def test_the_listener_would_have_counted(tmp_path: Path) -> None:
    listener = Listener()
    thread = threading.Thread(target=listener.count)
    thread.start()

    with socket.create_connection(("127.0.0.1", listener.port)) as connection:
        connection.recv(1)
    listener.server.shutdown(socket.SHUT_RDWR)
    listener.server.close()
    thread.join()

    assert listener.met == 1


def test_every_thread_is_restricted(world: World) -> None:
    tasks = list(Path(f"/proc/{world.running.popen.pid}/task").iterdir())
    states = [(task / "status").read_text() for task in tasks]

    assert len(tasks) > 4
    assert all("NoNewPrivs:\t1" in state for state in states)


def test_the_process_knows_nothing_of_our_environment(world: World) -> None:
    environ = Path(f"/proc/{world.running.popen.pid}/environ").read_bytes()

    assert SECRET.encode() not in environ
    assert b"HOLDFAST" not in environ


def test_what_is_inside_works_as_ever(world: World) -> None:
    world.ask("CREATE TABLE default.t (a Int64) ENGINE = MergeTree ORDER BY a")
    world.ask("INSERT INTO default.t SELECT number FROM numbers(100000)")

    assert world.ask("SELECT sum(a) FROM default.t") == "4999950000\n"
    assert world.ask("SELECT toTimeZone(toDateTime(0, 'UTC'), 'Europe/Berlin')").startswith("1970")
    spilled = "SELECT count() FROM (SELECT a FROM default.t GROUP BY a) SETTINGS "
    assert world.ask(spilled + "max_bytes_before_external_group_by = 1") == "100000\n"


def test_a_statement_that_heeds_no_limit_ends_the_store_and_inserts_are_kept(
    tmp_path: Path,
) -> None:
    running = started(tmp_path, "--statement-s", "1", "--overrun-s", "0.5")
    world = World(running, tmp_path, tmp_path, Listener())
    world.listener.server.close()
    world.ask(
        "CREATE TABLE default.t (a Int64) ENGINE = MergeTree ORDER BY a "
        "SETTINGS fsync_after_insert = 1"
    )
    world.ask("INSERT INTO default.t VALUES (7)")

    with pytest.raises(OSError):  # noqa: PT011 - the connection ends in whatever way it does
        world.ask(
            "SELECT editDistance(materialize(repeat('a', 60000)), repeat('b', 60000))", "analyst"
        )

    assert running.popen.wait(60) == OVERRUN_EXIT
    running.stop()
    again = started(tmp_path)
    assert World(again, tmp_path, tmp_path, world.listener).ask("SELECT a FROM default.t") == "7\n"
    assert again.stop() == 0


def test_no_code_in_the_process_opens_a_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        tried = (
            "import pathlib, socket; from store import sandbox\n"
            f"held = sandbox.enter(pathlib.Path({str(tmp_path)!r}))\n"
            f"try: socket.create_connection(('127.0.0.1', {port})); print('open')\n"
            "except PermissionError: print('shut', held.abi)\n"
        )
        answer = subprocess.run(
            [sys.executable, "-c", tried], capture_output=True, text=True, check=True
        )

    assert answer.stdout.startswith("shut")


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock is Linux's")
def test_the_sandbox_refuses_to_close_a_door_with_somebody_outside() -> None:
    from store import sandbox

    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="thread"):
            sandbox.enter(Path("/"))
    finally:
        stop.set()
        thread.join()
