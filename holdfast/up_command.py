"""``holdfast up``: run the node in the foreground."""

import signal
import tempfile
import threading
from pathlib import Path

from holdfast.config import Settings, load
from holdfast.folder import Folder
from holdfast.output import give, tell
from holdfast.outside import repository_of
from holdfast.supervise import Node
from ingest.listen import joined, local
from wire.errors import PermanentError, TransientError

_ASK_S = 10.0


def run_up(
    directory: Path | None, gitops_url: str | None, *, as_json: bool, **ports: int | None
) -> int:
    """Start both processes, keep them running, stop them on SIGTERM or SIGINT."""
    settings = load(dir=directory, gitops_url=gitops_url, **ports)
    if not settings.gitops_url:
        raise PermanentError(
            "settings_invalid",
            "HOLDFAST_GITOPS_URL: there is no GitOps repository to watch",
            field="--gitops-url",
            accepted="a path, or a file, https or ssh address",
        )
    _ask(settings)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    node = Node(settings)
    tell("starting store and service …")
    try:
        said = node.start()
        passwords = Folder(node.settings.dir).passwords
        http = joined(settings.host, int(str(said["http_port"])))
        grpc = joined(settings.host, int(str(said["grpc_port"])))
        health = joined(local(settings.health_host), int(str(said["health_port"])))
        give(
            {"ready": True, **said, "analyst_user": "analyst"},
            as_json=as_json,
            text="\n".join(
                [
                    f"uploads      http://{http}/v1/telemetry",
                    f"gRPC         {grpc}",
                    f"health       http://{health}/readyz",
                    f"ClickHouse   http://127.0.0.1:{said['store_port']}  user analyst",
                    f"password     of analyst, in {passwords}",
                    f"config key   {said['release_config_key']}",
                    f"config root  {said['release_root']}",
                    *_try_out(node.settings),
                    "stop with Ctrl-C",
                ]
            ),
        )
        node.keep(stopped.is_set)
    finally:
        node.stop()
    return 0


def _try_out(settings: Settings) -> list[str]:
    """What a production node must not look like."""
    if not (Folder(settings.dir).signing / "tuf" / "try-out-root").exists():
        return []
    return [
        "TRY-OUT      the key of the config root lies on this node: who takes the node takes the",
        "             fleet. Before apps ship the root: docs/runbook.md, 'The root of releases'",
    ]


def _ask(settings: Settings) -> None:
    """Say at once, with address and reason, that the repository cannot be read; then go on.

    A node that has a good state works on without it, and the remote may come back.
    """
    soon = {"gitops_timeout_s": min(settings.gitops_timeout_s, _ASK_S)}
    settings = settings.model_copy(update=soon)
    with tempfile.TemporaryDirectory() as own:
        repository = repository_of(settings, Folder(Path(own)), "ask")
        try:
            repository.probe()
        except (PermanentError, TransientError) as error:
            tell(f"holdfast: the GitOps repository {repository.address} cannot be read: {error}")
            tell("uploads wait for a first good state; one that was read before stays in force")
