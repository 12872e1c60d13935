"""Records that could not be read: kept with the reason, then replayed once mended, or discarded.

They lie in the worker's state store. A request to replay is a row there, so that any process can
make it, before or while the node runs, and only the log's one writer appends.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Final

from streams.summarise import DeadLetter

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
    "discarded": "TEXT",  # why; NULL: it was not
}
_AT: Final = " WHERE partition = ? AND next_offset = ?"
_WAITS: Final = " AND NOT replayed AND discarded IS NULL"
_UNASKED: Final = _WAITS + " AND mended IS NULL"
_COUNT: Final = "SELECT count(*) FROM dead_letter WHERE partition = ?" + _WAITS  # noqa: S608
_FORGET: Final = (
    "DELETE FROM dead_letter WHERE partition = ? AND next_offset >= ?" + _UNASKED  # noqa: S608
)
_PAYLOAD: Final = "SELECT payload FROM dead_letter" + _AT  # noqa: S608
_DISCARD: Final = "UPDATE dead_letter SET discarded = ?" + _AT + _UNASKED  # noqa: S608
Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A buried record: which, why, how large, and the partition's log time when it was met.

    `discarded` is why somebody gave it up, None if nobody did.
    """

    partition: int
    offset: int
    code: str
    size_bytes: int
    log_time_ms: int
    is_replayed: bool = False
    discarded: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do about it."""
        return self.is_replayed or self.discarded is not None


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes to append for a letter. `tried_from`: they may lie in the log from there on."""

    partition: int
    offset: int
    payload: bytes
    tried_from: int | None


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
        """How many letters of this partition were neither replayed nor discarded."""
        return self._count(_COUNT, partition)

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

        Letters that nobody did anything about are forgotten: a record that can be read by now is
        taken, and one that cannot is buried again. What was replayed or discarded is not taken.
        """
        there = (partition, offset)
        with self._lock:
            self._db.execute(_FORGET, there)
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
                "SELECT partition, next_offset, code, length(payload), log_time_ms, replayed,"
                " discarded FROM dead_letter ORDER BY partition, next_offset"
            ).fetchall()
        return [
            Letter(p, at, code, size, ms, bool(done), reason)
            for p, at, code, size, ms, done, reason in rows
        ]

    def payload(self, partition: int, offset: int) -> bytes:
        """The bytes as they were read."""
        with self._lock:
            row = self._db.execute(_PAYLOAD, (partition, offset)).fetchone()
        return bytes(row[0])

    def request(self, partition: int, offset: int, payload: bytes) -> bool:
        """Ask for these bytes in place of the letter; False if it was asked for or is settled."""
        return self._change("mended = ?" + _AT + _UNASKED, payload, partition, offset)

    def discard(self, places: Iterable[Place], reason: str) -> set[Place]:
        """Give letters up for good, together: those for which nobody asked a replay."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            done = {at for at in places if self._db.execute(_DISCARD, (reason, *at)).rowcount}
            self._db.execute("COMMIT")
        return done

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
        self._change("tried_from = ?" + _AT, end, request.partition, request.offset)

    def replayed(self, request: Request) -> None:
        """The bytes are in the log."""
        self._change("replayed = 1, mended = NULL" + _AT, request.partition, request.offset)

    def refuse(self, request: Request) -> None:
        """The bytes cannot be read either: forget the request, keep the letter."""
        self._change("mended = NULL" + _AT, request.partition, request.offset)

    def _change(self, what: str, *arguments: object) -> bool:
        sql = "UPDATE dead_letter SET " + what  # noqa: S608  # of the constants of this module
        with self._lock:
            return self._db.execute(sql, arguments).rowcount > 0

    def _count(self, sql: str, *arguments: object) -> int:
        with self._lock:
            return int(self._db.execute(sql, arguments).fetchone()[0])
