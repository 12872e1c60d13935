"""Start the store's process and wait until it listens; for the supervisor and for tests."""

import hashlib
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from wire.errors import PermanentError

_STOP_S: Final = 10.0
_ENVIRONMENT: Final = frozenset({"PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME"})
"""What finds the interpreter and its libraries; everything else may be a secret."""
_NICE: Final = 15
"""Receipts come before tables and questions when a machine is short of both."""


@dataclass(frozen=True, slots=True)
class StoreProcess:
    """A running endpoint. It ends by itself when the process that started it is gone."""

    popen: subprocess.Popen[bytes] = field(repr=False)
    port: int

    def stop(self, *, timeout_s: float = _STOP_S) -> int:
        """SIGTERM and wait, kill if it takes too long; the exit code."""
        self.popen.terminate()
        try:
            code = self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            code = self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream:
                stream.close()
        return code


def write_credentials(path: Path, *, writer_password: str, analyst_password: str) -> None:
    """The credentials file of the endpoint, readable by its owner alone; hashes only."""
    users = {"writer": ("holdfast", writer_password), "analyst": ("analyst", analyst_password)}
    text = json.dumps(
        {
            role: {"user": user, "password_sha256": hashlib.sha256(password.encode()).hexdigest()}
            for role, (user, password) in users.items()
        }
    )
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
    partial.replace(path)


def start(
    folder: Path,
    credentials: Path,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    errors: IO[bytes] | int | None = None,
    timeout_s: float = 60.0,
    grace_s: int = 7,
    module: str = "store.endpoint",
    more: Sequence[str] = (),
) -> StoreProcess:
    """Start ``python -m store.endpoint`` and wait for its ready line.

    Its environment is made here: nothing of ours, where secrets may be, reaches a process that
    runs other people's statements. `errors` takes its standard error (default: ours); `grace_s` is
    how long running statements may go on after SIGTERM; `more` are further options.
    PermanentError ``store_not_started`` if it ends before it listens, or does not listen in time.
    """
    arguments: list[object] = [
        "--path",
        folder.resolve(),  # the process starts in another folder
        "--port",
        port,
        "--host",
        host,
        "--credentials",
        credentials.resolve(),
    ]
    arguments += ["--grace-s", grace_s, *more]
    popen = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments), "--exit-with-parent"],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd=Path(__file__).resolve().parents[1],
    )
    _step_back(popen.pid)
    line = _first_line(popen, timeout_s)
    try:
        return StoreProcess(popen, int(json.loads(line)["port"]))
    except (ValueError, KeyError, TypeError) as error:
        popen.kill()
        code = StoreProcess(popen, 0).stop()
        raise PermanentError(
            "store_not_started",
            f"the store on {folder} did not start (exit code {code}); the reason is in its log",
        ) from error


def _environment() -> dict[str, str]:
    ours = os.environ  # noqa: TID251 - no setting: what the interpreter itself is found by
    return {name: value for name, value in ours.items() if name in _ENVIRONMENT}


def _step_back(pid: int) -> None:
    """Receipts come first: what the store does may wait, a phone does not. Before it has threads,
    which inherit it.
    """
    os.setpriority(os.PRIO_PROCESS, pid, _NICE)
    if hasattr(os, "SCHED_BATCH"):  # it does not take the core from whoever is at work
        os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))


def _first_line(popen: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    if popen.stdout is None:  # asked for above
        raise AssertionError
    with selectors.DefaultSelector() as selector:
        selector.register(popen.stdout, selectors.EVENT_READ)
        return popen.stdout.readline() if selector.select(timeout_s) else b""
