"""What the doors are made of, alone or inside a node."""

import fcntl
import os
from collections.abc import Callable

import numpy as np

from holdfast.config import Settings
from holdfast.folder import Folder, write_private
from holdfast.gitops import DesiredWatch
from ingest import signing
from ingest.attest import Everybody, SharedWord
from ingest.batch_key import NO_KEY, BatchKey, load_or_make, next_hour
from ingest.grant_quota import GrantLimits
from ingest.issue import IssueFolder
from ingest.online_key import OnlineKeys
from ingest.ports import Log
from ingest.quota import QuotaLimits
from ingest.receive import Receiver, ReceiveSettings
from ingest.releases import ReleaseConfigs
from ingest.serve import ServeSettings
from wire.errors import PermanentError
from wire.times import HOUR_MS


def make_receiver(
    settings: Settings,
    log: Log,
    desired: DesiredWatch,
    now_ms: Callable[[], int],
    *,
    batch_key: BatchKey = NO_KEY,
) -> Receiver:
    """The one path of uploads. Doors of one topic share the secret that they are told, or none."""
    told = settings.batch_key.get_secret_value()
    if told:
        batch_key = BatchKey(bytes.fromhex(told), settings.batch_key_since_ms)
    return Receiver(
        log=log,
        desired=desired,
        now_ms=now_ms,
        rng=np.random.default_rng(),
        settings=ReceiveSettings(writer=settings.writer, batch_key=batch_key),
    )


def make_releases(settings: Settings, folder: Folder, now_ms: int) -> ReleaseConfigs:
    """Release configs in both forms; on a new folder with a root of its own, for a try-out."""
    tuf = folder.signing / "tuf"
    keys = OnlineKeys(tuf, settings.release_key_uri, settings.release_key_pin.get_secret_value())
    keys.begin(now_ms)
    keys.signer()  # say now, not at the first phone, that the root names another key
    return ReleaseConfigs(
        signing.load_or_make(folder.signing / "release-config.pem"),
        IssueFolder(tuf / "apps"),
        keys,
        valid_ms=int(settings.release_valid_hours * HOUR_MS),
    )


def own_batch_key(folder: Folder, *, is_log_empty: bool, now_ms: int) -> BatchKey:
    """A node's own secret; what an earlier version has taken is found again without it."""
    first_ms = 0 if is_log_empty else next_hour(now_ms)
    return load_or_make(folder.batch_key, first_ms=first_ms, write=write_private)


def claim_writer(folder: Folder, writer: str) -> None:
    """Hold a writer's name in this folder until the process ends, however it ends.

    Doors of one folder are told apart by it: their clones lie under it, and a clock that jumps is
    believed once another name agrees. Raises PermanentError ``writer_in_use``.
    """
    descriptor = os.open(folder.gitops / f"{writer}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise PermanentError(
            "writer_in_use",
            f"another process on {folder.root} is called {writer}",
            field="writer",
            accepted="HOLDFAST_WRITER: a name of its own for each door",
        ) from error


def serve_settings(settings: Settings) -> ServeSettings:
    """Where ingest listens, and how much it takes."""
    word = settings.attestor_word.get_secret_value()
    return ServeSettings(
        host=settings.host,
        http_port=settings.http_port,
        grpc_port=settings.grpc_port,
        health_host=settings.health_host,
        health_port=settings.health_port,
        quota=QuotaLimits(settings.quota_uploads_s, settings.quota_bytes_s, settings.quota_burst_s),
        grants=GrantLimits(settings.grants_per_prefix, settings.grants_refill_h),
        attestor=SharedWord(word) if word else Everybody(),
        tick_s=settings.tick_s,
    )
