"""The cluster's DDL is the single node's, replicated and sharded by the whole key."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from store.cluster import on_cluster
from store.migrate import cluster_ddl, migrate, shipped
from store.tables import KEYS
from wire.errors import PermanentError

LEFT_BEHIND = {"cost_day"}  # carried over into another table by a later migration
GOLDEN = Path(__file__).parents[2] / "golden" / "store" / "cluster.sql"


class RecordingStatements:
    """A new cluster: it has nothing, and remembers what it is told."""

    def __init__(self, ledger: int = 0) -> None:
        self.told: list[str] = []
        self._ledger = ledger

    def command(self, sql: str) -> None:
        self.told.append(sql)

    def rows(self, sql: str) -> Sequence[Sequence[object]]:
        return [(self._ledger,)] if "system.tables" in sql else []


def test_the_cluster_ddl_is_the_frozen_one() -> None:
    assert cluster_ddl("holdfast") == GOLDEN.read_text("utf-8"), (
        "if the change is wanted: python -m tests.golden.store.update"
    )


def test_a_row_s_shard_depends_on_its_whole_key_and_on_nothing_else() -> None:
    text = cluster_ddl("holdfast")

    shards = re.findall(r"'hf_store', '(\w+)_local',\n +cityHash64\((.*?)\)\)", text)

    keys = {table: tuple(key.split(", ")) for table, key in shards if table not in LEFT_BEHIND}
    assert keys == dict(KEYS)


def test_every_table_is_replicated_under_a_path_of_its_own() -> None:
    text = cluster_ddl("holdfast")

    paths = re.findall(r"ReplicatedReplacingMergeTree\('([^']+)', '[^']+'\)", text)

    assert len(paths) == len(set(paths)) == len(KEYS) + len(LEFT_BEHIND) + 1
    assert not re.search(r"ENGINE = ReplacingMergeTree\b", text)


def test_every_statement_reaches_every_server() -> None:
    statements = cluster_ddl("a-name").split(";\n\n")[:-1]

    copies = [s for s in statements if s.startswith("INSERT INTO")]
    assert all("insert_distributed_sync = 1" in copy for copy in copies)
    assert all("ON CLUSTER 'a-name'" in s for s in statements if s not in copies)


def test_a_statement_of_unknown_form_is_refused_and_not_run_on_one_server() -> None:
    with pytest.raises(PermanentError) as refused:
        on_cluster("ALTER TABLE hf_store.verdict ADD COLUMN x UInt8", "holdfast")

    assert refused.value.code == "ddl_not_clustered"


def test_migrating_a_cluster_keeps_the_checksums_of_the_files() -> None:
    store = RecordingStatements()

    done = migrate(store, now_ms=1, app_version="test", cluster="holdfast")

    assert done == [m.name for m in shipped()]
    ledger = "\n".join(s for s in store.told if s.startswith("INSERT"))
    assert all(m.checksum in ledger for m in shipped())


def test_a_start_without_migrations_needs_no_ddl() -> None:
    store = RecordingStatements(ledger=1)

    migrate(store, now_ms=1, app_version="test", migrations=[], cluster="holdfast")

    assert store.told == []
