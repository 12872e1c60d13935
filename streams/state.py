"""The worker's own store: snapshots with the position they belong to, effects owed, dead letters.

One SQLite file, one transaction for what must hold together: a snapshot never lies about which
records it contains, and no verdict that must be acted on is forgotten between the two.
"""

import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from analytics.types import Verdict
from streams.dead_letters import DeadLetters
from streams.decide import Position

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS snapshot (part TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS position (
  partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL, log_time BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS effect (
  verdict_id TEXT PRIMARY KEY, verdict BLOB NOT NULL, taken INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS mark (
  partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL, log_id TEXT NOT NULL,
  mark BLOB NOT NULL);
"""


class Marked(NamedTuple):
    """Of which log a position is, and the mark of the record that lies there."""

    log_id: str
    mark: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State by part, and where every partition resumes under it, with what lies there."""

    parts: dict[str, bytes]
    positions: dict[int, Position]
    marks: dict[int, Marked] = field(default_factory=dict)


class StateStore:
    """May be used from several threads; every write is one durable transaction."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._saved: dict[str, bytes] = {}  # a part that is the same object is not written again
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # WAL so that readers never wait; FULL because a snapshot is a promise
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + _TABLES)
        self.letters = DeadLetters(self._db, self._lock)

    def load(self) -> Snapshot | None:
        """The newest snapshot, or None."""
        with self._lock:
            parts = dict(self._db.execute("SELECT part, body FROM snapshot").fetchall())
            rows = self._db.execute(
                "SELECT partition, next_offset, log_time FROM position"
            ).fetchall()
            marks = self._db.execute(
                "SELECT partition, log_id, mark FROM mark"
                " JOIN position USING (partition, next_offset)"
            ).fetchall()
        if not parts:
            return None
        return Snapshot(
            parts,
            {p: Position(o, msgspec.msgpack.decode(t)) for p, o, t in rows},
            {p: Marked(log_id, mark) for p, log_id, mark in marks},
        )

    def save(self, snapshot: Snapshot, effects: Iterable[Verdict]) -> None:
        """Replace what changed of the snapshot and owe the effects, together."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT OR REPLACE INTO snapshot VALUES (?, ?)",
                [(k, v) for k, v in snapshot.parts.items() if self._saved.get(k) is not v],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO position VALUES (?, ?, ?)",
                [
                    (p, at.offset, msgspec.msgpack.encode(at.log_time))
                    for p, at in snapshot.positions.items()
                ],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO mark VALUES (?, ?, ?, ?)",
                [(p, snapshot.positions[p].offset, *m) for p, m in snapshot.marks.items()],
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO effect (verdict_id, verdict) VALUES (?, ?)",
                [(v.verdict_id, msgspec.msgpack.encode(v)) for v in effects],
            )
            self._db.execute("COMMIT")
            self._saved = dict(snapshot.parts)

    def owed(self) -> list[Verdict]:
        """Verdicts that nobody has taken on yet, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT verdict FROM effect WHERE taken = 0 ORDER BY rowid"
            ).fetchall()
        return [msgspec.msgpack.decode(body, type=Verdict) for (body,) in rows]

    def taken(self, verdict_id: str) -> None:
        """Somebody else durably owns this effect now."""
        with self._lock:
            self._db.execute("UPDATE effect SET taken = 1 WHERE verdict_id = ?", (verdict_id,))

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()
