"""A node of the product with a proxy before its door and one before its store, for chaos."""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from bench.fault_proxy import FaultProxy
from holdfast.clock import now_ms
from holdfast.config import load
from holdfast.example_repo import make_repository
from holdfast.folder import Folder, write_private
from holdfast.supervise import Node
from ingest.keys import KeyFile
from store.client import Client, StoreSettings, connect
from store.process import StoreProcess, start, write_credentials

_MARGIN_MB: Final = 8192  # of free disk above the reserve, at most: neighbours write, too
_STOP_S: Final = 15.0
_OFFSET_BITS: Final = 40  # of a record's number in the log's file


@dataclass(slots=True)
class ChaosNode:
    """Service and store, each a process that may be killed; `bench.faults.World`."""

    folder: Folder
    gitops: Path
    node: Node
    store: StoreProcess
    proxies: Mapping[str, FaultProxy]
    errors: IO[bytes]
    partitions: int
    refusals: Callable[[], int] = lambda: 0
    _ballast: Path = field(init=False)

    def __post_init__(self) -> None:
        self._ballast = self.folder.root / "ballast"

    def key(self, app_id: str) -> str:
        """A new API key."""
        return KeyFile(self.folder.keys, now_ms=now_ms).create(app_id)

    def popen(self, part: str) -> subprocess.Popen[bytes]:
        """The process of ``service`` or ``store``."""
        if part == "store":
            return self.store.popen
        assert self.node.service is not None, "the node has started"  # noqa: S101
        return self.node.service

    def revive(self) -> bool:
        """Start what has ended, and wait until it is ready; True if something had."""
        ended = self.store.popen.poll() is not None
        if ended:
            self.store.stop()  # closes its pipes
            self.store = start_store(self.folder, self.store.port, self.errors)
        return self.node.look() or ended

    def ends(self) -> Sequence[int]:
        """By partition: the offset that the log's next record will get."""
        ranges = [(p << _OFFSET_BITS, (p + 1) << _OFFSET_BITS) for p in range(self.partitions)]
        with closing(_reading(self.folder.log / "log.sqlite")) as log:
            sql = "SELECT coalesce(max(id) + 1, ?1) - ?1 FROM records WHERE id >= ?1 AND id < ?2"
            return [int(log.execute(sql, bounds).fetchone()[0]) for bounds in ranges]

    def decided(self) -> Sequence[int]:
        """By partition: the offset before which everything is decided and stored."""
        with closing(_reading(self.folder.state)) as state:
            found = dict(state.execute("SELECT partition, next_offset FROM position").fetchall())
        return [int(found.get(p, 0)) for p in range(self.partitions)]

    def mark(self) -> Sequence[int]:
        """The log's ends."""
        return self.ends()

    def is_past(self, mark: Sequence[int]) -> bool:
        """Whether all partitions are decided beyond it: a window closes by a newer record."""
        return all(at >= max(end, 1) for at, end in zip(self.decided(), mark, strict=True))

    def has_taken(self, part: str, mark: Sequence[int]) -> bool:
        """A node's parts are at work again when windows are decided and stored."""
        return self.is_past(mark)

    def refused(self) -> int:
        """How often uploads were answered with 503 so far."""
        return self.refusals()

    def set_clock(self, offset_ms: int) -> None:
        """Restart the service with a clock that is wrong by so much."""
        self.node.settings = self.node.settings.model_copy(update={"clock_offset_ms": offset_ms})
        service = self.popen("service")
        service.terminate()
        service.wait(_STOP_S)
        self.revive()

    def fill_disk(self) -> None:
        """Take so much of the disk that less than the reserve is left."""
        reserve = self.node.settings.disk_reserve_mb << 20
        wanted = (
            shutil.disk_usage(self.folder.root).free - reserve + min(_MARGIN_MB << 19, reserve >> 1)
        )
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(wanted, 1))

    def free_disk(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)

    def client(self) -> Client:
        """A connection to the store itself, past the proxy."""
        password = self.folder.store_passwords()["writer"]
        return connect(StoreSettings(port=self.store.port, user="holdfast", password=password))


@contextmanager
def chaos_node(
    root: Path,
    files: Mapping[str, str],
    *,
    partitions: int,
    tick_s: float,
    has_small_disk: bool = False,
) -> Iterator[ChaosNode]:
    """Running, with proxies ``ingest`` and ``store``, until the block ends.

    `has_small_disk`: its reserve is so large that `fill_disk` can touch it.
    """
    folder = Folder(root / "node")
    folder.create()
    gitops = root / "gitops.git"
    make_repository(gitops, files)
    write_private(folder.settings, json.dumps({"gitops_url": str(gitops)}))
    with (root / "node.log").open("ab") as errors:
        store = start_store(folder, 0, errors)
        proxies = {"store": FaultProxy(store.port)}
        settings = load(
            dir=folder.root,
            http_port=0,
            grpc_port=0,
            store_url=f"http://127.0.0.1:{proxies['store'].start()}",
            store_password=folder.store_passwords()["writer"],
            gitops_url=str(gitops),
            gitops_poll_s=0.5,
            tick_s=tick_s,
            partitions=partitions,
            disk_reserve_mb=_reserve_mb(folder.root) if has_small_disk else None,
        )
        world = ChaosNode(
            folder, gitops, Node(settings, errors=errors), store, proxies, errors, partitions
        )
        try:
            world.node.start()
            proxies["ingest"] = FaultProxy(world.node.settings.http_port)
            proxies["ingest"].start()
            yield world
        finally:
            world.free_disk()
            world.node.stop()
            world.store.stop()
            for proxy in proxies.values():
                proxy.stop()


def start_store(folder: Folder, port: int, errors: IO[bytes]) -> StoreProcess:
    """The store of a node's folder, as a process of the bench."""
    passwords = folder.store_passwords()
    write_credentials(
        folder.store_credentials,
        writer_password=passwords["writer"],
        analyst_password=passwords["analyst"],
    )
    return start(folder.store, folder.store_credentials, port=port, errors=errors)


def _reserve_mb(folder: Path) -> int:
    """So much that a file of moderate size makes the disk full for the service alone."""
    free_mb = shutil.disk_usage(folder).free >> 20
    return free_mb - min(_MARGIN_MB, free_mb // 4)


def _reading(path: Path) -> sqlite3.Connection:
    """Open for one look: a connection that stays would spare a killed writer its recovery."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
