"""The embedded log: one SQLite file, WAL, one transaction per group commit.

Rows are addressed by one integer, ``partition << 40 | offset``, so that a record costs one
b-tree insert and a partition is one key range. Batch ids lie in a side table, written in the same
transaction, because they outlive the payloads.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from streams.log.base import Entry, Record, check_entries, other_partitions, trimmed
from wire.errors import PermanentError, TransientError

_OFFSET_BITS: Final = 40  # 2^40 records a partition: 34,000 years at one a second
_TRIM_RECORDS: Final = 64  # per transaction, so that an append never waits long for a trim
_PAGE_OF_IDS: Final = 512
_RESERVE_CHECK_MS: Final = 1000

_PRAGMAS: Final = (
    "PRAGMA page_size = 16384",  # segments are up to 256 KiB: a quarter of the overflow pages
    "PRAGMA journal_mode = WAL",  # one sequential write and one sync per commit; readers go on
    "PRAGMA synchronous = FULL",  # sync the WAL at every commit: a receipt means durable
    # 32 MiB of WAL: a checkpoint writes and syncs the main file, so it should be rare, but its
    # pause, the recovery after a crash, and the disk that the WAL takes all grow with it.
    "PRAGMA wal_autocheckpoint = 2048",
    "PRAGMA cache_size = -8192",  # 8 MiB; the log is written once and read once, in order
    "PRAGMA temp_store = MEMORY",
    "PRAGMA foreign_keys = OFF",  # there are none
)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS partitions (partition INTEGER PRIMARY KEY, start INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS batch_ids (
  id INTEGER PRIMARY KEY, arrived_ms INTEGER NOT NULL, ids BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS batch_ids_arrived ON batch_ids (arrived_ms);
CREATE TABLE IF NOT EXISTS pins (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_DELETE: Final = """
DELETE FROM records WHERE id IN
  (SELECT id FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?)
