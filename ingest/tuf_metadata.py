"""TUF metadata of one app: timestamp, snapshot and targets around its release config.

One repository an app: an app's phones see neither other apps' names nor when they change. All have
the same root, so what is of another app fits by signature; the target's name and versions that no
two repositories of a node share tell them apart.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, TypeVar

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from ingest.root_folder import COMPACT
from wire.times import DAY_MS

_WHOLE_MS: Final = 60 * DAY_MS
"""How long snapshot and targets are good; that nothing newer exists is the timestamp's to say."""
_ALGORITHM: Final = "sha256"
_Role = TypeVar("_Role", Targets, Snapshot, Timestamp)


@dataclass(frozen=True, slots=True)
class Whole:
    """Snapshot and targets of one content: renewed with it, or when half of their time is over."""

    version: int
    expires_ms: int
    snapshot: bytes
    targets: bytes

    def is_fresh(self, now_ms: int) -> bool:
        """Whether a new timestamp may still vouch for it."""
        return now_ms + _WHOLE_MS // 2 < self.expires_ms <= now_ms + _WHOLE_MS


def target_path(app_id: str) -> str:
    """The name of an app's release config in its repository."""
    return f"{app_id}.json"


def target_name(app_id: str, content: bytes) -> str:
    """The file that a client asks for: consistent snapshots put the digest before the name."""
    return f"{sha256(content).hexdigest()}.{target_path(app_id)}"


def sign_whole(signer: Signer, app_id: str, content: bytes, *, version: int, now_ms: int) -> Whole:
    """Targets that name this content, and the snapshot that names these targets."""
    expires_ms = now_ms + _WHOLE_MS
    path = target_path(app_id)
    listed = {path: TargetFile.from_data(path, content, [_ALGORITHM])}
    targets = _signed(Targets(version, expires=_time(expires_ms), targets=listed), signer)
    meta = {"targets.json": MetaFile.from_data(version, targets, [_ALGORITHM])}
    snapshot = _signed(Snapshot(version, expires=_time(expires_ms), meta=meta), signer)
    return Whole(version, expires_ms, snapshot, targets)


def sign_timestamp(signer: Signer, whole: Whole, *, version: int, expires_ms: int) -> bytes:
    """That this is the newest, until it expires."""
    meta = MetaFile.from_data(whole.version, whole.snapshot, [_ALGORITHM])
    made = Timestamp(version, expires=_time(expires_ms), snapshot_meta=meta)
    return _signed(made, signer)


def _signed(signed: _Role, signer: Signer) -> bytes:
    made = Metadata(signed)
    made.sign(signer)
    return made.to_bytes(COMPACT)


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC)
