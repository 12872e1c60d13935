"""``holdfast up``: keeps the store and the service running, two processes, until told to stop."""

import json
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import msgspec

from holdfast.config import Settings, environment_of
from holdfast.folder import Folder
from holdfast.folder_check import check_folder
from holdfast.folder_lock import living_in
from store.process import StoreProcess, start, write_credentials
from wire.errors import PermanentError

_START_S: Final = 60.0
_STOP_S: Final = 15.0
_PAUSE_S_MAX: Final = 5.0
_LOOK_S: Final = 0.1
_PORTS: Final = ("http_port", "grpc_port", "health_port")


@dataclass(slots=True)
class Node:
    """The two processes of one node. `store` is None if a ClickHouse server is used instead."""

    settings: Settings
    errors: IO[bytes] | None = None
    store: StoreProcess | None = None
    service: subprocess.Popen[bytes] | None = None
    said: dict[str, object] = field(default_factory=dict)
    _pause_s: float = _LOOK_S
    _living: ExitStack = field(default_factory=ExitStack)

    def start(self) -> dict[str, object]:
        """Start both; what the service said when it was ready (ports, public key).

        Nothing listens before the folder was found free, whole, and of a format that we read.
        Raises PermanentError ``folder_in_use``, and what `check_folder` does.
        """
        folder = Folder(self.settings.dir)
        self._living.enter_context(living_in(folder))
        check_folder(folder, partitions=self.settings.partitions)
        self.settings = self.settings.model_copy(update={"dir": folder.root.resolve()})
        if not self.settings.store_url:
            self._start_store(folder)
        self._start_service()
        return self.said

    def _keep_ports(self, ports: Mapping[str, object]) -> None:
        """Ask for the same ports again: phones and analysts find the node after a restart.

        What is chosen by the kernel is known only when it is bound: a port that looked free
        before may be anybody's by then.
        """
        self.settings = self.settings.model_copy(update=dict(ports))

    def keep(self, stopped: Callable[[], bool]) -> None:
        """Restart whatever dies, with growing pauses, until `stopped`."""
        while not stopped():
            if self.look():
                time.sleep(self._pause_s)
                self._pause_s = min(2 * self._pause_s, _PAUSE_S_MAX)
            else:
                time.sleep(_LOOK_S)

    def look(self) -> bool:
        """Start again what has ended; True if something had."""
        ended = False
        if self.store is not None and self.store.popen.poll() is not None:
            self.store.stop()  # closes its pipes
            self._start_store(Folder(self.settings.dir))
            ended = True
        if self.service is not None and self.service.poll() is not None:
            _end(self.service)
            self._start_service()
            ended = True
        return ended

    def stop(self) -> None:
        """Service first, so that it can still write what it has decided."""
        if self.service is not None:
            _end(self.service)
        if self.store is not None:
            self.store.stop()
        self._living.close()

    def _start_store(self, folder: Folder) -> None:
        passwords = folder.store_passwords()
        write_credentials(
            folder.store_credentials,
            writer_password=passwords["writer"],
            analyst_password=passwords["analyst"],
        )
        self.store = start(
            folder.store,
            folder.store_credentials,
            port=self.settings.store_port,
            host=self.settings.store_host,
            errors=self.errors,
            timeout_s=_START_S,
        )
        self._keep_ports({"store_port": self.store.port})

    def _start_service(self) -> None:
        self.service = subprocess.Popen(
            [sys.executable, "-m", "holdfast.service"],
            env=environment_of(self.settings),
            cwd=Path(__file__).resolve().parents[1],
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )
        self.said = _ready_line(self.service)
        self._keep_ports({name: self.said[name] for name in _PORTS})


class _Refused(msgspec.Struct):
    """Why a service does not start, in its own words."""

    code: str
    detail: str
    accepted: str = ""


def _ready_line(process: subprocess.Popen[bytes]) -> dict[str, object]:
    assert process.stdout is not None, "opened with a pipe"  # noqa: S101
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(_START_S) else b""
    if not line:
        _end(process)
        raise PermanentError(
            "service_not_started",
            "the service ended before it was ready; its log says why",
            accepted="holdfast check-config",
        )
    said: dict[str, object] = json.loads(line)
    if "refused" in said:
        _end(process)
        refused = msgspec.convert(said["refused"], _Refused)
        raise PermanentError(refused.code, refused.detail, accepted=refused.accepted)
    return said


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout:
        process.stdout.close()
