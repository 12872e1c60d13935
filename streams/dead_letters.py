"""Records that could not be read: kept with the reason, given out, and appended again once mended.

They lie in the worker's state store. A request to replay is a row there, so that any process can
make it, before or while the node runs, and only the log's one writer appends.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Final, Protocol

from streams.log.base import Append, EmbeddedLog, Log
from streams.summarise import DeadLetter
from streams.usable import check_usable
from wire.errors import PermanentError
from wire.segment import Kind, decode

_READ_BYTES: Final = 8 << 20
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS dead_letter (
  partition INTEGER, next_offset INTEGER, code TEXT NOT NULL, payload BLOB NOT NULL,
  PRIMARY KEY (partition, next_offset));
"""
_COLUMNS: Final = {  # later ones: a table that is there gets them
    "log_time_ms": "INTEGER NOT NULL DEFAULT 0",
    "replayed": "INTEGER NOT NULL DEFAULT 0",
    "mended": "BLOB",  # what is to be appended; NULL: nobody asked
    "tried_from": "INTEGER",  # end of the partition before the first try to append it
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A buried record: which, why, how large, and the partition's log time when it was met."""

    partition: int
    offset: int
    code: str
    size_bytes: int
    log_time_ms: int
    is_replayed: bool


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes to append for a letter. `tried_from`: they may lie in the log from there on."""

    partition: int
    offset: int
    payload: bytes
    tried_from: int | None


class Notes(Protocol):
    """Remembers, durably, how far the replay of a letter has come."""

    def trying(self, request: Request, end: int) -> None:
        """The bytes are about to be appended at or after offset `end` of their partition."""

    def replayed(self, request: Request) -> None:
        """The bytes are in the log."""


class DeadLetters:
    """The letters of one state store; shares its connection and lock."""

    def __init__(self, db: sqlite3.Connection, lock: Lock) -> None:
        self._db, self._lock = db, lock
        db.executescript(_TABLE)
        there = {row[1] for row in db.execute("PRAGMA table_info(dead_letter)")}
        for name, kind in _COLUMNS.items():
            if name not in there:
                db.execute(f"ALTER TABLE dead_letter ADD COLUMN {name} {kind}")

    def bury(self, letters: Iterable[DeadLetter]) -> None:
        """Keep unreadable records with the reason. Twice is once."""
        rows = [
            (x.record.partition, x.record.offset, x.code, x.record.payload, x.log_time_ms)
            for x in letters
        ]
        with self._lock:
            self._db.executemany(
                "INSERT OR IGNORE INTO dead_letter"
                " (partition, next_offset, code, payload, log_time_ms) VALUES (?, ?, ?, ?, ?)",
                rows,
            )

    def waiting(self, partition: int) -> int:
        """How many letters of this partition were not replayed."""
        return self._count(
            "SELECT count(*) FROM dead_letter WHERE partition = ? AND NOT replayed", partition
        )

    def below(self, partition: int, offset: int) -> list[int]:
        """Offsets of this partition's letters before `offset`."""
        with self._lock:
            rows = self._db.execute(
                "SELECT next_offset FROM dead_letter WHERE partition = ? AND next_offset < ?",
                (partition, offset),
            ).fetchall()
        return [row[0] for row in rows]

    def meet_again(self, partition: int, offset: int) -> dict[int, str]:
        """Prepare to read records from `offset` on anew; codes by offset of those to bury as is.

        Letters that nobody asked to replay are forgotten: a record that can be read by now is
        taken, and one that cannot is buried again. What was replayed must not be taken as well.
        """
        there = (partition, offset)
        with self._lock:
            self._db.execute(
                "DELETE FROM dead_letter WHERE partition = ? AND next_offset >= ?"
                " AND NOT replayed AND mended IS NULL",
                there,
            )
            rows = self._db.execute(
                "SELECT next_offset, code FROM dead_letter"
                " WHERE partition = ? AND next_offset >= ?",
                there,
            ).fetchall()
        return dict(rows)

    def listed(self) -> list[Letter]:
        """Every letter, by partition and offset."""
        with self._lock:
            rows = self._db.execute(
                "SELECT partition, next_offset, code, length(payload), log_time_ms, replayed"
                " FROM dead_letter ORDER BY partition, next_offset"
            ).fetchall()
        return [Letter(p, at, code, size, ms, bool(done)) for p, at, code, size, ms, done in rows]

    def payload(self, partition: int, offset: int) -> bytes:
        """The bytes as they were read."""
        with self._lock:
            row = self._db.execute(
                "SELECT payload FROM dead_letter WHERE partition = ? AND next_offset = ?",
                (partition, offset),
            ).fetchone()
        return bytes(row[0])

    def request(self, partition: int, offset: int, payload: bytes) -> bool:
        """Ask for these bytes in place of the letter; False if it was asked for or is done."""
        sql = (
            "UPDATE dead_letter SET mended = ? WHERE partition = ? AND next_offset = ?"
            " AND NOT replayed AND mended IS NULL"
        )
        return self._change(sql, payload, partition, offset)

    def requested(self) -> list[Request]:
        """What is to be appended, by partition and offset."""
        with self._lock:
            rows = self._db.execute(
                "SELECT partition, next_offset, mended, tried_from FROM dead_letter"
                " WHERE mended IS NOT NULL AND NOT replayed ORDER BY partition, next_offset"
            ).fetchall()
        return [Request(*row) for row in rows]

    def trying(self, request: Request, end: int) -> None:
        """The bytes are about to be appended at or after offset `end` of their partition."""
        sql = "UPDATE dead_letter SET tried_from = ? WHERE partition = ? AND next_offset = ?"
        self._change(sql, end, request.partition, request.offset)

    def replayed(self, request: Request) -> None:
        """The bytes are in the log."""
        sql = (
            "UPDATE dead_letter SET replayed = 1, mended = NULL"
            " WHERE partition = ? AND next_offset = ?"
        )
        self._change(sql, request.partition, request.offset)

    def refuse(self, request: Request) -> None:
        """The bytes cannot be read either: forget the request, keep the letter."""
        sql = "UPDATE dead_letter SET mended = NULL WHERE partition = ? AND next_offset = ?"
        self._change(sql, request.partition, request.offset)

    def _change(self, sql: str, *arguments: object) -> bool:
        with self._lock:
            return self._db.execute(sql, arguments).rowcount > 0

    def _count(self, sql: str, *arguments: object) -> int:
        with self._lock:
            return int(self._db.execute(sql, arguments).fetchone()[0])


def replay_requested(letters: DeadLetters, log: EmbeddedLog) -> int:
    """Append what was asked for; how many letters are done now.

    The state store and the log are two files: a crash between them is settled by looking whether
    the bytes lie in the log since the first try. Raises TransientError when the log takes nothing.
    """
    done = 0
    for request in letters.requested():
        try:
            append_once(letters, request, log)
        except PermanentError:
            letters.refuse(request)
        else:
            done += 1
    return done


def append_once(notes: Notes, request: Request, log: Log) -> None:
    """Append mended bytes unless they lie in the log since the first try, and note it.

    Raises what `entry_of` raises, before anything is written.
    """
    entry = entry_of(request.partition, request.payload)
    if request.tried_from is None:
        notes.trying(request, log.end(request.partition))
    if request.tried_from is None or not _is_in_log(request, request.tried_from, log):
        log.append([entry])
    notes.replayed(request)


def entry_of(partition: int, payload: bytes) -> Append:
    """A mended segment as a record, if the stages will take it: else it would be buried again.

    Raises PermanentError ``segment_undecodable``, ``segment_inconsistent``.
    """
    segment = decode(payload)
    check_usable(segment)
    ids = segment.uploads["batch_id"].tobytes() if segment.kind is Kind.TELEMETRY else b""
    return Append(partition, payload, segment.arrived_ms, ids)


def _is_in_log(request: Request, start: int, log: Log) -> bool:
    at = max(start, log.start(request.partition))
    while records := log.read(request.partition, at, bytes_max=_READ_BYTES):
        if any(record.payload == request.payload for record in records):
            return True
        at = records[-1].offset + 1
    return False