"""


class SqliteLog:
    """A durable `Log` in one folder. One process writes; `read_only` opens may watch.

    `reserve_bytes`: appends are refused while less than this is free, so that the disk is never
    full for those who still have to read and trim. `now_ms` paces the check.
    """

    def __init__(
        self,
        folder: Path,
        *,
        partitions: int,
        now_ms: Callable[[], int],
        reserve_bytes: int = 0,
        read_only: bool = False,
    ) -> None:
        self.partitions = partitions
        self._folder = folder
        self._now_ms = now_ms
        self._reserve_bytes = reserve_bytes
        self._checked_ms = -_RESERVE_CHECK_MS
        self._is_full = False
        self._closed = False
        self._read_only = read_only
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock_file = None if read_only else _lock(folder)
        try:
            self._writer = _connect(folder / "log.sqlite", read_only=read_only)
            if not read_only:
                for pragma in _PRAGMAS:
                    self._writer.execute(pragma).fetchall()
                self._writer.executescript(_SCHEMA)
            self._reader = _connect(folder / "log.sqlite", read_only=True)
            self._agree_on_partitions(partitions, read_only=read_only)
        except BaseException:
            self._unlock()
            raise
        self._ends = [self.end(partition) for partition in range(partitions)]

    def append(self, records: Sequence[Entry]) -> list[int]:
        check_entries(records, self.partitions)
        if not records:
            return []
        with self._write_lock:
            self._refuse_unless_writable()
            self._refuse_when_full()
            ends = self._ends.copy()
            offsets, rows, ids = [], [], []
            for record in records:
                offset = ends[record.partition]
                ends[record.partition] += 1
                offsets.append(offset)
                rows.append((_id(record.partition, offset), record.payload))
                if record.batch_ids:
                    ids.append((rows[-1][0], record.arrived_ms, record.batch_ids))
            self._transact(
                ("INSERT INTO records VALUES (?, ?)", rows),
                ("INSERT INTO batch_ids VALUES (?, ?, ?)", ids),
            )
            self._ends = ends  # only now: a refused group leaves no gap
            return offsets

    def read(self, partition: int, offset: int, *, bytes_max: int) -> list[Record]:
        found: list[Record] = []
        size = 0
        with self._reading():
            cursor = self._reader.execute(
                "SELECT id, payload FROM records WHERE id >= ? AND id < ? ORDER BY id",
                (_id(partition, offset), _id(partition + 1, 0)),
            )
            for record_id, payload in cursor:
                size += len(payload)
                if found and size > bytes_max:
                    break
                found.append(Record(partition, record_id - _id(partition, 0), payload))
            cursor.close()  # an open cursor would hold the WAL back
        # After the read: a trim that came in between shows itself as a gap or as nothing.
        if (not found or found[0].offset != offset) and offset < (start := self.start(partition)):
            raise trimmed(partition, offset, start)
        return found

    def start(self, partition: int) -> int:
        return self._number("SELECT start FROM partitions WHERE partition = ?", partition)

    def end(self, partition: int) -> int:
        newest = self._number(
            "SELECT coalesce(max(id), -1) FROM records WHERE id >= ? AND id < ?",
            _id(partition, 0),
            _id(partition + 1, 0),
        )
        return max(self.start(partition), newest - _id(partition, 0) + 1)

    def trim(self, partition: int, *, before: int) -> None:
        before = min(before, self.end(partition))
        if before <= self.start(partition):
            return
        first, last = _id(partition, 0), _id(partition, before)
        with self._write_lock:  # the start moves first: what is half deleted is never read
            self._transact(
                ("UPDATE partitions SET start = ? WHERE partition = ?", [(before, partition)])
            )
        while self._number("SELECT count(*) FROM records WHERE id >= ? AND id < ?", first, last):
            with self._write_lock:
                self._transact(
                    (
                        _DELETE,
                        [(first, last, _TRIM_RECORDS)],
                    )
                )

    def batch_ids(
        self, partition: int, *, before: int, since_ms: int
    ) -> Iterator[tuple[int, bytes]]:
        after, last = _id(partition, 0) - 1, _id(partition, before)
        while True:
            with self._reading():
                page = self._reader.execute(
                    "SELECT id, arrived_ms, ids FROM batch_ids"
                    " WHERE id > ? AND id < ? AND +arrived_ms >= ? ORDER BY id LIMIT ?",
                    (after, last, since_ms, _PAGE_OF_IDS),
                ).fetchall()
            yield from ((arrived_ms, ids) for _, arrived_ms, ids in page)
            if len(page) < _PAGE_OF_IDS:
                return
            after = page[-1][0]

    def drop_batch_ids(self, partition: int, offsets: Sequence[int]) -> None:
        rows = [(_id(partition, offset),) for offset in offsets]
        with self._write_lock:
            self._transact(("DELETE FROM batch_ids WHERE id = ?", rows))

    def forget_batch_ids(self, *, before_ms: int) -> None:
        ranges = [
            (before_ms, _id(partition, 0), _id(partition, self.start(partition)))
            for partition in range(self.partitions)
        ]
        with self._write_lock:
            self._transact(
                ("DELETE FROM batch_ids WHERE arrived_ms < ? AND id >= ? AND id < ?", ranges)
            )

    def pin(self, name: str, value: str) -> str:
        with self._write_lock:
            self._transact(("INSERT OR IGNORE INTO pins VALUES (?, ?)", [(name, value)]))
        stands = self.pinned(name)
        assert stands is not None, "said just now, or before"  # noqa: S101
        return stands

    def pinned(self, name: str) -> str | None:
        with self._reading():
            row = self._reader.execute("SELECT value FROM pins WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row is not None else None

    def close(self) -> None:
        with self._write_lock, self._read_lock:
            self._closed = True
            self._reader.close()
            self._writer.close()
            self._unlock()

    def _transact(self, *statements: tuple[str, Sequence[tuple[object, ...]]]) -> None:
        """All statements or none. The caller holds the write lock."""
        self._refuse_unless_writable()
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for sql, rows in statements:
                self._writer.executemany(sql, rows)
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
                raise _full() from error
            raise TransientError(
                "log_unavailable", f"SQLite: {type(error).__name__}", retry_after_s=5
            ) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._read_lock:
            if self._closed:
                raise ValueError("the log is closed")
            yield

    def _refuse_unless_writable(self) -> None:
        if self._closed or self._read_only:
            raise ValueError("the log is closed" if self._closed else "the log is open for reading")

    def _number(self, sql: str, *arguments: int) -> int:
        with self._reading():
            (number,) = self._reader.execute(sql, arguments).fetchone()
        return int(number)

    def _agree_on_partitions(self, partitions: int, *, read_only: bool) -> None:
        stands = self._number("SELECT count(*) FROM partitions")
        if not stands and not read_only:
            self._transact(
                ("INSERT INTO partitions VALUES (?, 0)", [(p,) for p in range(partitions)])
            )
        elif stands != partitions:
            raise other_partitions(stands, partitions)

    def _refuse_when_full(self) -> None:
        now_ms = self._now_ms()
        if abs(now_ms - self._checked_ms) >= _RESERVE_CHECK_MS:
            self._checked_ms = now_ms
            disk = os.statvfs(self._folder)
            # What a trim freed lies inside the file: writing there takes no more of the disk.
            (pages,) = self._writer.execute("PRAGMA freelist_count").fetchone()
            (page_bytes,) = self._writer.execute("PRAGMA page_size").fetchone()
            free_bytes = disk.f_bavail * disk.f_frsize + pages * page_bytes
            self._is_full = free_bytes < self._reserve_bytes
        if self._is_full:
            raise _full()

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def _id(partition: int, offset: int) -> int:
    return (partition << _OFFSET_BITS) | offset


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    return sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=32
    )


def _lock(folder: Path) -> int:
    """Hold the folder for one writer; the lock dies with the process."""
    descriptor = os.open(folder / "log.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise PermanentError("log_in_use", f"another process writes to {folder}") from error
    return descriptor


def _full() -> TransientError:
    return TransientError("log_full", "the disk's reserve is touched", retry_after_s=5)
