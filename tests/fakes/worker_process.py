"""One process of the product that says when it is ready: a worker, for tests."""

import json
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from bench.processes import launched
from holdfast.config import Settings

_START_S = 120.0
_STOP_S = 60.0


@dataclass(slots=True)
class Part:
    """A worker, started and ended by a test."""

    name: str
    command: Sequence[str]
    settings: Settings
    errors: IO[bytes]
    popen: subprocess.Popen[bytes] | None = None
    said: Mapping[str, object] = field(default_factory=dict)

    def launch(self) -> None:
        """Start it, without waiting."""
        self.close()
        self.popen = launched(
            self.command, self.settings, output=subprocess.PIPE, errors=self.errors
        )

    def wait_ready(self) -> None:
        """Until it has said that it works. Raises RuntimeError if it ended instead."""
        popen = self.running()
        assert popen.stdout is not None, "opened with a pipe"
        with selectors.DefaultSelector() as selector:
            selector.register(popen.stdout, selectors.EVENT_READ)
            line = popen.stdout.readline() if selector.select(_START_S) else b""
        if not line:
            raise RuntimeError(f"{self.name} was not ready; its log says why")
        self.said = json.loads(line)

    def running(self) -> subprocess.Popen[bytes]:
        """The process. Raises RuntimeError before it has been launched."""
        if self.popen is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self.popen

    def stop(self) -> None:
        """SIGTERM, then wait; killed if that takes too long."""
        if self.popen is not None and self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        self.close()

    def close(self) -> None:
        """Close the pipe of a process that has ended."""
        if self.popen is not None and self.popen.stdout:
            self.popen.stdout.close()
        self.popen = None
