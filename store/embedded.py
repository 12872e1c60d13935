"""The embedded ClickHouse (chDB): one folder, one process, a fresh connection per statement.

A connection costs 0.2 ms and carries settings, so none is shared: no state leaks from one request
to the next. chDB reads `pyarrow` and `numpy` when it finds them, for formats that an HTTP server
never asks for; `without_arrow` keeps 40 MB out of an idle process.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from store.reads import Reads
from store.sql_tree import refused
from wire.errors import PermanentError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement gave: bytes in the asked format, and the engine's count of its work."""

    body: bytes = b""
    rows: int = 0
    rows_read: int = 0
    bytes_read: int = 0
    rows_written: int = 0
    seconds: float = 0.0
    output_format: str = "TabSeparated"


_STATEMENT_CHARACTERS_MAX: Final = 262_144
_PARSING: Final = {
    "max_parser_depth": "500",
    "max_parser_backtracks": "100000",
    "max_ast_depth": "250",
    "max_ast_elements": "50000",
    "max_query_size": "4000000",  # of the question that holds the statement
    "max_execution_time": "10",
    "readonly": "1",
}


class StatementError(Exception):
    """The engine refused a statement; `code` is ClickHouse's number for it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        match = re.search(r"Code: (\d+)", message)
        self.code = int(match.group(1)) if match else 1002  # UNKNOWN_EXCEPTION


def without_arrow() -> None:
    """Make chDB find no pyarrow, pandas or numpy in this process; call before opening."""
    for name in ("pyarrow", "pandas", "numpy"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None is how import is told no


class EmbeddedStore:
    """An open chDB folder. Methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        import chdb  # noqa: PLC0415  # 200 MB of engine: only the process that serves it pays

        path.mkdir(parents=True, exist_ok=True)
        self._path = str(path)
        self._connect: Callable[[str], Any] = chdb.connect  # typed here: chDB is so only in part
        try:
            self._held = chdb.connect(self._path)  # the engine closes with its last connection
            self.version = self._text("SELECT version()")
        except RuntimeError as error:
            raise PermanentError(
                "store_unopenable",
                f"cannot open {path}: {error} (another process may hold it; the reason is above)",
            ) from error
        self.reads = Reads(self)

    def parse(self, sql: str) -> str:
        """The engine's own tree of one statement, as JSON; nothing of it is run.

        Parsing is bounded in size, depth and tries. What the engine cannot give as a tree is
        refused: nothing that an analyst reads with is among it.
        """
        if len(sql) > _STATEMENT_CHARACTERS_MAX or "\0" in sql:
            raise refused(
                "this statement is too long", accepted="262144 characters, none of them 0"
            )
        return self._parsed("SELECT parseQueryToJSON({q:String})", sql)[0]

    def write(self, tree: str) -> tuple[str, str]:
        """The statement of a tree in the engine's own words, and what it reads in them."""
        answer = self._parsed(
            "SELECT formatQueryFromJSON({q:String}) AS s, parseQueryToJSON(s)", tree
        )
        return answer[0], answer[1]

    def functions(self) -> dict[str, str]:
        """Every function by name -> the name that it stands for ('' if it is no alias)."""
        lines = self._text("SELECT name, alias_to FROM system.functions").split("\n")
        return {name: target for name, _, target in (line.partition("\t") for line in lines)}

    def _parsed(self, question: str, text: str) -> list[str]:
        with closing(self._connect(self._path)) as connection:
            try:
                _prepare(connection, "", _PARSING)
                answer = connection.query(
                    question, "JSONCompactEachRow", params={"q": _escaped(text)}
                )
                return [str(part) for part in json.loads(answer.bytes())]
            except RuntimeError as error:
                raise _unparsed(str(error)) from error
            except UnicodeError as error:
                raise PermanentError(
                    "statement_unreadable", "a text in it is not UTF-8", accepted="unhex('...')"
                ) from error

    def run(
        self,
        sql: str,
        *,
        output_format: str,
        database: str,
        settings: Mapping[str, str],
        params: Mapping[str, str],
    ) -> Answer:
        """Run one statement on a connection of its own; the whole result."""
        with closing(self._connect(self._path)) as connection:
            try:
                _prepare(connection, database, settings)
                result = connection.query(sql, output_format, params=dict(params))
            except RuntimeError as error:
                raise StatementError(str(error)) from error
            return Answer(
                body=result.bytes(),
                rows=result.rows_read(),
                rows_read=result.storage_rows_read(),
                bytes_read=result.storage_bytes_read(),
                seconds=result.elapsed(),
                output_format=output_format,
            )

    def insert(
        self,
        head: str,
        *,
        input_format: str,
        chunks: Iterable[bytes],
        database: str,
        settings: Mapping[str, str],
    ) -> Answer:
        """``INSERT INTO table (columns)`` with the rows as bytes of a ClickHouse input format."""
        with closing(self._connect(self._path)) as connection:
            try:
                _prepare(connection, database, settings)
                inserter = connection.send_insert(head, input_format)
                for chunk in chunks:
                    inserter.append(chunk)
                result = inserter.finish()
            except RuntimeError as error:
                message = str(error)
                at = message.find("Code: ")
                raise StatementError(message[max(at, 0) :]) from error
            return Answer(rows_written=result.rows_written, seconds=result.elapsed)

    def close(self) -> None:
        """Close the engine; nothing may be running."""
        self._held.close()

    def _text(self, sql: str) -> str:
        return str(self._held.query(sql, "TabSeparated").bytes().decode().strip())


def _prepare(connection, database: str, settings: Mapping[str, str]) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001  # chDB's type would import it
    if database:
        connection.query(f"USE `{quoted(database)}`", "TabSeparated")
    if settings:
        # readonly comes last: it forbids every SET after it
        ordered = sorted(settings.items(), key=lambda item: item[0] == "readonly")
        terms = ", ".join(f"{_setting_name(name)} = '{quoted(value)}'" for name, value in ordered)
        connection.query(f"SET {terms}", "TabSeparated")


def _escaped(text: str) -> str:
    """The text as the value of a parameter, which the engine unescapes."""
    return re.sub(
        r"[\\\n\t\r]",
        lambda m: {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}[m.group()],
        text,
    )


def _unparsed(message: str) -> Exception:
    """The engine's error without the question that we asked it."""
    if "supported by parseQueryToJSON" in message:
        return refused("this kind of statement is not for this user")
    return StatementError(message.partition(": In scope SELECT ")[0])


def quoted(text: str) -> str:
    """The text with what would end a quoted string or identifier escaped."""
    return re.sub(r"([\\'`\"])", r"\\\1", text)


def _setting_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise PermanentError("unknown_setting", f"{name!r} is no name of a setting")
    return name
