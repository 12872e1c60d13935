"""Joins the rooms: settings in, running parts out."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from actions.git_command import GitSettings
from actions.git_rollback import Rollback
from actions.outbox import Outbox
from actions.perform import Performer
from actions.repository import Repository
from actions.slack import Slack, SlackSettings
from holdfast.config import Settings, git_environment
from holdfast.folder import Folder
from holdfast.gitops import DesiredWatch
from ingest.keys import KeyFile
from ingest.ports import Log
from ingest.receive import Receiver, ReceiveSettings
from ingest.releases import ReleaseConfigs
from ingest.serve import ServeSettings
from ingest.signing import load_or_make
from store.client import StoreSettings, connect
from store.migrate import migrate
from store.pace import Pace
from store.writer import Writer
from streams.local_worker import WorkerSettings
from streams.log.sqlite import SqliteLog
from wire.desired import Policy
from wire.errors import PermanentError

VERSION = "0.1.0"
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service runs on."""

    log: SqliteLog
    keys: KeyFile
    releases: ReleaseConfigs
    performer: Performer
    watched: Repository


def make_parts(settings: Settings, folder: Folder, now_ms: Callable[[], int]) -> Parts:
    """Open everything that lies in the folder."""
    url = settings.slack_webhook_url.get_secret_value()
    return Parts(
        log=SqliteLog(
            folder.log,
            partitions=settings.partitions,
            now_ms=now_ms,
            reserve_bytes=settings.disk_reserve_mb << 20,
        ),
        keys=KeyFile(folder.keys, now_ms=now_ms),
        releases=ReleaseConfigs(load_or_make(folder.signing / "release-config.pem")),
        performer=Performer(
            Outbox(folder.outbox),
            Rollback(repository_of(settings, folder, "act"), np.random.default_rng()),
            Slack(SlackSettings(url)) if url else None,
        ),
        watched=repository_of(settings, folder, "watch"),
    )


def repository_of(settings: Settings, folder: Folder, name: str) -> Repository:
    """The GitOps repository, with a clone of its own for one thread."""
    if not settings.gitops_url:
        raise PermanentError(
            "settings_invalid",
            "HOLDFAST_GITOPS_URL: there is no GitOps repository to watch",
            field="gitops_url",
            accepted="a path, or a file, https or ssh address",
        )
    return Repository(
        GitSettings(
            remote=settings.gitops_url,
            branch=settings.gitops_branch,
            folder=folder.gitops / name,
            environment=git_environment(),
            authorization=settings.gitops_authorization.get_secret_value(),
        )
    )


def make_receiver(
    settings: Settings, log: Log, desired: DesiredWatch, now_ms: Callable[[], int]
) -> Receiver:
    """The one path of uploads."""
    return Receiver(
        log=log,
        desired=desired,
        now_ms=now_ms,
        rng=np.random.default_rng(),
        settings=ReceiveSettings(writer=settings.writer),
    )


def serve_settings(settings: Settings) -> ServeSettings:
    """Where ingest listens."""
    return ServeSettings(
        host=settings.host,
        http_port=settings.http_port,
        grpc_port=settings.grpc_port,
        tick_s=settings.tick_s,
    )


def worker_settings(settings: Settings, folder: Folder, policy: Policy) -> WorkerSettings:
    """The stages' clocks."""
    return WorkerSettings(
        window_ms=policy.window_ms,
        horizon_ms=policy.accepted_age_ms,
        retention_ms=int(settings.retention_hours * _HOUR_MS),
        dedup_folder=folder.dedup,
        dead_letters_max=settings.dead_letters_max,
    )


def open_writer(settings: Settings, folder: Folder, now_ms: int) -> Writer:
    """A writer of a store that answers and has every table; TransientError if it is away."""
    pace = Pace()
    client = connect(store_settings(settings, folder), on_retry=pace.failed)
    migrate(client, now_ms=now_ms, app_version=VERSION, cluster=settings.store_cluster)
    return Writer(client, pace)


def store_settings(settings: Settings, folder: Folder, *, role: str = "writer") -> StoreSettings:
    """How the store is reached: the own one, or a ClickHouse server."""
    if settings.store_url:
        url = urlsplit(settings.store_url)
        return StoreSettings(
            host=url.hostname or "127.0.0.1",
            port=url.port or (8443 if url.scheme == "https" else 8123),
            user=settings.store_user,
            password=settings.store_password.get_secret_value(),
            secure=url.scheme == "https",
            cluster=settings.store_cluster,
        )
    return StoreSettings(
        host="127.0.0.1",
        port=settings.store_port,
        user="holdfast" if role == "writer" else role,
        password=folder.store_passwords()[role],
    )
