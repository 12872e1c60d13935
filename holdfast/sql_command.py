"""``holdfast sql``: one read-only statement on the store, as an analyst would send it."""

from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from holdfast.node_store import opened_store
from store import queries


def ask(directory: Path | None, sql: str) -> tuple[dict[str, object], str]:
    """JSON {columns, rows} and a table for people."""
    with opened_store(directory) as store:
        answer = queries.ask(store, sql)
    rows = [[_plain(value) for value in row] for row in answer.rows]
    table = RichTable(*answer.columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(value) for value in row))
    console = Console(width=max(80, 16 * len(answer.columns)), file=None, record=False)
    with console.capture() as shown:
        console.print(table)
    return {"columns": list(answer.columns), "rows": rows}, shown.get().rstrip()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return value if isinstance(value, int | float | str | None) else str(value)
