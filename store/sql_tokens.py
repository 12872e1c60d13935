"""ClickHouse SQL as tokens, for gates: what it cannot read for certain, it refuses.

Not a parser. It knows exactly where strings, quoted identifiers and comments begin and end; where
ClickHouse's own lexer could see it otherwise (typographic quotes, nested comments, bytes outside
ASCII) the statement is refused instead of guessed at.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wire.errors import PermanentError


class TokenKind(StrEnum):
    """What a token is, as far as a gate must know."""

    WORD = "word"
    QUOTED = "quoted"
    STRING = "string"
    NUMBER = "number"
    SYMBOL = "symbol"


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `text` of a quoted identifier or a string is without its quotes."""

    kind: TokenKind
    text: str

    @property
    def identifier(self) -> str:
        """The name in lower case if this can be one, else ''."""
        return self.text.lower() if self.kind in (TokenKind.WORD, TokenKind.QUOTED) else ""


_TOKEN: Final = re.compile(
    r"""
    (?P<space>[ \t\r\n\f\v]+)
  | (?P<comment>--[^\n]*|\#[ !][^\n]*|/\*(?:(?!/\*|\*/).)*\*/)
  | (?P<string>'(?:[^'\\]|\\.|'')*')
  | (?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
  | (?P<heredoc>\$(?P<tag>[A-Za-z0-9_]*)\$.*?\$(?P=tag)\$)
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>[0-9][A-Za-z0-9_]*)
  | (?P<unclear>//|/\*)
  | (?P<symbol>[-+*/%=<>!.,;:?@^|~\[\]{}()])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED: Final = re.compile(r"\\(.)|(['`\"])\2", re.DOTALL)
_KINDS: Final = {
    "string": TokenKind.STRING,
    "quoted": TokenKind.QUOTED,
    "heredoc": TokenKind.STRING,
    "word": TokenKind.WORD,
    "number": TokenKind.NUMBER,
    "symbol": TokenKind.SYMBOL,
}


def tokens(sql: str) -> list[Token]:
    """Every token but space and comments; PermanentError ``statement_unreadable`` otherwise."""
    return list(_scan(sql))


def _scan(sql: str) -> Iterator[Token]:
    position = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        kind = match.lastgroup if match else None
        if match is None or kind is None or kind == "unclear":
            raise PermanentError(
                "statement_unreadable",
                f"cannot read the statement at character {position}",
                accepted="plain ASCII outside of strings, closed quotes, comments not nested",
            )
        position = match.end()
        if kind == "tag":
            kind = "heredoc"
        if kind in _KINDS:
            text = match.group()
            if kind in ("string", "quoted"):
                text = _ESCAPED.sub(lambda m: m.group(1) or m.group(2), text[1:-1])
            yield Token(_KINDS[kind], text)
