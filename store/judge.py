"""One read, judged: every function, table and setting of its tree is on a list, or it is refused.

Pure: the statement comes as the engine's own tree (`sql_tree`), so strings, comments, escapes and
quoted names have their meaning already. What is judged is then written anew by the engine and only
that is run (`store.reads`); ``readonly=1`` with limits on a connection of its own stays behind it.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from store import allowed_functions
from store.catalogue import TABLES, Dialect
from store.gate import Reader
from store.sql_tree import Node, arguments, nodes, parts, refused, text_of


@dataclass(frozen=True, slots=True)
class Judged:
    """A read that may run: its tree without FORMAT and SETTINGS, and those two."""

    tree: Node
    settings: Mapping[str, str]
    output_format: str


_ROOTS: Final = frozenset(
    {"SelectWithUnionQuery", "ExplainQuery", "ShowTablesQuery", "ShowColumnsQuery"}
    | {"ShowIndexesQuery"}
)
_EXPLAINED: Final = frozenset(
    {"EXPLAIN", "EXPLAIN AST", "EXPLAIN SYNTAX", "EXPLAIN QUERY TREE", "EXPLAIN PIPELINE"}
)
_EXPLAIN_OPTIONS: Final = frozenset(
    {"header", "description", "actions", "json", "indexes", "projections", "sorting", "optimize"}
    | {"oneline", "run_query_tree_passes", "passes", "dump_passes", "dump_tree", "dump_ast"}
    | {"graph", "compact", "pretty"}
)
_IN: Final = re.compile(r"(global)?(not)?(null)?in(ignoreset)?")
_SHOWN: Final = re.compile(r"[A-Za-z0-9_%.-]*")
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_AGGREGATE: Final = re.compile(r"(?P<name>\w+)(\([-+0-9., ]*\))?")
_TAKES_AGGREGATE: Final = frozenset({"arrayreduce", "arrayreduceinranges", "initializeaggregation"})
_ONE_WRITTEN: Final = frozenset({"hasall", "hasany"})
"""They compare each with each: two arrays of ten million would take days, uncancelled."""
_SEARCH: Final = re.compile(
    r"(?P<cased>position(utf8)?|locate|countsubstrings)"
    r"|(not)?ilike|(position|countsubstrings|multisearch\w+)caseinsensitive(utf8)?"
)
"""They compare at every place of a text, uncancelled: without case, 33 bytes take 20 times as long
as 32 (20 MB of one letter: 16 s against 0.8), 64 more than 40 s."""
_NEEDLE_MAX: Final = 32
_CASED_NEEDLE_MAX: Final = 1024
_TAKES_TYPE: Final = re.compile(
    r"_?cast|accuratecast\w*|reinterpret|jsonextract(keysandvalues)?(caseinsensitive)?"
    r"|defaultvalueoftypename|dynamicelement|variantelement"
)


def judge(tree: Node, reader: Reader, dialect: Dialect, *, params: Mapping[str, str]) -> Judged:
    """Refuse everything but one read of what `reader` may see; PermanentError otherwise."""
    if tree.get("type") not in _ROOTS:
        raise refused(f"{tree.get('type')} is no read")
    tree = copy.deepcopy(tree)
    settings, output_format = _lifted(tree)
    _Judge(tree, reader, dialect, params).check()
    return Judged(_shown(tree, dialect), settings, output_format)


def _lifted(tree: Node) -> tuple[dict[str, str], str]:
    """FORMAT and SETTINGS of the whole statement, taken out of its tree."""
    outer = [tree]
    if tree["type"] == "ExplainQuery" and isinstance(tree.get("query"), dict):
        outer.append(tree["query"])
    selects = (outer[-1].get("list_of_selects") or {}).get("children")
    if selects:
        outer.append(selects[-1])
    settings: dict[str, str] = {}
    output_format = ""
    for node in outer:
        named = node.pop("format_ast", None)
        output_format = str(named["name"]) if named else output_format
        fields = ["settings_ast"] + (["settings"] if node["type"] == "SelectQuery" else [])
        for field in fields:
            settings |= _changes(node.pop(field, None))
    return settings, output_format


def _changes(node: Node | None) -> dict[str, str]:
    changes = {}
    for change in _only_changes(node):
        value = change["value"]
        if value["field_type"] not in ("UInt64", "Int64", "Float64", "String", "Bool"):
            raise refused(f"the setting {change['name']!r} takes a number or a short text")
        plain = value["value"]
        changes[str(change["name"])] = str(int(plain) if isinstance(plain, bool) else plain)
    return changes


def _only_changes(node: Node | None) -> list[Node]:
    if node is None:
        return []
    if set(node) - {"type", "changes"}:
        raise refused("SETTINGS may only give values to settings")
    return list(node["changes"])


def _shown(tree: Node, dialect: Dialect) -> Node:
    """SHOW DATABASES as the query that shows what a reader may see."""
    if tree["type"] != "ShowTablesQuery" or not tree.get("databases"):
        return tree
    if set(tree) - {"type", "databases", "like"} - {f for f, v in tree.items() if v is False}:
        raise refused("SHOW DATABASES takes LIKE and nothing else")
    query = copy.deepcopy(dialect.databases)
    last = [node for node in nodes(query) if text_of(node) == "%"]
    last[0]["value"]["value"] = tree.get("like", "%")
    return query


class _Judge:
    """One walk over one tree."""

    def __init__(
        self, tree: Node, reader: Reader, dialect: Dialect, params: Mapping[str, str]
    ) -> None:
        self._tree = tree
        self._reader = reader
        self._dialect = dialect
        self._params = params
        self._sources: set[int] = set()  # nodes that are table functions, not functions
        self._aliases: dict[tuple[str, ...], str] = {}  # table of the catalogue -> its stand-in
        self._queries: set[str] = set()
        self._lambdas: set[str] = set()
        self._named_here: set[str] = set()

    def check(self) -> None:
        """Refuse, or put in the tree what stands for a table of the catalogue."""
        self._fill()
        found = list(nodes(self._tree))
        self._queries = {str(n["name"]) for n in found if n["type"] == "WithElement"}
        self._named_here = _named_in(found)
        self._lambdas = {
            str(n["alias"])
            for n in found
            if n.get("is_lambda_function")
            and "alias" in n
            and str(n["alias"]).lower() not in self._known
        }
        checks = {
            "TableExpression": self._source, "Function": self._function,
            "Identifier": self._identifier, "ColumnsApplyTransformer": self._applied,
            "QueryParameter": self._parameter, "ExplainQuery": self._explain,
            "ShowTablesQuery": self._show, "ShowColumnsQuery": self._show,
            "ShowIndexesQuery": self._show,
        }  # fmt: skip
        for node in sorted(found, key=lambda n: n["type"] != "TableExpression"):
            if node["type"] in _ROOTS - {"SelectWithUnionQuery"} and node is not self._tree:
                raise refused("EXPLAIN and SHOW stand alone")
            check = checks.get(node["type"])
            if check:
                check(node)
        for node in found if self._aliases else ():
            self._rename(node)

    def _fill(self) -> None:
        """Put parameters of the type Identifier into the names that they are part of."""
        waiting: list[object] = [self._tree]
        while waiting:
            node = waiting.pop()
            if isinstance(node, dict):
                if node.get("type") in ("Identifier", "TableIdentifier") and "children" in node:
                    values = iter([self._named(child) for child in node.pop("children")])
                    names = [name or next(values, "") for name in parts(node)]
                    if not all(names):
                        raise refused("this identifier cannot be filled in")
                    node |= {"name": ".".join(names)}
                    node |= {"name_parts": names} if len(names) > 1 else {}
                waiting.extend(node.values())
            elif isinstance(node, list):
                waiting.extend(node)

    def _named(self, parameter: Node) -> str:
        value = self._params.get(str(parameter.get("name")), "")
        if parameter.get("param_type") != "Identifier" or not _PLAIN.fullmatch(value):
            raise refused("an identifier from a parameter is one plain word", accepted="letters, _")
        return value

    @property
    def _known(self) -> frozenset[str]:
        return self._dialect.functions

    def _source(self, node: Node) -> None:
        if function := node.get("table_function"):
            self._sources.add(id(function))
            self._table_function(function)
        if table := node.get("database_and_table_name"):
            standing_in = self._table(parts(table))
            if standing_in:
                alias = str(table.get("alias") or parts(table)[-1])
                self._aliases[tuple(parts(table))] = alias
                node["subquery"] = {
                    "type": "Subquery", "alias": alias, "children": [copy.deepcopy(standing_in)],
                }  # fmt: skip
                del node["database_and_table_name"]

    def _rename(self, node: Node) -> None:
        """``system.tables.name`` by the alias of what stands in for ``system.tables``."""
        names = parts(node) if node["type"] == "Identifier" else []
        alias = self._aliases.get(tuple(names[:2]))
        if alias and len(names) > 2:  # noqa: PLR2004  # database, table, column
            node["name_parts"] = [alias, *names[2:]]
            node["name"] = ".".join(node["name_parts"])

    def _table(self, names: list[str], *, stands_in: bool = True) -> Node | None:
        """What stands in for a table, if something does and may."""
        if len(names) == 1 and (
            names[0] in self._queries or (self._reader.unnamed and _PLAIN.fullmatch(names[0]))
        ):
            return None
        name = ".".join(names)
        if len(names) == 2 and _PLAIN.fullmatch(names[1]):  # noqa: PLR2004  # database and table
            if names[0] in self._reader.databases or name in self._reader.tables:
                return None
            if name in TABLES and stands_in:
                return self._dialect.replacements.get(name)
        raise refused(f"the table {name!r} is not for this user; read the views of hf")

    def _table_function(self, node: Node) -> None:
        name = str(node.get("name", "")).lower()
        if name not in allowed_functions.TABLE_FUNCTIONS:
            raise refused(f"the table function {name} is refused")
        for part in arguments(node):
            _check_type(text_of(part) or "")

    def _function(self, node: Node) -> None:
        if id(node) in self._sources:
            return
        name = str(node.get("name", ""))
        if name not in self._lambdas and not self._may_call(name):
            raise refused(f"the function {name} is refused")
        given = arguments(node)
        lower = self._real(name)
        if _IN.fullmatch(lower) and len(given) > 1 and given[1]["type"] == "Identifier":
            self._table(parts(given[1]), stands_in=False)
        if lower in _TAKES_AGGREGATE:
            match = _AGGREGATE.fullmatch(text_of(given[0]) or "") if given else None
            if match is None or not allowed_functions.is_aggregate(
                match["name"].lower(), self._dialect.aliases
            ):
                raise refused(f"the function {name} takes the name of an aggregate, as it is")
        if _TAKES_TYPE.fullmatch(lower):
            self._typed(name, given)
        if lower in _ONE_WRITTEN and not any(_is_written(part) for part in given):
            raise refused(f"{name} takes one array that is written out", accepted="hasAny(xs, [1])")
        if search := _SEARCH.fullmatch(lower):
            self._search(name, given, is_cased=search["cased"] is not None)

    def _search(self, name: str, given: list[Node], *, is_cased: bool) -> None:
        """What is looked for is short and written out; with case it may also be a column."""
        longest = _CASED_NEEDLE_MAX if is_cased else _NEEDLE_MAX
        # MySQL's order of `locate` and the engine's differ: one of both is short
        sought = given[:2] if name.lower() == "locate" else given[1:2]
        if not any(
            (is_cased and self._is_column(part))
            or all(len(text.encode()) <= longest for text in self._written(part))
            for part in sought
        ):
            raise refused(
                f"what {name} looks for is written out and short",
                accepted=f"a text of at most {longest} bytes",
            )

    def _is_column(self, node: Node) -> bool:
        name = parts(node)[-1] if node["type"] == "Identifier" else ""
        return bool(_PLAIN.fullmatch(name)) and name not in self._named_here

    def _written(self, node: Node) -> list[str]:
        """The texts that a node writes out; one that is too long if it does not."""
        text = text_of(node)
        if text is not None:
            return [text]
        if node["type"] == "QueryParameter":
            return [self._params.get(str(node.get("name")), "")]
        if node["type"] == "Literal":
            value = node["value"]["value"]
            items = value if isinstance(value, list) else [value]
            return [str(item["value"] if isinstance(item, dict) else item) for item in items]
        below = [self._written(part) for part in arguments(node)]
        match str(node.get("name", "")).lower():
            case "array":
                return [text for texts in below for text in texts]
            case "concat":
                return ["".join(text for texts in below for text in texts)]
        return ["?" * (_CASED_NEEDLE_MAX + 1)]

    def _typed(self, name: str, given: list[Node]) -> None:
        last = text_of(given[-1]) if given else None
        if last is None and not name.lower().startswith("jsonextract"):
            raise refused(f"the type for {name} must be written out")
        if last is None and given[-1]["type"] not in ("Literal", "Identifier"):
            raise refused(f"the type for {name} must be written out")
        for part in given:
            _check_type(text_of(part) or "")

    def _real(self, name: str) -> str:
        """The lower-case name that an alias stands for."""
        return self._dialect.aliases.get(name.lower(), name.lower())

    def _may_call(self, name: str) -> bool:
        return name.lower() in self._reader.functions or allowed_functions.may_call(
            name.lower(), self._dialect.aliases
        )

    def _identifier(self, node: Node) -> None:
        names = parts(node)
        if any(name.lower() == "hf_store" for name in names[:-1]) and (
            "hf_store" not in self._reader.databases
        ):
            raise refused("the tables of hf_store are not for this user; read the views of hf")
        if len(names) == 1:
            self._callable(names[0])

    def _callable(self, name: str) -> None:
        """A name alone may be a function where one is taken: arrayMap(file, ...)."""
        is_ruled = self._real(name) in _ONE_WRITTEN | _TAKES_AGGREGATE
        if is_ruled or (name.lower() in self._known and not self._may_call(name)):
            raise refused(f"the function {name} is refused, also by its name alone")

    def _applied(self, node: Node) -> None:
        name = str(node.get("func_name", ""))
        if name and not self._may_call(name):
            raise refused(f"the function {name} is refused, also in APPLY")
        if not name and not isinstance(node.get("lambda"), dict):
            raise refused("APPLY takes a function or a lambda")

    def _parameter(self, node: Node) -> None:
        kind = str(node.get("param_type", ""))
        if "identifier" in kind.lower():
            raise refused("a parameter of the type Identifier may only name a table or a column")
        _check_type(kind)

    def _explain(self, node: Node) -> None:
        if node.get("kind") not in _EXPLAINED:
            raise refused(f"{node.get('kind')} is refused")
        if (node.get("query") or {}).get("type") != "SelectWithUnionQuery":
            raise refused("EXPLAIN takes a SELECT")
        for change in _only_changes(node.get("settings")):
            number = change["value"]["field_type"] in ("UInt64", "Bool")
            if change["name"] not in _EXPLAIN_OPTIONS or not number:
                raise refused(f"EXPLAIN may not take {change['name']}")

    def _show(self, node: Node) -> None:
        # The engine puts these texts into a query of its own.
        texts = [node.get(field, "") for field in ("database", "table", "like")]
        if not all(isinstance(text, str) and _SHOWN.fullmatch(text) for text in texts):
            raise refused(
                "SHOW takes plain names and patterns", accepted="letters, digits, _ % - ."
            )
        named = node.get("database") or (node.get("from") or {}).get("name") or "hf"
        if named not in self._reader.databases:
            raise refused(f"the database {named!r} is not for this user")


def _named_in(found: Sequence[Node]) -> set[str]:
    """Names that the statement itself gives to what it computes."""
    named = {str(node["alias"]) for node in found if "alias" in node}
    for node in found:
        for field in ("aliases", "column_aliases", "cte_aliases"):
            named |= {str(n.get("name", "")) for n in (node.get(field) or {}).get("children", ())}
    return named


def _is_written(node: Node) -> bool:
    """Whether this is an array of literals in the text."""
    if node["type"] == "Literal":
        return True
    return node.get("name") == "array" and all(_is_written(part) for part in arguments(node))


def _check_type(text: str) -> None:
    """States of aggregates are made by -State functions, never out of somebody's bytes."""
    if "aggregatefunction" in text.lower():
        raise refused("values of the type AggregateFunction may not be written out")
