"""A whole node for a test: two processes, a bare GitOps repository, a Slack receiver."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from holdfast.clock import now_ms
from holdfast.config import load
from holdfast.example_repo import make_repository
from holdfast.folder import Folder
from holdfast.manifests import Clocks, Model, policy_text, repository_files
from holdfast.outside import store_settings
from holdfast.slack_receiver import SlackReceiver
from holdfast.supervise import Node
from ingest.keys import KeyFile
from store.client import Client, connect
from wire.errors import PermanentError, TransientError

CLOCKS = Clocks(
    window_ms=500,
    observation_ms=1500,
    cohort_ms=500,
    silence_grace_ms=2000,
    drift_window_ms=5000,
)


@dataclass
class RunningNode:
    """Where everything of a running node is."""

    node: Node
    folder: Folder
    gitops: Path
    slack: SlackReceiver
    http: str
    grpc: str
    keys: dict[str, str]

    def store(self) -> Client:
        return connect(store_settings(self.node.settings, self.folder))


@contextmanager
def running_node(
    root: Path, models: tuple[Model, ...], *, regions: tuple[str, ...]
) -> Iterator[RunningNode]:
    """A node with these models that takes uploads, until the block ends. All lies below `root`."""
    folder, gitops = Folder(root / "node"), root / "gitops.git"
    folder.create()
    apps = tuple(m.app_id for m in models)
    policy = policy_text(CLOCKS, regions=regions, apps=apps, dry_run=False)
    make_repository(gitops, repository_files(models, policy))
    with (
        SlackReceiver(root / "slack.jsonl") as slack,
        (folder.root / "processes.log").open("ab") as errors,
    ):
        settings = load(
            dir=folder.root,
            http_port=0,
            grpc_port=0,
            store_port=0,
            gitops_url=str(gitops),
            gitops_poll_s=0.25,
            slack_webhook_url=slack.url,
            tick_s=0.25,
        )
        node = Node(settings, errors=errors)
        try:
            said = node.start()
            http = f"http://127.0.0.1:{said['http_port']}"
            until(lambda: httpx.get(http + "/readyz").is_success, "the first desired state")
            keys = KeyFile(folder.keys, now_ms=now_ms)
            yield RunningNode(
                node,
                folder,
                gitops,
                slack,
                http,
                f"127.0.0.1:{said['grpc_port']}",
                {app: keys.create(app) for app in apps},
            )
        finally:
            node.stop()


def until(is_true: Callable[[], bool], what: str, *, seconds: float = 120.0) -> None:
    """Wait for it; a store that is not there yet is waited for too.

    Looks again soon, but never spends more than a third of the time with looking.
    """
    end_s = time.monotonic() + seconds
    while True:
        looked_s = time.monotonic()
        try:
            if is_true():
                return
        except (PermanentError, TransientError):
            pass  # the tables come with the first migration
        now_s = time.monotonic()
        assert now_s < end_s, f"after {seconds:g} s there is still no {what}"
        time.sleep(max(0.05, 2 * (now_s - looked_s)))
