"""What was too small to be shown in its log window, together at the end of its log hour.

A log hour is over once a window of a later hour is stored: windows come in the order of the log.
What is released then never changes, since it is made of rows that never change, so a store that is
asked twice, or after a restart, holds the same rows.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from store.writer import Column, Ragged, arrow_table
from wire.smallest_cell import PARTIAL_MIN, UPLOADS_MIN
from wire.times import HOUR_MS

_RELEASE: Final = "app_id, model_id, model_version, rollout_id, arm"
_KEY: Final = f"{_RELEASE}, metric"

_CELLS: Final = f"""
SELECT
    {_KEY}, window_start, event_bucket, event_bucket_ms,
    sum(m.uploads) AS sent, sum(m.n) AS observations, sum(m.sum) AS amount,
    sumMap(arrayMap(b -> if(metric = 'inference.error', least(b, 1), b), buckets), counts) AS h
FROM hf_store.metric_window AS m FINAL
WHERE window_start >= fromUnixTimestamp64Milli(toInt64({{since}}))
    AND window_start < fromUnixTimestamp64Milli(toInt64({{until}}))
GROUP BY {_KEY}, window_start, event_bucket, event_bucket_ms
HAVING sent > 0
"""  # noqa: S608  # made of the names above

# what was not shown with its window: all metrics of a place or none
_SMALL: Final = f"""
SELECT {_KEY}, window_start, event_bucket, sent, observations, amount, h
FROM
(
    SELECT *, max(sent) OVER place AS most, min(sent) OVER place AS fewest
    FROM ({_CELLS})
    WINDOW place AS (PARTITION BY {_RELEASE}, window_start, event_bucket, event_bucket_ms)
)
WHERE (most < {UPLOADS_MIN} OR (fewest < {UPLOADS_MIN} AND most < {PARTIAL_MIN}))
    AND metric != 'prediction.class'
"""  # noqa: S608  # made of the names above

# an upload may have events in many minutes: of a window's buckets the largest count is sure
_HOURS: Final = f"""
SELECT
    {_RELEASE}, event_hour, max(each_sent) AS sent,
    groupArray((metric, each_sent, observations, amount, h)) AS metrics
FROM
(
    SELECT
        {_KEY}, event_hour, sum(largest) AS each_sent, sum(observations) AS observations,
        sum(amount) AS amount, sumMap(h.1, h.2) AS h
    FROM
    (
        SELECT
            {_KEY}, window_start, toStartOfHour(event_bucket) AS event_hour, max(sent) AS largest,
            sum(observations) AS observations, sum(amount) AS amount, sumMap(h.1, h.2) AS h
        FROM ({_SMALL})
        GROUP BY {_KEY}, window_start, event_hour
    )
    GROUP BY {_KEY}, event_hour
)
GROUP BY {_RELEASE}, event_hour
"""  # noqa: S608  # made of the names above

# too small still: the releases of a model as one, with the smallest of the others if need be
_PLACED: Final = f"""
SELECT
    *, sum(if(sent < {UPLOADS_MIN}, sent, 0)) OVER same AS left,
    row_number() OVER (PARTITION BY app_id, model_id, event_hour, sent >= {UPLOADS_MIN}
        ORDER BY sent, model_version, rollout_id, arm) AS place,
    sent < {UPLOADS_MIN} OR (left BETWEEN 1 AND {UPLOADS_MIN - 1} AND place = 1) AS folded
FROM ({_HOURS})
WINDOW same AS (PARTITION BY app_id, model_id, event_hour)
"""  # noqa: S608  # made of the names above

# a metric that too few have even so is left out; the others say the place's numbers
_RELEASED: Final = f"""
SELECT
    toUnixTimestamp(event_hour) * 1000, app_id, model_id, shown_version, shown_rollout, shown_arm,
    metric, max(total) OVER place, max(with_metric) OVER place AS n, total,
    amount * n / with_metric, h.1, h.2
FROM
(
    SELECT
        event_hour, app_id, model_id,
        if(folded, 'other', model_version) AS shown_version,
        if(folded, 'other', rollout_id) AS shown_rollout, if(folded, 'other', arm) AS shown_arm,
        each.1 AS metric, sum(each.2) AS total, sum(each.3) AS with_metric, sum(each.4) AS amount,
        sumMap(each.5.1, each.5.2) AS h
    FROM ({_PLACED}) ARRAY JOIN metrics AS each
    GROUP BY event_hour, app_id, model_id, shown_version, shown_rollout, shown_arm, metric
    HAVING total >= {UPLOADS_MIN}
)
WINDOW place AS (PARTITION BY event_hour, app_id, model_id, shown_version, shown_rollout, shown_arm)
"""  # noqa: S608  # made of the names above
_COLUMNS: Final = (
    "event_bucket",
    *_KEY.split(", "),
    "uploads",
    "n",
    "uploads_with",
    "sum",
    "buckets",
    "counts",
)


class Store(Protocol):
    """Answers queries and takes rows; `store.client.Client` is one."""

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        """Run a query; its rows."""

    def insert_arrow(self, table: str, rows: pa.Table) -> None:
        """Insert all rows or none; answered when they are durable."""


class Released:
    """Releases each log hour once. Told of windows by the one that stores them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open_ms: int | None = None  # start of the log hour that is not over

    def stored(self, starts_ms: Iterable[int]) -> None:
        """Windows of these starts are stored, and all before them."""
        hours = {start // HOUR_MS * HOUR_MS for start in starts_ms}
        if not hours:
            return
        if self._open_ms is None:  # a process before this one may have ended between two hours
            self._release_newest_before(min(hours))
        else:
            hours.add(self._open_ms)
        opened = max(hours)
        for hour in sorted(hours - {opened}):
            self._release(hour)
        self._open_ms = opened

    def _release_newest_before(self, hour_ms: int) -> None:
        ((newest,),) = self._store.rows(
            "SELECT toUnixTimestamp64Milli(max(window_start)) "  # noqa: S608  # of a number
            "FROM hf_store.metric_window "
            f"WHERE window_start < fromUnixTimestamp64Milli(toInt64({hour_ms:d}))"
        )
        if newest > 0:
            self._release(newest // HOUR_MS * HOUR_MS)

    def _release(self, hour_ms: int) -> None:
        text = _RELEASED.replace("{since}", f"{hour_ms:d}")
        found = self._store.rows(text.replace("{until}", f"{hour_ms + HOUR_MS:d}"))
        if not found:
            return
        columns: dict[str, Column] = dict(zip(_COLUMNS, zip(*found, strict=True), strict=True))
        columns |= {
            name: _ragged([row[i] for row in found])
            for name, i in (("buckets", -2), ("counts", -1))
        }
        columns |= {
            "window_start": [hour_ms] * len(found),
            "window_ms": [0] * len(found),
            "event_bucket_ms": [HOUR_MS] * len(found),
        }
        self._store.insert_arrow("hf_store.metric_shown", arrow_table("metric_shown", columns))


def _ragged(lists: Sequence[Sequence[int]]) -> Ragged:
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return Ragged(offsets, np.array([x for each in lists for x in each], np.int64))
