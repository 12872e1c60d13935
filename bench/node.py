"""A node of the product in a folder of its own, started from outside, over a new repository."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import cpu_seconds
from holdfast.clock import now_ms
from holdfast.config import load
from holdfast.example_repo import make_repository
from holdfast.folder import Folder, write_private
from holdfast.outside import store_settings
from holdfast.supervise import Node
from ingest.keys import KeyFile
from store.client import Client, StoreSettings, connect

_WAIT_S = 0.1


@dataclass(frozen=True, slots=True)
class Bench:
    """A running node and what is needed to talk to it."""

    node: Node
    folder: Folder
    gitops: Path

    @property
    def base_url(self) -> str:
        """Where uploads go. The port stays the same over restarts."""
        return f"http://127.0.0.1:{self.node.settings.http_port}"

    def pids(self) -> dict[str, int]:
        """The two processes of the node."""
        assert self.node.store is not None, "the node has its own store"  # noqa: S101
        assert self.node.service is not None, "the node has started"  # noqa: S101
        return {"service": self.node.service.pid, "store": self.node.store.popen.pid}

    def cpu_seconds(self) -> dict[str, float]:
        """What each process has spent so far."""
        return {name: cpu_seconds(pid) for name, pid in self.pids().items()}

    def key(self, app_id: str) -> str:
        """A new API key."""
        return KeyFile(self.folder.keys, now_ms=now_ms).create(app_id)

    def store_settings(self) -> StoreSettings:
        """How the node's own store is reached."""
        return store_settings(self.node.settings, self.folder)

    def store(self) -> Client:
        """A connection that may read everything."""
        return connect(self.store_settings())


@contextmanager
def running_node(
    root: Path,
    files: Mapping[str, str],
    *,
    gitops_poll_s: float = 10.0,
    tick_s: float = 1.0,
    partitions: int = 1,
    **more: float,
) -> Iterator[Bench]:
    """A node on free ports that watches a new repository of these files; `more` are settings."""
    folder = Folder(root / "node")
    folder.create()
    gitops = root / "gitops.git"
    make_repository(gitops, files)
    write_private(folder.settings, json.dumps({"gitops_url": str(gitops)}))
    settings = load(
        dir=folder.root,
        http_port=0,
        grpc_port=0,
        store_port=0,
        gitops_url=str(gitops),
        gitops_poll_s=gitops_poll_s,
        tick_s=tick_s,
        partitions=partitions,
        **more,
    )
    with (root / "node.log").open("ab") as errors:
        node = Node(settings, errors=errors)
        try:
            node.start()
            yield Bench(node, folder, gitops)
        finally:
            node.stop()


def wait_until(done: Callable[[], bool], *, timeout_s: float, what: str) -> float:
    """Look again and again; the seconds that it took."""
    began_s = time.monotonic()
    while not done():
        if time.monotonic() - began_s > timeout_s:
            raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(_WAIT_S)
    return time.monotonic() - began_s
