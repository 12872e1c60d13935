"""Can this version go on with what lies in a node's folder? Asked before anything listens.

An upload that gets a receipt on a folder whose state cannot be read is worth nothing, so a node
first looks at every file that it depends on: whole, and of a format that it reads.
"""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from holdfast.folder import Folder
from ingest.keys import KeyFile
from ingest.signing import load_or_make
from streams.log.sqlite import SqliteLog
from streams.resume import check_fits
from streams.snapshot import last_desired
from streams.state import StateStore
from wire.errors import PermanentError
from wire.segment import decode

_LOOK_BYTES: Final = 1  # one record


def check_folder(folder: Folder, *, partitions: int) -> None:
    """Look at every file that is there; nothing is made.

    Raises PermanentError ``file_unreadable``, ``log_format_unknown``, ``state_format_unknown``,
    ``log_replaced``, ``log_behind_position``, ``log_trimmed``, ``log_partitions_fixed``,
    ``key_file_invalid``, ``signing_key_invalid``.
    """
    for path in (folder.passwords, folder.store_credentials, folder.settings):
        if path.exists():
            _whole(path, lambda p=path: json.loads(p.read_text()))  # type: ignore[misc]  # of now
    if folder.keys.exists():
        _whole(folder.keys, lambda: KeyFile(folder.keys, now_ms=lambda: 0).listed())
    pem = folder.signing / "release-config.pem"
    if pem.exists():
        _whole(pem, lambda: load_or_make(pem))
    for path in (folder.state, folder.outbox, folder.log / "log.sqlite"):
        if path.exists():
            _whole(path, lambda p=path: _probe(p))  # type: ignore[misc]  # of now
    if (folder.log / "log.sqlite").exists():
        _check_log(folder, partitions)


def _check_log(folder: Folder, partitions: int) -> None:
    log = SqliteLog(folder.log, partitions=partitions, now_ms=lambda: 0)
    try:
        _check_records(folder, log)
        if folder.state.exists():
            state = StateStore(folder.state)
            try:
                last_desired(state)  # of a format that we read
                snapshot = state.load()
                if snapshot is not None:
                    check_fits(log, snapshot)
            finally:
                state.close()
    finally:
        log.close()


def _check_records(folder: Folder, log: SqliteLog) -> None:
    """One record that cannot be read is a dead letter; if none can, another version wrote them."""
    readable, unreadable = 0, 0
    for partition in range(log.partitions):
        start, end = log.start(partition), log.end(partition)
        for offset in {start, end - 1} if end > start else ():
            (record, *_) = log.read(partition, offset, bytes_max=_LOOK_BYTES)
            try:
                decode(record.payload)
            except PermanentError:
                unreadable += 1
            else:
                readable += 1
    if unreadable and not readable:
        raise PermanentError(
            "log_format_unknown",
            f"{folder.log}: this version reads none of the records looked at",
            accepted="the version that wrote it; let it store the whole log, then begin a new one",
        )


def _probe(path: Path) -> None:
    database = sqlite3.connect(path)
    try:
        database.execute("SELECT count(*) FROM sqlite_master").fetchall()
        database.execute("PRAGMA quick_check(1)" if path.stat().st_size < 1 << 24 else "SELECT 1")
    finally:
        database.close()


def _whole(path: Path, look: Callable[[], object]) -> None:
    """One line that names the file and the next step, whatever its reader trips over."""
    try:
        look()
    except PermanentError as error:
        raise PermanentError(
            error.code, f"{path}: {error.detail}", field=error.field, accepted=_NEXT
        ) from error
    except (OSError, ValueError, TypeError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise PermanentError(
            "file_unreadable", f"{path} cannot be read: {reason}", accepted=_NEXT
        ) from error


_NEXT: Final = "restore it from a backup; docs/architecture.md says what is lost without it"
