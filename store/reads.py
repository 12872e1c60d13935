"""A read before it runs: parsed by the engine, judged, written anew by the engine, and compared.

Only the engine's own writing of the judged tree is run. If it does not parse to the same tree
again, the statement is refused: then nobody knows what it says.

That takes 4 ms of CPU, and programs and dashboards ask the same texts again and again: so what was
judged is remembered. A judgement follows from the text, the reader and the parameters alone.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, Protocol

from store import sql_tree
from store.catalogue import DATABASES_QUERY, TABLES, Dialect, described, described_query
from store.gate import Reader
from store.judge import Judged, judge
from store.sql_tree import Node, refused
from wire.errors import PermanentError

_REMEMBERED_MAX: Final = 256
_CHARACTERS_MAX: Final = 16_384
"""Of one that is remembered, as it was asked and as it is written: 4 MB of all."""


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


class Reads:
    """The reads of one engine, judged. May be used from any thread."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._dialect = _learn(parser)
        self._remembered: OrderedDict[object, Read] = OrderedDict()  # by last use
        self._lock = Lock()

    def prepare(self, sql: str, *, reader: Reader, params: Mapping[str, str]) -> Read:
        """The statement to run, or PermanentError ``statement_refused`` or ``_unreadable``.

        Refusals are judged each time: they must not push out what honest people ask.
        """
        key = (sql, reader, frozenset(params.items()))
        with self._lock:
            if known := self._remembered.get(key):
                self._remembered.move_to_end(key)
                return known
        read = _prepare(sql, self._parser, self._dialect, reader=reader, params=params)
        if len(sql) + len(read.sql) + sum(map(len, params.values())) <= _CHARACTERS_MAX:
            with self._lock:
                self._remembered[key] = read
                if len(self._remembered) > _REMEMBERED_MAX:
                    self._remembered.popitem(last=False)
        return read


def _learn(parser: Parser) -> Dialect:
    functions = {name.lower(): target.lower() for name, target in parser.functions().items()}
    return Dialect(
        functions=frozenset(functions),
        aliases={name: target for name, target in functions.items() if target},
        replacements={
            name: sql_tree.read(parser.parse(sql)) for name, sql in TABLES.items() if sql
        },
        databases=sql_tree.read(parser.parse(DATABASES_QUERY)),
    )


def _prepare(
    sql: str, parser: Parser, dialect: Dialect, *, reader: Reader, params: Mapping[str, str]
) -> Read:
    if about := described(sql):
        known = f"{about.database}.{about.table}"
        if about.database not in reader.databases and known not in TABLES:
            raise refused(f"the table {known!r} is not for this user; read the views of hf")
        return Read(about.sql, output_format=about.output_format)
    if query := described_query(sql):
        inner = _prepare(query, parser, dialect, reader=reader, params=params)
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
