"""What processes cost, from /proc, and the sending process."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from bench.uploads import Order, Sent
from holdfast.config import Settings, environment_of

_TICKS = os.sysconf("SC_CLK_TCK")
_ROOT = Path(__file__).resolve().parents[1]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, of its threads, and of the children that it has reaped."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(number) for number in fields[11:15]) / _TICKS


def idle_rates(spent: Callable[[], dict[str, float]], seconds: float) -> dict[str, float]:
    """CPU-seconds per second of each process while nothing is asked of it."""
    before, began_s = spent(), time.monotonic()
    time.sleep(seconds)
    after, took_s = spent(), time.monotonic() - began_s
    return {name: (after[name] - before[name]) / took_s for name in after}


def resident_mb(pid: int) -> tuple[float, float]:
    """RSS, and PSS (what is shared counts in parts)."""
    sizes = {"Rss": 0, "Pss": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in sizes:
            sizes[name] = int(rest.split()[0])
    return sizes["Rss"] / 1024, sizes["Pss"] / 1024


def launched(
    arguments: Sequence[str],
    settings: Settings,
    *,
    output: IO[bytes] | int,
    errors: IO[bytes],
) -> subprocess.Popen[bytes]:
    """``holdfast ...`` under these settings, not waited for."""
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast", *arguments],
        env=environment_of(settings),
        cwd=_ROOT,
        stdout=output,
        stderr=errors,
    )


class Conversation:
    """``python -m module`` with an order; it says "ready", and answers each word with a line."""

    def __init__(self, module: str, order: object) -> None:
        self._module, self._order = module, order
        self._popen: subprocess.Popen[str]

    def __enter__(self) -> Self:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        if self.ask(msgspec.json.encode(self._order).decode()) != "ready":
            raise RuntimeError(f"{self._module} did not get ready")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.communicate()

    def ask(self, word: str) -> str:
        """Say a line; the line that it answers."""
        popen = self._popen
        assert popen.stdin is not None, "opened with a pipe"  # noqa: S101
        assert popen.stdout is not None, "opened with a pipe"  # noqa: S101
        popen.stdin.write(word + "\n")
        popen.stdin.flush()
        return popen.stdout.readline().strip()


class SendingProcess(Conversation):
    """A separate process that has made its uploads and waits for the word."""

    def __init__(self, order: Order) -> None:
        super().__init__("bench.uploads", order)
        self._uploads = order.uploads

    def send(self) -> Sent:
        """Send everything; every upload must have been taken whole."""
        sent = msgspec.json.decode(self.ask("go"), type=Sent)
        if sent.refused or sent.rows_refused or sent.acknowledged != self._uploads:
            raise RuntimeError(f"not all uploads were taken: {sent}")
        return sent


@contextmanager
def started(
    module: str, arguments: list[str], *, ready: Callable[[str], bool]
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``python -m module`` until the block ends; with the line that it said when it was ready."""
    popen = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, cwd=_ROOT
    )
    try:
        assert popen.stdout is not None, "opened with a pipe"  # noqa: S101
        line = popen.stdout.readline()
        if not ready(line):
            raise RuntimeError(f"{module} did not start")
        yield popen, line
    finally:
        popen.terminate()
        popen.wait(20)
        if popen.stdout:
            popen.stdout.close()
