"""The questions that the commands ask, by name.

`events_stored`, `mass_balance` and `judged` need the writer's credential: they tell what is stored,
where views tell what may be shown. The others read `hf`, any may.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from store.client import Table
from wire.errors import PermanentError

Row = dict[str, object]


class Reads(Protocol):
    """Runs queries; `store.client.Client` is one."""

    def table(self, sql: str, parameters: Mapping[str, object] | None = None) -> Table:
        """Run a query; `parameters` fill placeholders like ``{name:String}``."""


def verdict(store: Reads, verdict_id: str) -> Row:
    """One verdict, `arithmetic` decoded; a unique beginning of the id is enough.

    Raises PermanentError ``unknown_verdict`` or ``ambiguous_verdict``.
    """
    found = _rows(
        store,
        "SELECT * FROM hf.verdicts WHERE startsWith(verdict_id, {id:String}) LIMIT 2",
        {"id": verdict_id},
    )
    if not found or not verdict_id:
        raise PermanentError("unknown_verdict", f"there is no verdict {verdict_id!r}")
    if len(found) > 1 and found[0]["verdict_id"] != verdict_id:
        raise PermanentError("ambiguous_verdict", f"several verdicts begin with {verdict_id!r}")
    row = found[0]
    row["arithmetic"] = json.loads(str(row["arithmetic"]))
    return row


def judged(store: Reads, verdict_id: str) -> dict[str, Any]:
    """The arithmetic of one verdict as it was judged, told or not; {} if it is not stored."""
    sql = "SELECT arithmetic FROM hf_store.verdict FINAL WHERE verdict_id = {id:String} LIMIT 1"
    found = store.table(sql, {"id": verdict_id}).rows
    decoded: dict[str, Any] = json.loads(str(found[0][0])) if found else {}
    return decoded


def verdicts(store: Reads, *, rollout_id: str = "", rows_max: int = 20) -> list[Row]:
    """The latest verdicts, of one rollout if named, newest first, without their arithmetic."""
    return _rows(
        store,
        "SELECT * EXCEPT (arithmetic) FROM hf.verdicts "
        "WHERE {rollout:String} = '' OR rollout_id = {rollout:String} "
        "ORDER BY window_start DESC, verdict_id LIMIT {rows:UInt32}",
        {"rollout": rollout_id, "rows": rows_max},
    )


def rollbacks(store: Reads) -> list[Row]:
    """Every incident with its rollback, newest first."""
    return _rows(store, "SELECT * FROM hf.rollbacks ORDER BY acted_at DESC, incident_id")


def mass_balance(store: Reads) -> dict[str, int]:
    """Rows by outcome over all log minutes; `difference` is 0 at rest."""
    outcomes = ("received", "aggregated", "rejected", "deduplicated", "dead_lettered")
    terms = ", ".join(f"sumIf(count, outcome = '{name}')" for name in outcomes)
    sql = f"SELECT {terms} FROM hf_store.ingest_window FINAL WHERE unit = 'rows'"  # noqa: S608  # the names above
    row = [int(str(value)) for value in store.table(sql).rows[0]]
    return {**dict(zip(outcomes, row, strict=True)), "difference": row[0] - sum(row[1:])}


def events_stored(store: Reads, *, metric: str = "inference.latency") -> int:
    """Observations of a metric in the store, each counted once."""
    sql = "SELECT sum(n) FROM hf_store.metric_window FINAL WHERE metric = {metric:String}"
    return int(str(store.table(sql, {"metric": metric}).rows[0][0]))


def ask(store: Reads, sql: str) -> Table:
    """Somebody's own query; the credential decides what it may read."""
    return store.table(sql)


def _rows(store: Reads, sql: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
    answer = store.table(sql, parameters)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
