"""What a reader sees of the engine's own catalogue: the tables of `hf`, and no others.

Tools ask `system.tables`, `information_schema.columns` and so on before they ask anything else.
Where such a table tells of all databases, a statement gets a sub-query in its place that tells of
`hf` alone. The forms that the engine does not give as a tree (DESCRIBE, EXISTS, SHOW CREATE) are
read here whole, name by name, and written anew.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from store.sql_tree import Node

_OPEN: Final = (
    "one numbers settings functions formats table_functions data_type_families time_zones "
    "build_options contributors licenses keywords table_engines collations "
    "aggregate_function_combinators"
)
_VISIBLE: Final = "('hf', 'information_schema', 'INFORMATION_SCHEMA')"
_SYSTEM: Final = {
    "databases": f"* REPLACE ('' AS data_path, '' AS metadata_path) FROM system.databases "
    f"WHERE name IN {_VISIBLE}",
    "tables": "* REPLACE ([] AS data_paths, '' AS metadata_path) FROM system.tables "
    "WHERE database = 'hf'",
    "columns": "* FROM system.columns WHERE database = 'hf'",
    "data_skipping_indices": "* FROM system.data_skipping_indices WHERE database = 'hf'",
    "dictionaries": "* FROM system.dictionaries WHERE database = 'hf'",
}
_SCHEMA: Final = {
    "schemata": "schema_name", "tables": "table_schema", "columns": "table_schema",
    "views": "table_schema", "key_column_usage": "table_schema",
    "referential_constraints": "constraint_schema", "statistics": "table_schema",
}  # fmt: skip

TABLES: Final[Mapping[str, str]] = (
    {f"system.{name}": "" for name in _OPEN.split()}
    | {f"system.{name}": f"SELECT {rest}" for name, rest in _SYSTEM.items()}
    | {
        f"{schema}.{cased}": f"SELECT * FROM {schema}.{cased} WHERE {column} = 'hf'"  # noqa: S608  # the names above
        for schema in ("information_schema", "INFORMATION_SCHEMA")
        for name, column in _SCHEMA.items()
        for cased in (name, name.upper())
    }
)
"""``database.table`` of the catalogue -> what is read in its place; empty: the table itself."""

DATABASES_QUERY: Final = (
    f"SELECT name FROM system.databases WHERE name IN {_VISIBLE} AND name LIKE '%' ORDER BY name"  # noqa: S608  # names of ours
)
"""What SHOW DATABASES means to a reader; the pattern is put in the place of the last literal."""

_NAME: Final = r"""(?:[A-Za-z_][A-Za-z0-9_]*|`[A-Za-z_][A-Za-z0-9_]*`|"[A-Za-z_][A-Za-z0-9_]*")"""
_FORM: Final = re.compile(
    rf"""(?:(?P<describe>DESCRIBE|DESC)(?:\s+TABLE)?
       | (?P<show>SHOW\s+CREATE)(?:\s+(?:TABLE|VIEW))?
       | (?P<exists>EXISTS)(?:\s+(?:TABLE|VIEW))?)
      \s+(?:(?P<database>{_NAME})\s*\.\s*)?(?P<table>{_NAME})
      (?:\s+FORMAT\s+(?P<format>[A-Za-z0-9]+))?""",
    re.VERBOSE | re.IGNORECASE,
)
_OF_QUERY: Final = re.compile(
    r"(?:DESCRIBE|DESC)(?:\s+TABLE)?\s*(?P<query>\(.*)", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Described:
    """A statement about one table: what is asked, in new words, and the format if one is named."""

    verb: str
    database: str
    table: str
    output_format: str

    @property
    def sql(self) -> str:
        """The statement; the names hold no quotes."""
        name = f"`{self.database}`.`{self.table}`"
        return f"{self.verb} {name}"


def described(sql: str) -> Described | None:
    """DESCRIBE, SHOW CREATE or EXISTS of one table; None if this is none of them."""
    match = _FORM.fullmatch(sql.strip())
    if match is None:
        return None
    verb = "DESCRIBE TABLE" if match["describe"] else "SHOW CREATE TABLE"
    names = [(match[part] or "").strip('`"') for part in ("database", "table")]
    return Described(
        "EXISTS TABLE" if match["exists"] else verb,
        names[0] or "hf",
        names[1],
        match["format"] or "",
    )


def described_query(sql: str) -> str | None:
    """The query that a DESCRIBE asks about, in its brackets; None if this is no such statement."""
    match = _OF_QUERY.fullmatch(sql.strip())
    return match["query"] if match else None


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the gate must know of the engine: its functions by lower-case name, and fixed trees."""

    functions: frozenset[str]
    aliases: Mapping[str, str]
    replacements: Mapping[str, Node]
    databases: Node
