"""Cells of the views that are not made of events alone: bills, mass balance, reasons, verdicts."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from bench.privacy_cells import Analyst
from bench.privacy_fleet import MODELS, model_name, version_name
from bench.privacy_truth import Shown
from bench.report import Result
from streams.partial import Quality
from wire.smallest_cell import UPLOADS_MIN
from wire.times import DAY_MS, HOUR_MS, MINUTE_MS

Balance = Sequence[tuple[int, Counter[Quality]]]
"""Start of each window, and what became of its rows."""
Found = Iterator[bool]
"""Of each cell whether it rests on enough."""


def _bills(analyst: Analyst, shown: Shown, _: Balance) -> Found:
    for model in range(MODELS):
        behind: dict[tuple[int, str], int] = {}
        places = shown.places
        for i in np.flatnonzero((places[:, 0] == model) & (places[:, 6] == -1)).tolist():
            key = (int(places[i, 4]) // DAY_MS * DAY_MS // 1000, version_name(int(places[i, 1])))
            sent = int(shown.offsets[i + 1] - shown.offsets[i])
            behind[key] = max(behind.get(key, 0), sent)
        rows: Sequence[Sequence[Any]] = analyst.rows(
            "SELECT toUnixTimestamp(toDateTime(day, 'UTC')), toString(model_version), quantity "
            "FROM hf.cost_daily WHERE model_id = {m:String}",
            {"m": model_name(model)},
        )
        for day, version, _quantity in rows:
            yield behind.get((day, version), 0) >= UPLOADS_MIN


def _quality(analyst: Analyst, _: Shown, balance: Balance) -> Found:
    minutes, hours = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for start, counted in balance:
        for outcome in ("rejected", "deduplicated"):
            uploads = sum(
                n for q, n in counted.items() if q.unit == "uploads" and q.outcome == outcome
            )
            minutes[outcome, start // MINUTE_MS * 60] += uploads
            if uploads < UPLOADS_MIN:
                hours[outcome, start // HOUR_MS * 3600] += uploads
    rows: Sequence[Sequence[Any]] = analyst.rows(
        "SELECT toUnixTimestamp(minute), aggregated, rejected, deduplicated FROM hf.ingest_quality"
    )
    for at, aggregated, *others in rows:
        yield aggregated == 0 or aggregated >= UPLOADS_MIN
        for outcome, n in zip(("rejected", "deduplicated"), others, strict=True):
            if n:
                both = minutes[outcome, at], hours[outcome, at]
                yield max(both) >= UPLOADS_MIN


def _reasons(analyst: Analyst, _: Shown, __: Balance) -> Found:
    rows: Sequence[Sequence[Any]] = analyst.rows("SELECT n FROM hf.ingest_reasons")
    for (n,) in rows:
        yield n >= UPLOADS_MIN


def _verdicts(analyst: Analyst, _: Shown, __: Balance) -> Found:
    rows: Sequence[Sequence[Any]] = analyst.rows(
        "SELECT units_candidate, units_control FROM hf.verdicts"
    )
    for row in rows:
        for units in row:
            yield units == 0 or units >= UPLOADS_MIN


_READERS: Final[dict[str, Callable[[Analyst, Shown, Balance], Found]]] = {
    "cost_daily": _bills,
    "ingest_quality": _quality,
    "ingest_reasons": _reasons,
    "verdicts": _verdicts,
}


def read_beside(analyst: Analyst, shown: Shown, balance: Balance) -> Iterator[Result]:
    """All cells of these views, and how many rest on too few."""
    for view, read in _READERS.items():
        enough = list(read(analyst, shown, balance))
        below = enough.count(False)
        yield Result("S10", f"{view}: cells", len(enough), "cells", (">=", 1))
        yield Result("S10", f"{view}: below ten", below, "cells", ("<=", 0), max(len(enough), 1))
