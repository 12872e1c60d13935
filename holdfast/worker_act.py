"""The act stage's world: clones of the GitOps repository, Slack, the log for control records."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from actions.git_rollback import Rollback
from actions.slack import Slack, SlackSettings
from holdfast.clock import now_ms
from holdfast.config import Settings
from holdfast.folder import Folder
from holdfast.outside import open_writer, repository_of
from holdfast.policy_check import age_check
from holdfast.worker_actor import GitOpsActor, World
from streams.kafka.broker import KafkaSettings
from streams.log.kafka import KafkaLog


def make_actor(
    settings: Settings, kafka: KafkaSettings, folder: Path
) -> tuple[GitOpsActor, Callable[[], Awaitable[None]]]:
    """The actor, and how its log is closed. Clones lie in the worker's own folder."""
    url = settings.slack_webhook_url.get_secret_value()
    log = KafkaLog(kafka, client_id=f"holdfast-{settings.worker_id}")
    own = Folder(folder)
    acting = repository_of(settings, own, "act", with_history=True)
    world = World(
        committer=Rollback(acting, np.random.default_rng()),
        acting=acting,
        messenger=Slack(SlackSettings(url)) if url else None,
        watched=repository_of(settings, own, "watch"),
        log=log,
        make_sink=lambda: open_writer(settings, Folder(settings.dir), now_ms()),
        now_ms=now_ms,
        poll_ms=int(settings.gitops_poll_s * 1000),
        writer=settings.worker_id,
        check=age_check(kafka),
    )
    return GitOpsActor(world), lambda: asyncio.to_thread(log.close)
