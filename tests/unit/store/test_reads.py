"""What was judged is remembered: the same answer for less, for the same reader alone."""

import json
from collections import Counter
from collections.abc import Mapping

import pytest

from store.gate import ANALYST, WRITER
from store.reads import Reads
from wire.errors import PermanentError


def _tree(name: str) -> str:
    """``SELECT 1 FROM`` the table."""
    table = {"type": "TableIdentifier", "name": name, "name_parts": name.split(".")}
    source = {
        "type": "TablesInSelectQueryElement",
        "table_expression": {"type": "TableExpression", "database_and_table_name": table},
    }
    one = {"type": "Literal", "value": {"field_type": "UInt64", "value": 1}}
    select = {
        "type": "SelectQuery",
        "select": {"type": "ExpressionList", "children": [one]},
        "tables": {"type": "TablesInSelectQuery", "children": [source]},
    }
    selects = {"type": "ExpressionList", "children": [select]}
    return json.dumps({"type": "SelectWithUnionQuery", "list_of_selects": selects})


class CountingParser:
    """Reads a statement as the name of the one table that it reads; counts how often."""

    def __init__(self) -> None:
        self.parsed: Counter[str] = Counter()

    def parse(self, sql: str) -> str:
        self.parsed[sql] += 1
        return _tree(sql)

    def write(self, tree: str) -> tuple[str, str]:
        return tree, tree

    def functions(self) -> Mapping[str, str]:
        return {}


def test_a_text_is_judged_once() -> None:
    parser = CountingParser()
    reads = Reads(parser)

    first = reads.prepare("hf.verdicts", reader=ANALYST, params={})
    again = reads.prepare("hf.verdicts", reader=ANALYST, params={})

    assert first == again
    assert parser.parsed["hf.verdicts"] == 1


def test_what_one_reader_may_ask_is_judged_anew_for_another() -> None:
    reads = Reads(CountingParser())
    reads.prepare("hf_store.action", reader=WRITER, params={})

    for _ in range(2):
        with pytest.raises(PermanentError, match="not for this user"):
            reads.prepare("hf_store.action", reader=ANALYST, params={})


def test_other_parameters_are_judged_anew() -> None:
    parser = CountingParser()
    reads = Reads(parser)

    for params in ({}, {"a": "1"}, {"a": "2"}, {"b": "1"}, {"a": "1", "b": "1"}, {"a": "1"}):
        reads.prepare("hf.verdicts", reader=ANALYST, params=params)

    assert parser.parsed["hf.verdicts"] == 5


def test_what_was_not_asked_for_long_is_forgotten_and_the_rest_is_not() -> None:
    parser = CountingParser()
    reads = Reads(parser)

    for i in range(1000):
        reads.prepare("hf.often", reader=ANALYST, params={})
        reads.prepare(f"hf.v{i}", reader=ANALYST, params={})
    reads.prepare("hf.v999", reader=ANALYST, params={})
    reads.prepare("hf.v0", reader=ANALYST, params={})

    assert parser.parsed["hf.often"] == parser.parsed["hf.v999"] == 1
    assert parser.parsed["hf.v0"] == 2


@pytest.mark.parametrize(("name", "value"), [("v" * 40_000, ""), ("v", "x" * 40_000)])
def test_what_is_large_is_not_remembered(name: str, value: str) -> None:
    parser = CountingParser()
    reads = Reads(parser)

    for _ in range(2):
        reads.prepare(f"hf.{name}", reader=ANALYST, params={"a": value})

    assert parser.parsed[f"hf.{name}"] == 2


def test_refusals_push_out_nothing() -> None:
    parser = CountingParser()
    reads = Reads(parser)
    reads.prepare("hf.verdicts", reader=ANALYST, params={})

    for i in range(1000):
        with pytest.raises(PermanentError):
            reads.prepare(f"system.t{i}", reader=ANALYST, params={})
    reads.prepare("hf.verdicts", reader=ANALYST, params={})

    assert parser.parsed["hf.verdicts"] == 1
