"""Rows for tests of the store: what the stages would write, from plain samples."""

import numpy as np
from numpy.typing import NDArray

from analytics.buckets import bucket_of
from store.tables import TABLES
from store.writer import Column, Ragged
from wire.times import MINUTE_MS

START_MS = 1_763_000_040_000  # 2025-11-13 02:14:00 UTC, the start of a minute


def ragged(lists: list[NDArray[np.int64]]) -> Ragged:
    """Lists end to end."""
    offsets = np.cumsum([0, *(len(x) for x in lists)]).astype(np.int64)
    return Ragged(offsets, np.concatenate([*lists, np.zeros(0, np.int64)]))


def metric_rows(
    samples: list[NDArray[np.float32]],
    *,
    model: str,
    metric: str = "inference.latency",
    version: str = "1.0",
    arm: str = "control",
    window_start: int = START_MS,
    regions: list[str] | None = None,
    uploads: list[int] | None = None,
) -> dict[str, Column]:
    """One row per list of samples, in windows one after the other, all of one event minute."""
    rows = len(samples)
    is_code = metric in ("prediction.class", "inference.error")
    filled = [
        np.unique(x.astype(np.int64) if is_code else bucket_of(x), return_counts=True)
        for x in samples
    ]
    return {
        "window_start": window_start + np.arange(rows) * MINUTE_MS,
        "window_ms": [MINUTE_MS] * rows,
        "event_bucket": [START_MS] * rows,
        "event_bucket_ms": [MINUTE_MS] * rows,
        "app_id": ["app"] * rows,
        "model_id": [model] * rows,
        "model_version": [version] * rows,
        "rollout_id": [""] * rows,
        "step": [0] * rows,
        "arm": [arm] * rows,
        "platform": ["android"] * rows,
        "device_tier": ["mid"] * rows,
        "region": regions or ["de"] * rows,
        "metric": [metric] * rows,
        "uploads": uploads or [len(x) for x in samples],
        "n": [len(x) for x in samples],
        "sum": [float(x.astype(np.float64).sum()) for x in samples],
        "min": [float(x.min()) for x in samples],
        "max": [float(x.max()) for x in samples],
        "buckets": ragged([values.astype(np.int64) for values, _ in filled]),
        "counts": ragged([counts for _, counts in filled]),
    }


def rows_of(table: str, **changed: Column) -> dict[str, Column]:
    """Rows of a table with what a test does not care about left 0 or empty."""
    count = len(next(iter(changed.values())))  # type: ignore[arg-type]  # no test passes Ragged here
    blank: dict[str, Column] = {
        name: [""] * count
        if "String" in kind
        else ragged([np.zeros(0, np.int64)] * count)
        if kind.startswith("Array")
        else [START_MS] * count
        if kind.startswith("DateTime")
        else [0.0] * count
        if kind == "Float64"
        else [0] * count
        for name, kind in TABLES[table].items()
    }
    return blank | changed


def shown_rows(rows: dict[str, Column]) -> dict[str, Column]:
    """The rows of `metric_rows` as `metric_shown` has them, if each is large enough by itself."""
    rows = {**rows, "uploads_with": rows["uploads"]}
    return {name: rows[name] for name in TABLES["metric_shown"]}


def next_minute() -> dict[str, Column]:
    """A window that is later than every other of these tests: what is before it is over."""
    return rows_of(
        "ingest_window",
        window_start=[START_MS + 60_000],
        unit=["fields"],
        outcome=["received"],
        count=[1],
    )
