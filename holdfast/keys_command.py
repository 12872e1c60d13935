"""``holdfast keys``: who may write."""

from pathlib import Path

from holdfast.clock import now_ms
from holdfast.config import load
from holdfast.folder import Folder
from ingest.keys import KeyFile
from wire.times import HOUR_MS


def key_file(directory: Path | None) -> KeyFile:
    """The keys of a node's folder, made if there is none."""
    folder = Folder(load(dir=directory).dir)
    folder.create()
    return KeyFile(folder.keys, now_ms=now_ms)


def create(directory: Path | None, app_id: str) -> dict[str, object]:
    """A new key for an app; shown once."""
    return {"app": app_id, "key": key_file(directory).create(app_id)}


def rotate(directory: Path | None, key_id: str, overlap_hours: float) -> dict[str, object]:
    """A successor; the old key works on for the overlap."""
    key = key_file(directory).rotate(key_id, overlap_ms=int(overlap_hours * HOUR_MS))
    return {"replaces": key_id, "key": key, "overlap_hours": overlap_hours}


def revoke(directory: Path | None, key_id: str) -> dict[str, object]:
    """Stop a key within seconds."""
    key_file(directory).revoke(key_id)
    return {"revoked": key_id}


def listed(directory: Path | None) -> list[dict[str, object]]:
    """Every key's id, app and times; never a secret."""
    return [
        {
            "id": key.key_id,
            "app": key.app_id,
            "created_ms": key.created_ms,
            "expires_ms": key.expires_ms,
        }
        for key in key_file(directory).listed()
    ]
