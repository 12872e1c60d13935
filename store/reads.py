"""A read before it runs: parsed by the engine, judged, written anew by the engine, and compared.

Only the engine's own writing of the judged tree is run. If it does not parse to the same tree
again, the statement is refused: then nobody knows what it says.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from store import sql_tree
from store.catalogue import DATABASES_QUERY, TABLES, Dialect, described, described_query
from store.gate import Reader
from store.judge import Judged, judge
from store.sql_tree import Node, refused
from wire.errors import PermanentError


class Parser(Protocol):
    """The engine's parser; `store.embedded.EmbeddedStore` has it. StatementError if it cannot."""

    def parse(self, sql: str) -> str:
        """The tree of one statement as JSON."""

    def write(self, tree: str) -> tuple[str, str]:
        """The statement of a tree, and the tree of that statement."""

    def functions(self) -> Mapping[str, str]:
        """Every function by name -> the name it stands for ('' if it is no alias)."""


@dataclass(frozen=True, slots=True)
class Read:
    """A statement that may run as it is, with what it asked for besides."""

    sql: str
    settings: Mapping[str, str] = field(default_factory=dict)
    output_format: str = ""


def learn(parser: Parser) -> Dialect:
    """What the gate must know of this engine."""
    functions = {name.lower(): target.lower() for name, target in parser.functions().items()}
    return Dialect(
        functions=frozenset(functions),
        aliases={name: target for name, target in functions.items() if target},
        replacements={
            name: sql_tree.read(parser.parse(sql)) for name, sql in TABLES.items() if sql
        },
        databases=sql_tree.read(parser.parse(DATABASES_QUERY)),
    )


def prepare(
    sql: str, parser: Parser, dialect: Dialect, *, reader: Reader, params: Mapping[str, str]
) -> Read:
    """The statement to run, or PermanentError ``statement_refused`` or ``statement_unreadable``."""
    if about := described(sql):
        known = f"{about.database}.{about.table}"
        if about.database not in reader.databases and known not in TABLES:
            raise refused(f"the table {known!r} is not for this user; read the views of hf")
        return Read(about.sql, output_format=about.output_format)
    if query := described_query(sql):
        inner = prepare(query, parser, dialect, reader=reader, params=params)
        return Read(f"DESCRIBE TABLE ({inner.sql})", inner.settings, inner.output_format)
    judged = judge(sql_tree.read(parser.parse(sql)), reader, dialect, params=params)
    return Read(_written(judged, parser), judged.settings, judged.output_format)


def _written(judged: Judged, parser: Parser) -> str:
    tree: Node = judged.tree
    sql, again = parser.write(json.dumps(tree, ensure_ascii=False))
    if not sql_tree.same(tree, sql_tree.read(again)):
        raise PermanentError(
            "statement_unreadable",
            "the engine does not read its own writing of this statement the same way",
            accepted="the same in other words",
        )
    return sql
