"""The single-node DDL as a cluster's: replicated on every shard, one Distributed table before them.

Rendered from the migrations' own text, so there is one schema, and a migration's checksum is the
same on a laptop and on a cluster. For a table ``hf_store.t``:

* ``hf_store.t_local``: ReplicatedReplacingMergeTree, the text of the migration otherwise;
* ``hf_store.t``: Distributed over it. The sharding key is the whole sorting key: the same key
  always comes to the same shard, where ReplacingMergeTree can make one row of two.

Views, queries and inserts name ``hf_store.t`` and need not know. Macros ``{shard}`` and
``{replica}`` must be set on every server, as operators have them. The ledger of migrations is one
replicated table over all servers, so each of them gives the same answer.
"""

import re
from typing import Final

from wire.errors import PermanentError

_DATABASE: Final = re.compile(r"CREATE DATABASE IF NOT EXISTS \w+")
_VIEW: Final = re.compile(r"CREATE OR REPLACE VIEW \w+\.\w+")
_TABLE: Final = re.compile(
    r"CREATE TABLE IF NOT EXISTS (?P<database>\w+)\.(?P<name>\w+)\n(?P<columns>\(.*?\n\))\n"
    r"ENGINE = ReplacingMergeTree\n(?P<rest>.*)",
    re.DOTALL,
)
_CLEANUP: Final = re.compile(r"ALTER TABLE \w+\.\w+ MODIFY SETTING cleanup_delay_period = ")
_COLUMN: Final = re.compile(r"ALTER TABLE (\w+\.\w+) (ADD COLUMN IF NOT EXISTS .*)", re.DOTALL)
_COPY: Final = re.compile(r"INSERT INTO \w+\.\w+\n")
_KEY: Final = re.compile(r"^ORDER BY (\([^)]*\)|\w+)$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^COMMENT '[^']*'", re.MULTILINE)

INSERT_SETTINGS: Final = {"insert_distributed_sync": 1}
"""An insert is answered when every shard has it. (The name that old and new servers know.)"""


def on_cluster(statement: str, cluster: str) -> list[str]:
    """The statements that do on every server of `cluster` what `statement` does on one.

    How often a server cleans up is its operators' matter: replicas ask Keeper for it each time.
    Raises PermanentError ``ddl_not_clustered`` for a form that is not known here.
    """
    where = f" ON CLUSTER '{cluster}'"
    for pattern in (_DATABASE, _VIEW):
        if match := pattern.match(statement):
            return [match.group(0) + where + statement[match.end() :]]
    if _CLEANUP.match(statement):
        return []
    if match := _COLUMN.fullmatch(statement):
        table, change = match.groups()
        return [f"ALTER TABLE {each}{where} {change}" for each in (f"{table}_local", table)]
    if _COPY.match(statement):
        return [f"{statement}\nSETTINGS insert_distributed_sync = 1"]
    match = _TABLE.fullmatch(statement)
    key = _KEY.search(statement)
    comment = _COMMENT.search(statement)
    if match is None or key is None or comment is None:
        raise PermanentError(
            "ddl_not_clustered",
            f"no cluster form of: {statement.splitlines()[0]}",
            accepted="CREATE DATABASE, VIEW, TABLE ... ReplacingMergeTree, ADD COLUMN",
        )
    table = f"{match['database']}.{match['name']}"
    if match["name"] == "schema_migrations":
        path = f"/clickhouse/tables/{match['database']}/{match['name']}"
        return [_replicated(match, table, where, path, "{shard}-{replica}")]
    path = f"/clickhouse/tables/{{shard}}/{match['database']}/{match['name']}"
    columns = " ".join(key.group(1).strip("()").split())
    return [
        _replicated(match, f"{table}_local", where, path, "{replica}"),
        f"CREATE TABLE IF NOT EXISTS {table}{where} AS {table}_local\n"
        f"ENGINE = Distributed('{cluster}', '{match['database']}', '{match['name']}_local',\n"
        f"    cityHash64({columns}))\n"
        f"{comment.group(0)}",
    ]


def _replicated(match: re.Match[str], table: str, where: str, path: str, replica: str) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {table}{where}\n{match['columns']}\n"
        f"ENGINE = ReplicatedReplacingMergeTree('{path}', '{replica}')\n{match['rest']}"
    )
