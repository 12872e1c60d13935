"""Joins the rooms: settings in, running parts out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from actions.git_rollback import Rollback
from actions.outbox import Outbox
from actions.perform import Performer
from actions.repository import Repository
from actions.slack import Slack, SlackSettings
from holdfast.config import Settings
from holdfast.doors import make_releases
from holdfast.folder import Folder
from holdfast.outside import repository_of
from ingest.keys import KeyFile
from ingest.releases import ReleaseConfigs
from streams.local_worker import WorkerSettings
from streams.log.sqlite import SqliteLog
from wire.desired import Policy
from wire.times import HOUR_MS


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service runs on."""

    log: SqliteLog
    keys: KeyFile
    releases: ReleaseConfigs
    performer: Performer
    watched: Repository
    acting: Repository  # the performer's, with the history


def make_parts(settings: Settings, folder: Folder, now_ms: Callable[[], int]) -> Parts:
    """Open everything that lies in the folder."""
    url = settings.slack_webhook_url.get_secret_value()
    acting = repository_of(settings, folder, "act", with_history=True)
    return Parts(
        log=SqliteLog(
            folder.log,
            partitions=settings.partitions,
            now_ms=now_ms,
            reserve_bytes=settings.disk_reserve_mb << 20,
        ),
        keys=KeyFile(folder.keys, now_ms=now_ms),
        releases=make_releases(settings, folder, now_ms()),
        performer=Performer(
            Outbox(folder.outbox),
            Rollback(acting, np.random.default_rng()),
            Slack(SlackSettings(url)) if url else None,
        ),
        watched=repository_of(settings, folder, "watch"),
        acting=acting,
    )


def worker_settings(settings: Settings, folder: Folder, policy: Policy) -> WorkerSettings:
    """The stages' clocks."""
    return WorkerSettings(
        window_ms=policy.window_ms,
        horizon_ms=policy.accepted_age_ms,
        retention_ms=int(settings.retention_hours * HOUR_MS),
        dedup_folder=folder.dedup,
        dead_letters_max=settings.dead_letters_max,
    )
