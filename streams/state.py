"""The worker's own store: snapshots with the position they belong to, effects owed, dead letters.

One SQLite file, one transaction for what must hold together: a snapshot never lies about which
records it contains, and no verdict that must be acted on is forgotten between the two.
"""

import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from analytics.types import Verdict
from streams.decide import Position
from streams.log.base import Record

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS position (
  partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL, log_time BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS effect (
  verdict_id TEXT PRIMARY KEY, verdict BLOB NOT NULL, taken INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS dead_letter (
  partition INTEGER, next_offset INTEGER, code TEXT NOT NULL, payload BLOB NOT NULL,
  PRIMARY KEY (partition, next_offset));
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Decider state, and where every partition resumes under it."""

    body: bytes
    positions: dict[int, Position]


class StateStore:
    """May be used from several threads; every write is one durable transaction."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # WAL so that readers never wait; FULL because a snapshot is a promise
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + _TABLES)

    def load(self) -> Snapshot | None:
        """The newest snapshot, or None."""
        with self._lock:
            found = self._db.execute("SELECT body FROM snapshot").fetchone()
            rows = self._db.execute(
                "SELECT partition, next_offset, log_time FROM position"
            ).fetchall()
        if found is None:
            return None
        return Snapshot(found[0], {p: Position(o, msgspec.msgpack.decode(t)) for p, o, t in rows})

    def save(self, snapshot: Snapshot, effects: Iterable[Verdict]) -> None:
        """Replace the snapshot and owe the effects, together."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?)", (snapshot.body,))
            self._db.executemany(
                "INSERT OR REPLACE INTO position VALUES (?, ?, ?)",
                [
                    (p, at.offset, msgspec.msgpack.encode(at.log_time))
                    for p, at in snapshot.positions.items()
                ],
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO effect (verdict_id, verdict) VALUES (?, ?)",
                [(v.verdict_id, msgspec.msgpack.encode(v)) for v in effects],
            )
            self._db.execute("COMMIT")

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

    def bury(self, letters: Iterable[tuple[Record, str]]) -> None:
        """Keep unreadable records with the reason. Twice is once."""
        with self._lock:
            self._db.executemany(
                "INSERT OR IGNORE INTO dead_letter VALUES (?, ?, ?, ?)",
                [(r.partition, r.offset, code, r.payload) for r, code in letters],
            )

    def dead_letters(self) -> int:
        """How many records are buried."""
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM dead_letter").fetchone()[0])

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()


def pack(state: object) -> bytes:
    """Plain values, dataclasses and numpy arrays as msgpack, bit for bit."""
    return msgspec.msgpack.encode(state, enc_hook=_encode_array)


def unpack(body: bytes) -> Any:  # noqa: ANN401  # the shape is the packer's
    """The inverse of `pack` for plain values and arrays."""
    return _decode_arrays(msgspec.msgpack.decode(body))


def _encode_array(value: object) -> object:
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return {"__text__": value.tolist()}
    if isinstance(value, np.ndarray):
        return {"__array__": [value.dtype.str, list(value.shape), value.tobytes()]}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"state holds a {type(value).__name__}")


def _decode_arrays(value: Any) -> Any:  # noqa: ANN401  # the shape is the packer's
    if isinstance(value, dict):
        if "__array__" in value:
            dtype, shape, body = value["__array__"]
            return np.frombuffer(body, dtype).reshape(shape).copy()
        if "__text__" in value:
            return np.array(value["__text__"])
        return {key: _decode_arrays(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode_arrays(item) for item in value]
    return value
