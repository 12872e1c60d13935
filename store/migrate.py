"""Migrations: numbered SQL files, forward only, checksummed, safe to rerun after dying anywhere.

Every statement can be run twice (``IF NOT EXISTS``, ``CREATE OR REPLACE``) and a file is recorded
only after its last one, so a run that died in the middle is simply run again. A file that was
applied must never change: another checksum is refused, by name.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, Protocol

from store.cluster import on_cluster
from wire.errors import PermanentError

LEDGER: Final = (
    "CREATE DATABASE IF NOT EXISTS hf_store",
    """CREATE TABLE IF NOT EXISTS hf_store.schema_migrations
(
    `id` UInt32,
    `checksum` String,
    `applied_at` DateTime64(3, 'UTC'),
    `app_version` String
)
ENGINE = ReplacingMergeTree
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Which migrations were applied, and the SHA-256 of each file.'""",
)
_LEDGER_STANDS: Final = (
    "SELECT count() FROM system.tables WHERE database = 'hf_store' AND name = 'schema_migrations'"
)
_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class Statements(Protocol):
    """Runs statements in the store; `store.client.Client` is one."""

    def command(self, sql: str) -> None:
        """Run a statement that gives no rows."""

    def rows(self, sql: str) -> Sequence[Sequence[object]]:
        """Run a query; its rows."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name, its text."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self) -> list[str]:
        """Its statements in order; each ends with a semicolon at the end of a line."""
        bare = re.sub(r"^--[^\n]*\n", "", self.sql, flags=re.MULTILINE)
        return [s.strip() for s in re.split(r";[ \t]*(?:\n|$)", bare) if s.strip()]


def shipped() -> list[Migration]:
    """The migrations of this version, in order, without gaps."""
    found = [
        Migration(int(match.group(1)), entry.name, entry.read_text("utf-8"))
        for entry in files("store").joinpath("migrations").iterdir()
        if (match := _NAME.fullmatch(entry.name))
    ]
    return sorted(found, key=lambda m: m.number)


def check_schema(store: Statements) -> None:
    """Can this version go on with what was applied? Changes nothing.

    Raises PermanentError ``migration_edited`` or ``schema_newer``.
    """
    if _has_ledger(store):
        _check(shipped(), _applied(store))


def _has_ledger(store: Statements) -> bool:
    return bool(int(str(store.rows(_LEDGER_STANDS)[0][0])))


def _applied(store: Statements) -> dict[int, str]:
    found = store.rows("SELECT id, checksum FROM hf_store.schema_migrations FINAL")
    return {int(str(number)): str(checksum) for number, checksum in found}


def migrate(
    store: Statements,
    *,
    now_ms: int,
    app_version: str,
    migrations: Iterable[Migration] | None = None,
    cluster: str = "",
) -> list[str]:
    """Apply what is missing; the names of the files applied now.

    `cluster` is the name under which ClickHouse knows all servers of the store; empty: there is
    one. Raises PermanentError ``migration_edited`` or ``schema_newer``.
    """
    wanted = list(shipped() if migrations is None else migrations)
    if [m.number for m in wanted] != list(range(1, len(wanted) + 1)):
        raise PermanentError("migration_gap", "migrations must be numbered from 1 without gaps")
    if not _has_ledger(store):  # DDL needs all servers, a start should not
        for statement in rendered(LEDGER, cluster):
            store.command(statement)
    applied = _applied(store)
    _check(wanted, applied)
    done = []
    for migration in wanted:
        if migration.number in applied:
            continue
        for statement in rendered(migration.statements(), cluster):
            store.command(statement)
        store.command(
            "INSERT INTO hf_store.schema_migrations (id, checksum, applied_at, app_version) "
            f"SELECT {migration.number}, '{migration.checksum}', "
            f"fromUnixTimestamp64Milli({now_ms:d}), '{_plain(app_version)}'"
        )
        done.append(migration.name)
    return done


def rendered(statements: Iterable[str], cluster: str) -> list[str]:
    """What is run on the store: the statements themselves, or their form for a cluster."""
    return [
        each
        for statement in statements
        for each in (on_cluster(statement, cluster) if cluster else [statement])
    ]


def cluster_ddl(cluster: str) -> str:
    """Everything that a new cluster is given, in order, as one text."""
    every = [*LEDGER, *(s for m in shipped() for s in m.statements())]
    return "".join(f"{statement};\n\n" for statement in rendered(every, cluster))


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]", "", text)


def _check(wanted: Sequence[Migration], applied: dict[int, str]) -> None:
    for migration in wanted:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise PermanentError(
                "migration_edited",
                f"{migration.name} was changed after it had been applied",
                accepted="the file as released; put the change into a new migration",
            )
    if newer := sorted(set(applied) - {m.number for m in wanted}):
        raise PermanentError(
            "schema_newer",
            f"the store has migrations {newer} that this version does not know",
            accepted="the version that applied them, or a later one",
        )
