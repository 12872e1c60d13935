"""The embedded ClickHouse (chDB): one folder, one process, a fresh connection per statement.

A connection costs 0.2 ms and carries settings, so none is shared: no state leaks from one request
to the next. chDB reads `pyarrow` and `numpy` when it finds them, for formats that an HTTP server
never asks for; `without_arrow` keeps 40 MB out of an idle process.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.gate import StatementClass
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
        self.table_functions = frozenset(
            self._text("SELECT lower(name) FROM system.table_functions").split("\n")
        )

    def classify(self, sql: str) -> StatementClass:
        """The engine's own classification; unreadable SQL raises StatementError."""
        try:
            found = self._held._conn.classify_query(sql)  # noqa: SLF001  # no public name, pinned by a test
        except RuntimeError as error:
            raise StatementError(str(error)) from error
        return StatementClass(
            str(found["query_class"]).rpartition(".")[2].lower(), int(found["statement_count"])
        )

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


def quoted(text: str) -> str:
    """The text with what would end a quoted string or identifier escaped."""
    return re.sub(r"([\\'`\"])", r"\\\1", text)


def _setting_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise PermanentError("unknown_setting", f"{name!r} is no name of a setting")
    return name
