"""SQL cut into words, quotes and comments included."""

import pytest

from store.sql_tokens import TokenKind, tokens
from wire.errors import PermanentError


def _texts(sql: str) -> list[str]:
    return [token.text for token in tokens(sql)]


def test_comments_and_space_vanish() -> None:
    assert _texts("select 1 -- from t\n/* x */ + 2 # y") == ["select", "1", "+", "2"]


def test_a_string_hides_what_looks_like_sql() -> None:
    found = tokens("select 'from hf_store.t -- ''x'' \\' y', 2")

    assert [t.kind for t in found][1] is TokenKind.STRING
    assert found[-1].text == "2"


def test_a_quoted_identifier_is_named_without_quotes_and_escapes() -> None:
    assert [t.identifier for t in tokens('`hf_st\\ore` "Hf""x"')] == ["hf_store", 'hf"x']


def test_a_heredoc_is_a_string() -> None:
    assert [t.kind for t in tokens("select $a$ ' from $a$, x")] == [
        TokenKind.WORD,
        TokenKind.STRING,
        TokenKind.SYMBOL,
        TokenKind.WORD,
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "select 'open",
        "select `open",
        "select \N{LEFT SINGLE QUOTATION MARK} ' \N{RIGHT SINGLE QUOTATION MARK}",
        "select \N{LEFT DOUBLE QUOTATION MARK}x\N{RIGHT DOUBLE QUOTATION MARK}",
        "select /* a /* b */ 1",
        "select 1 /* open",
        "select 1 // 2",
        "select \x00 1",
    ],
)
def test_what_cannot_be_read_for_certain_is_refused(sql: str) -> None:
    with pytest.raises(PermanentError) as refused:
        tokens(sql)

    assert refused.value.code == "statement_unreadable"
