"""The durable list of effects: queued atomically, done at least once, each visible until reported.

An effect is known by (incident, action, subject); queueing it again is nothing. States live in
SQLite with full sync, so a crash at any moment leaves either the effect or the record of it.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from actions.gate import PastRollback
from actions.results import ActionResult, State
from wire.errors import PermanentError


class Action(StrEnum):
    """What an effect does."""

    ROLLBACK = "rollback"
    SLACK = "slack"
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing to do. `payload` is a verdict or a message as bytes; `subject` tells apart the
    messages of one incident.
    """

    incident_id: str
    action: Action
    payload: bytes
    subject: str = ""
    verdict_id: str = ""
    app_id: str = ""
    model_id: str = ""
    rollout_id: str = ""
    from_version: str = ""
    to_version: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """An effect and where it stands. `next_ms`: when to try (again); None: never."""

    effect: Effect
    result: ActionResult
    tries: int
    next_ms: int | None
    acted_ms: int
    revision: int


_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS effect (
  incident_id TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
  payload BLOB NOT NULL, verdict_id TEXT NOT NULL, app_id TEXT NOT NULL, model_id TEXT NOT NULL,
  rollout_id TEXT NOT NULL, from_version TEXT NOT NULL, to_version TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'queued', "commit" TEXT NOT NULL DEFAULT '',
  path TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '',
  tries INTEGER NOT NULL DEFAULT 0, next_ms INTEGER, acted_ms INTEGER NOT NULL,
  revision INTEGER NOT NULL DEFAULT 0, reported_revision INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (incident_id, action, subject)
) STRICT
"""
_EFFECT: Final = (
    "incident_id, action, payload, subject, verdict_id, app_id, model_id, rollout_id,"
    " from_version, to_version"
)
_SELECT: Final = (
    f'SELECT {_EFFECT}, state, "commit", path, detail, tries, next_ms, acted_ms, revision'  # noqa: S608 - constants
    " FROM effect "
)
_ORDER: Final = " ORDER BY acted_ms, rowid"


class Outbox:
    """One SQLite file, or (`path` None) memory that is durable where its `body` was published.

    `body` restores such an outbox; PermanentError ``outbox_unreadable`` if it is none. One thread
    at a time.
    """

    def __init__(self, path: Path | None, *, body: bytes = b"") -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(
            path or ":memory:", isolation_level=None, check_same_thread=False
        )
        try:
            if body:
                self._database.deserialize(body)
            self._database.execute("PRAGMA journal_mode=WAL")  # memory has none and says nothing
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.execute("PRAGMA busy_timeout=5000")
            self._database.execute(_SCHEMA)
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise PermanentError("outbox_unreadable", str(error)) from error

    @property
    def changes(self) -> int:
        """Grows with every row that is written."""
        return self._database.total_changes

    def body(self) -> bytes:
        """Everything, for the next life of an outbox in memory."""
        return self._database.serialize()

    def queue(self, effects: Iterable[Effect], *, now_ms: int) -> int:
        """Take all effects or none, durably; how many of them were new."""
        with _Transaction(self._database):
            return sum(self._insert(effect, now_ms) for effect in effects)

    def _insert(self, e: Effect, now_ms: int) -> int:
        taken = self._database.execute(
            f"INSERT INTO effect ({_EFFECT}, next_ms, acted_ms)"  # noqa: S608 - constants
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            (
                *(e.incident_id, e.action.value, e.payload, e.subject, e.verdict_id, e.app_id),
                *(e.model_id, e.rollout_id, e.from_version, e.to_version, now_ms, now_ms),
            ),
        )
        return taken.rowcount

    def due(self, now_ms: int, *, with_dry_runs: bool) -> list[Entry]:
        """What is to be done now, oldest first. `with_dry_runs`: also what was only rehearsed."""
        again = State.DRY_RUN if with_dry_runs else ""
        where = "WHERE next_ms <= ? OR (action = ? AND state = ?)"
        return self._entries(where, (now_ms, Action.ROLLBACK.value, again))

    def record(
        self,
        entry: Entry,
        result: ActionResult,
        *,
        now_ms: int,
        next_ms: int | None,
        then: Sequence[Effect] = (),
    ) -> None:
        """What came of it, and what follows from that, in one transaction."""
        effect = entry.effect
        with _Transaction(self._database):
            self._database.execute(
                'UPDATE effect SET state = ?, "commit" = ?, path = ?, detail = ?, next_ms = ?,'
                " tries = tries + 1, acted_ms = ?, revision = revision + ?"
                " WHERE incident_id = ? AND action = ? AND subject = ?",
                (
                    *(result.state.value, result.commit, result.path, result.detail, next_ms),
                    *(now_ms, int(result != entry.result)),
                    *(effect.incident_id, effect.action.value, effect.subject),
                ),
            )
            for following in then:
                self._insert(following, now_ms)

    def unreported(self) -> list[Entry]:
        """Entries that changed since they were last reported, oldest first."""
        return self._entries("WHERE revision > reported_revision", ())

    def mark_reported(self, entries: Iterable[Entry]) -> None:
        """The store holds these revisions durably; later ones stay unreported."""
        with _Transaction(self._database):
            self._database.executemany(
                "UPDATE effect SET reported_revision = ?"
                " WHERE incident_id = ? AND action = ? AND subject = ?",
                [
                    (e.revision, e.effect.incident_id, e.effect.action.value, e.effect.subject)
                    for e in entries
                ],
            )

    def past_rollbacks(self, *, since_ms: int) -> list[PastRollback]:
        """Committed rollbacks, for the gate."""
        where = "WHERE action = ? AND state = ? AND acted_ms >= ?"
        found = self._entries(where, (Action.ROLLBACK.value, State.DONE.value, since_ms))
        return [
            PastRollback(e.effect.incident_id, e.effect.app_id, e.effect.model_id, e.acted_ms)
            for e in found
        ]

    def entries(self) -> list[Entry]:
        """Everything, oldest first."""
        return self._entries("", ())

    def _entries(self, where: str, values: tuple[str | int, ...]) -> list[Entry]:
        rows = self._database.execute(_SELECT + where + _ORDER, values).fetchall()
        return [_entry(row) for row in rows]

    def close(self) -> None:
        """Release the file."""
        self._database.close()


def _entry(row: Sequence[str | int | bytes | None]) -> Entry:
    incident_id, action, payload, *names = row[:10]
    state, commit, path, detail = map(str, row[10:14])
    tries, next_ms, acted_ms, revision = row[14:]
    assert isinstance(payload, bytes)  # noqa: S101 - the table is STRICT
    effect = Effect(str(incident_id), Action(str(action)), payload, *map(str, names))
    result = ActionResult(State(state), commit, path, detail)
    again = int(next_ms) if isinstance(next_ms, int) else None
    return Entry(effect, result, _int(tries), again, _int(acted_ms), _int(revision))


def _int(value: str | int | bytes | None) -> int:
    assert isinstance(value, int)  # noqa: S101 - the table is STRICT
    return value


class _Transaction:
    """``BEGIN IMMEDIATE`` to ``COMMIT``; rolled back on any exception."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._database.execute("COMMIT" if kind is None else "ROLLBACK")
