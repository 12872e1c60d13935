"""Ingest with its SQLite log and nothing behind it, one process: `python -m bench.ingest_alone`.

With ``probe`` after the folder it answers lines of its standard input; see `bench.loop_probe`.
"""

import asyncio
import json
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvloop

from actions.desired_files import read_desired
from bench.loop_probe import LoopProbe
from bench.uploads import APP, repository
from ingest.keys import KeyFile
from ingest.receive import Receiver, ReceiveSettings
from ingest.releases import ReleaseConfigs
from ingest.serve import Ports, ServeSettings, serve
from ingest.signing import load_or_make
from streams.log.sqlite import SqliteLog
from wire.desired import Desired


@dataclass(frozen=True, slots=True)
class _Always:
    """A desired state that never changes."""

    desired: Desired

    def current(self) -> Desired | None:
        return self.desired


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def run(folder: Path, *, is_probed: bool = False) -> None:
    """Serve until SIGTERM."""
    contents = {path: text.encode() for path, text in repository(60_000).items()}
    keys = KeyFile(folder / "keys.json", now_ms=_now_ms)
    key = keys.create(APP)
    receiver = Receiver(
        log=SqliteLog(folder / "log", partitions=1, now_ms=_now_ms),
        desired=_Always(read_desired(contents, commit="0" * 40)),
        now_ms=_now_ms,
        rng=np.random.default_rng(),
        settings=ReceiveSettings(),
    )

    def ready(ports: Ports) -> None:
        told = {"http_port": ports.http, "grpc_port": ports.grpc, "key": key}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        if is_probed:
            LoopProbe(receiver.committer).start()

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(
        receiver,
        keys=keys,
        releases=ReleaseConfigs(load_or_make(folder / "signing.pem")),
        settings=ServeSettings(http_port=0, grpc_port=0),
        ready=ready,
        stop=stop,
    )


if __name__ == "__main__":
    uvloop.run(run(Path(sys.argv[1]), is_probed="probe" in sys.argv[2:]))
