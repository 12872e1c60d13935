"""The writer's statements: rows into our tables, the schema as it ships, and nothing else.

Reads are judged like an analyst's (`store.gate`), with `hf_store` open. Here is what changes
something, each a text or a form that this program itself sends.
"""

import re
from functools import cache
from typing import Final

from store.allowed_settings import INPUT_FORMATS
from store.migrate import LEDGER, shipped
from store.sql_tree import refused
from store.tables import TABLES

_LEDGER_TABLE: Final = "schema_migrations"
_COLUMN: Final = r"(?:[A-Za-z_][A-Za-z0-9_]*|`[A-Za-z_][A-Za-z0-9_]*`)"
_INTO: Final = re.compile(
    rf"INSERT INTO (?:TABLE )?`?hf_store`?\.`?(?P<table>[a-z_]+)`?"
    rf"(?P<columns>\s*\(\s*{_COLUMN}(?:\s*,\s*{_COLUMN})*\s*\))?",
    re.IGNORECASE,
)
_RECORD: Final = re.compile(
    rf"INSERT INTO hf_store\.{_LEDGER_TABLE} \(id, checksum, applied_at, app_version\) "
    r"SELECT \d+, '[0-9a-f]{64}', fromUnixTimestamp64Milli\(\d+\), '[A-Za-z0-9.+-]*'"
)
_UPKEEP: Final = re.compile(r"(?:TRUNCATE|OPTIMIZE) TABLE hf_store\.(?P<table>[a-z_]+)(?: FINAL)?")
_ACCEPTED: Final = "INSERT INTO hf_store.<table>, the shipped migrations, reads"


def check_insert(head: str, input_format: str) -> str:
    """``INSERT INTO table (columns)`` of rows in `input_format`, in our own words."""
    match = _INTO.fullmatch(head.strip())
    if match is None or match["table"] not in TABLES.keys() | {_LEDGER_TABLE}:
        raise refused("the writer inserts into the tables of hf_store alone", accepted=_ACCEPTED)
    if input_format not in INPUT_FORMATS:
        raise refused(f"rows may not come as {input_format}", accepted="ArrowStream, Native, ...")
    return f"INSERT INTO hf_store.{match['table']}{match['columns'] or ''}"


def is_ours(sql: str) -> bool:
    """Whether a statement that changes something is one that this program sends."""
    if sql in _schema() or _RECORD.fullmatch(sql):
        return True
    upkeep = _UPKEEP.fullmatch(sql)
    return bool(upkeep and upkeep["table"] in TABLES)


@cache
def _schema() -> frozenset[str]:
    return frozenset([*LEDGER, *(text for step in shipped() for text in step.statements())])
