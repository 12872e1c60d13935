"""A statement as the engine parsed it: the nodes of its tree, and what may be in them.

The tree is the engine's own (``parseQueryToJSON``), so nothing here reads SQL. A kind of node, or a
field of one, that is not in `FIELDS` is refused: a newer engine cannot bring a clause that nobody
looked at. Walks use a list and no recursion, so a deep tree costs no stack.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from wire.errors import PermanentError

Node = dict[str, Any]
"""``{"type": ..., field: ...}``; the engine's JSON, so `Any` by nature."""

FIELDS: Final = {
    kind: frozenset(fields.split())
    for kind, fields in {
        "SelectWithUnionQuery": "union_mode list_of_modes list_of_selects",
        "SelectIntersectExceptQuery": "final_operator children",
        "SelectQuery": (
            "recursive_with distinct with select tables prewhere where group_by group_by_all "
            "group_by_with_totals group_by_with_rollup group_by_with_cube "
            "group_by_with_grouping_sets having window qualify order_by order_by_all limit_by "
            "limit_by_all limit_by_length limit_by_offset limit_offset limit_length "
            "limit_with_ties interpolate"
        ),
        "Subquery": "children alias cte_name",
        "WithElement": "name subquery aliases",
        "ExpressionList": "children",
        "TablesInSelectQuery": "children",
        "TablesInSelectQueryElement": "table_join table_expression array_join",
        "TableExpression": (
            "database_and_table_name table_function subquery final sample_size sample_offset "
            "column_aliases"
        ),
        "SampleRatio": "numerator denominator",
        "TableIdentifier": "name name_parts alias",
        "TableJoin": "kind strictness locality using_expression_list on_expression",
        "ArrayJoin": "kind expression_list",
        "Identifier": "name name_parts alias",
        "Literal": "value alias",
        "QueryParameter": "name param_type alias",
        "Function": (
            "name arguments parameters alias window_definition window_name is_window_function "
            "is_operator is_lambda_function kind nulls_action"
        ),
        "Asterisk": "transformers",
        "QualifiedAsterisk": "qualifier transformers",
        "ColumnsRegexpMatcher": "pattern transformers",
        "ColumnsListMatcher": "column_list transformers",
        "QualifiedColumnsRegexpMatcher": "pattern qualifier transformers",
        "QualifiedColumnsListMatcher": "column_list qualifier transformers",
        "ColumnsTransformerList": "children",
        "ColumnsExceptTransformer": "is_strict pattern children",
        "ColumnsReplaceTransformer": "is_strict children",
        "ColumnsReplaceTransformerReplacement": "name children",
        "ColumnsApplyTransformer": "func_name parameters lambda lambda_arg",
        "OrderByElement": (
            "direction nulls_direction nulls_direction_was_explicitly_specified expression "
            "with_fill fill_from fill_to fill_step"
        ),
        "InterpolateElement": "column expr",
        "WindowDefinition": (
            "parent_window_name partition_by order_by frame_is_default frame_type "
            "frame_begin_type frame_begin_offset frame_begin_preceding frame_end_type "
            "frame_end_offset frame_end_preceding"
        ),
        "WindowListElement": "name definition",
        "ExplainQuery": "kind settings query",
        "ShowTablesQuery": ("databases full like not_like case_insensitive_like from limit_length"),
        "ShowColumnsQuery": "database table extended full like not_like case_insensitive_like",
        "ShowIndexesQuery": "database table extended",
    }.items()
}
_UNTOUCHED: Final = frozenset({"value", "settings"})  # of literals, of EXPLAIN: no nodes in there


def read(text: str) -> Node:
    """The tree from the engine's JSON."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refused("this statement is nested too deeply") from error
    if not isinstance(tree, dict):
        raise refused("this is no statement")
    return tree


def refused(why: str, *, accepted: str = "SELECT ... FROM hf.<view>") -> PermanentError:
    """The error of every refusal here and in the gate."""
    return PermanentError("statement_refused", why, accepted=accepted)


def nodes(tree: Node) -> Iterator[Node]:
    """Every node, each checked against `FIELDS`; a flag that is not set counts as absent."""
    waiting: list[Any] = [tree]
    while waiting:
        current = waiting.pop()
        if isinstance(current, list):
            waiting.extend(part for part in current if isinstance(part, dict | list))
            continue
        kind = current.get("type")
        fields = FIELDS.get(kind) if isinstance(kind, str) else None
        if fields is None:
            raise refused(f"{kind or 'this'} is no part of a read")
        for field, value in current.items():
            if field == "type" or value is False:
                continue
            if field not in fields:
                raise refused(f"{kind} may not have {field}")
            if field not in _UNTOUCHED and isinstance(value, dict | list):
                waiting.append(value)
        yield current


def parts(identifier: Node) -> list[str]:
    """The names of an identifier, from the left: database, table, column."""
    named = identifier.get("name_parts")
    return [str(name) for name in named] if named else [str(identifier.get("name", ""))]


def arguments(function: Node) -> list[Node]:
    """The arguments of a function, in order."""
    return list((function.get("arguments") or {}).get("children") or [])


def text_of(node: Node) -> str | None:
    """The text of a string literal; None for anything else."""
    value = node.get("value") if node.get("type") == "Literal" else None
    if isinstance(value, dict) and value.get("field_type") == "String":
        return str(value["value"])
    return None


def same(left: object, right: object) -> bool:
    """Whether two trees mean the same: how an operator was written does not matter."""
    waiting = [(left, right)]
    while waiting:
        one, other = waiting.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            fields = (one.keys() | other.keys()) - {"is_operator"}
            waiting.extend((one.get(f, False), other.get(f, False)) for f in fields)
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            waiting.extend(zip(one, other, strict=True))
        elif one != other or type(one) is not type(other):
            return False
    return True
