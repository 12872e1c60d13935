"""Every view of `hf`, cell by cell, against the uploads that stand behind it."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, Final, Protocol

import numpy as np

from bench.privacy_fleet import MODELS, arm_name, model_name, version_name
from bench.privacy_truth import CLASS, Shown
from bench.report import Result
from streams.series import METRIC_NAMES
from wire.smallest_cell import UPLOADS_MIN
from wire.times import DAY_MS, HOUR_MS

Key = tuple[object, ...]


class Analyst(Protocol):
    """Asks as the analyst; `store.client.Client` is one."""

    def rows(
        self, sql: str, parameters: Mapping[str, object] | None = None
    ) -> Sequence[Sequence[object]]:
        """Run a query; its rows."""


BESIDE: Final = ("cost_daily", "ingest_quality", "ingest_reasons", "rollbacks", "verdicts")
"""Views that `bench.privacy_beside` reads, and `rollbacks`, which repeats what `verdicts` shows."""
_HEALTH: Final = (
    *("inference.latency", "inference.energy", "inference.error"),
    *("network.sent", "network.received", "prediction.class"),
)
_OF_CELLS: Final = (
    "SELECT groupArray(uploads) FROM hf.metric_minute WHERE model_id = {m:String} "
    "GROUP BY minute, width_s, model_version, rollout_id, arm"
)
_OF_ONE: Final = "SELECT {columns} FROM hf.{view} WHERE model_id = {{m:String}}"


def _minute(place: Sequence[int]) -> Key | None:
    _, version, arm, metric, at_ms, width_s, code = place
    if code >= 0 or METRIC_NAMES[metric] in ("prediction.class", "inference.error"):
        return None
    return at_ms // 1000, width_s, version_name(version), arm_name(arm), METRIC_NAMES[metric]


def _total(place: Sequence[int]) -> Key | None:
    _, version, _, metric, at_ms, _, code = place
    day = at_ms // DAY_MS * DAY_MS // 1000
    return None if code >= 0 else (day, version_name(version), METRIC_NAMES[metric])


def _class(place: Sequence[int]) -> Key | None:
    _, version, arm, metric, at_ms, _, code = place
    if metric != CLASS or code < 0:
        return None
    return at_ms // HOUR_MS * HOUR_MS // 1000, version_name(version), arm_name(arm), code


def _health(place: Sequence[int]) -> Key | None:
    _, version, arm, metric, at_ms, _, code = place
    if code >= 0 or METRIC_NAMES[metric] not in _HEALTH:
        return None
    hour = at_ms // HOUR_MS * HOUR_MS // 1000
    return hour, version_name(version), arm_name(arm), METRIC_NAMES[metric]


def _as_metrics(rows: Sequence[Sequence[Any]]) -> list[tuple[Key, int | None, float]]:
    """A row of release_health holds a cell of each metric that is not null."""
    found: list[tuple[Key, int | None, float]] = []
    for hour, version, arm, p50, p95, energy, errors in rows:
        key = (hour, version, arm)
        needs = [("inference.latency", p50, 20), ("inference.latency", p95, 200)]
        needs += [
            ("inference.energy", energy, UPLOADS_MIN),
            ("inference.error", errors, UPLOADS_MIN),
        ]
        found += [((*key, name), None, least) for name, v, least in needs if v is not None]
    return found


def _counted(rows: Sequence[Sequence[Any]]) -> list[tuple[Key, int | None, float]]:
    return [(tuple(row[:-1]), int(row[-1]), UPLOADS_MIN) for row in rows]


def _with_quantiles(rows: Sequence[Sequence[Any]]) -> list[tuple[Key, int | None, float]]:
    found: list[tuple[Key, int | None, float]] = []
    for *key, n, p50, p95, p99 in rows:
        shown = [(p50, 20), (p95, 200), (p99, 1000)]
        found.append(
            (tuple(key), int(n), max([UPLOADS_MIN, *(k for v, k in shown if v is not None)]))
        )
    return found


_STAMP: Final = "toUnixTimestamp(toDateTime({0}, 'UTC'))"
_RELEASE: Final = "toString(model_version), toString(arm)"
READERS: Final[dict[str, tuple[str, Callable[..., Any], Callable[..., Any]]]] = {
    "metric_minute": (
        f"{_STAMP.format('minute')}, width_s, {_RELEASE}, toString(metric), n, p50, p95, p99",
        _minute,
        _with_quantiles,
    ),
    "metric_totals": (
        f"{_STAMP.format('day')}, toString(model_version), toString(metric), n", _total, _counted,
    ),
    "class_share": (f"{_STAMP.format('hour')}, {_RELEASE}, class, n", _class, _counted),
    "release_health": (
        f"{_STAMP.format('hour')}, {_RELEASE}, latency_p50_ms, latency_p95_ms, energy_mean_mj, "
        "error_share",
        _health,
        _as_metrics,
    ),
}  # fmt: skip


def read_views(analyst: Analyst, shown: Shown) -> list[Result]:
    """All cells of all views that the engine has; a view that nobody told of is a miss."""
    views = sorted({str(row[0]) for row in analyst.rows(
        "SELECT name FROM system.tables WHERE database = 'hf'")})  # fmt: skip
    results = []
    for view in views:
        if view in BESIDE:
            continue
        cells, below, differ = _read(analyst, shown, view) if view in READERS else (0, 1, 0)
        results += [
            Result("S10", f"{view}: cells", cells, "cells", (">=", 1)),
            Result("S10", f"{view}: below ten uploads", below, "cells", ("<=", 0), max(cells, 1)),
            Result("S10", f"{view}: not of the truth", differ, "cells", ("<=", 0), max(cells, 1)),
        ]
    missing = set(READERS) - set(views)
    close, pairs = _close_metrics(analyst)
    what = "two metrics of one cell, said to be 1-9 uploads apart"
    results.append(Result("S10", what, close, "pairs", ("<=", 0), max(pairs, 1)))
    return [*results, Result("S10", "views that are gone", len(missing), "views", ("<=", 0))]


def _read(analyst: Analyst, shown: Shown, view: str) -> tuple[int, int, int]:
    """Cells, cells that rest on too few uploads, and cells that the truth has otherwise."""
    columns, key_of, cells_of = READERS[view]
    cells = below = differ = 0
    for model in range(MODELS):
        rows_of: dict[Key, list[int]] = {}
        for i in np.flatnonzero(shown.places[:, 0] == model).tolist():
            key = key_of(shown.places[i].tolist())
            if key is not None:
                rows_of.setdefault(key, []).append(i)
        sql = _OF_ONE.format(columns=columns, view=view)
        for key, n, least in cells_of(analyst.rows(sql, {"m": model_name(model)})):
            rows = np.array(rows_of.get(key, []), np.int64)
            cells += 1
            behind = shown.behind(rows)
            below += behind < least
            differ += n is not None and n != int(shown.n[rows].sum())
    return cells, below, differ


def _close_metrics(analyst: Analyst) -> tuple[int, int]:
    """Of pairs of metrics in one cell, how many are said to rest on uploads that differ by few."""
    close = pairs = 0
    for model in range(MODELS):
        for (counts,) in analyst.rows(_OF_CELLS, {"m": model_name(model)}):
            for first, second in combinations(map(int, counts), 2):  # type: ignore[call-overload]
                pairs += 1
                close += 0 < abs(first - second) < UPLOADS_MIN
    return close, pairs
