"""The window that a partition is in: columns pile up, cells are made of them in bulk."""

from collections import Counter
from collections.abc import Mapping
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from analytics.cells import Cells, aggregate, merge
from streams.partial import Cohort, Quality, WindowPartial
from streams.series import (
    DAYS,
    LABEL_METRIC,
    LATE_MINUTES,
    METRIC_COLUMNS,
    METRIC_SHAPES,
    UNIT_NAMES,
    UNIT_SHAPES,
    CostSeries,
    Series,
    UnitSeries,
    cost_series_of,
    series_of,
    unit_series_of,
)
from streams.window_costs import WindowCosts
from wire.columns import FLOAT_ABSENT_BITS, UINT_ABSENT
from wire.context import Context
from wire.segment import ROW_COLUMNS, Column, Segment
from wire.times import MINUTE_MS

FOLD_ROWS: Final = 400_000
"""Rows that pile up before they are folded into cells; bounds memory at about 50 bytes each."""
_PARTS_MAX: Final = 8 * len(METRIC_COLUMNS)
"""Unmerged parts of cells, one a metric and fold; memory follows the cells, not the rows."""
_K = TypeVar("_K")
_UNIT_NUMBER: Final = {name: i for i, name in enumerate(UNIT_NAMES)}
_UNIT_DAY_COLUMNS: Final = (
    ("unit.error", "errored"),
    ("unit.crash", "crashed"),
    ("unit.energy", "energy_mj"),
    ("unit.data", "data_bytes"),
)


class OpenWindow:
    """Takes a window's segments in, in log order, each with its duplicates marked."""

    def __init__(self, start_ms: int, width_ms: int) -> None:
        self.start_ms = start_ms
        self._width_ms = width_ms
        self._numbers: dict[Context, tuple[int, int, int]] = {}
        self._series: dict[Series, int] = {}
        self._unit_series: dict[UnitSeries, int] = {}
        self._cost_series: dict[CostSeries, int] = {}
        self._pending: list[dict[str, Column]] = []
        self._pending_rows = 0
        self._uploads = 0
        self._cells: list[Cells] = []
        self._units: dict[int, list[tuple[NDArray[np.int32], Column]]] = {}
        self._enrolled: Counter[Cohort] = Counter()
        self._bets: Counter[Cohort] = Counter()
        self._costs = WindowCosts(start_ms)
        self.quality: Counter[Quality] = Counter()

    def add(self, segment: Segment, duplicate: NDArray[np.bool_]) -> None:
        """Count one telemetry segment. `duplicate` marks uploads that were counted before."""
        uploads = segment.uploads
        numbers = np.array([self._number(c) for c in segment.contexts], np.int32).reshape(-1, 3)
        of_upload = numbers[uploads["context"]]
        n = uploads["n"]
        kept = int(n[~duplicate].sum())
        self.quality[Quality("rows", "aggregated", "")] += kept
        if duplicate.any():
            self.quality[Quality("rows", "deduplicated", "")] += int(n[duplicate].sum())
            self.quality[Quality("uploads", "deduplicated", "")] += int(duplicate.sum())
        upload_of_row = np.repeat(np.arange(len(n)), n)
        rows: Mapping[str, Column] = segment.rows
        if duplicate.any():
            keep = ~duplicate[upload_of_row]
            rows = {name: column[keep] for name, column in rows.items()}
            upload_of_row = upload_of_row[keep]
        if kept:
            arrived = segment.arrived_ms // MINUTE_MS
            self._add_rows(rows, of_upload[upload_of_row], upload_of_row, arrived)
            self._add_bets(rows, uploads, of_upload, upload_of_row)
        self._add_enrolled(uploads, of_upload, duplicate)
        self._add_unit_days(segment, of_upload, duplicate)
        if self._pending_rows >= FOLD_ROWS:
            self._fold()

    def count_tallies(self, tallies: Mapping[str, int]) -> None:
        """Count what ingest refused; keys are ``unit:outcome`` or ``unit:outcome:reason``."""
        for name, count in tallies.items():
            unit, _, rest = name.partition(":")
            outcome, _, reason = rest.partition(":")
            self.quality[Quality(unit, outcome, reason)] += count

    def close(self) -> WindowPartial:
        """Everything counted, merged."""
        self._fold()
        return WindowPartial(
            start_ms=self.start_ms,
            width_ms=self._width_ms,
            series=list(self._series),
            cells=merge(self._cells),
            unit_series=list(self._unit_series),
            units=self._unit_cells(),
            enrolled=self._enrolled,
            bets=self._bets,
            costs=self._costs.billed,
            use=self._costs.use,
            quality=self.quality,
        )

    def _number(self, context: Context) -> tuple[int, int, int]:
        found = self._numbers.get(context)
        if found is None:
            found = (
                _intern(self._series, series_of(context)),
                _intern(self._unit_series, unit_series_of(context)),
                _intern(self._cost_series, cost_series_of(context)),
            )
            self._numbers[context] = found
        return found

    def _add_rows(
        self,
        rows: Mapping[str, Column],
        of_row: NDArray[np.int32],
        upload_of_row: NDArray[np.int64],
        arrived_minute: int,
    ) -> None:
        minute = rows["event_minute"].astype(np.int64)
        late = arrived_minute - minute > LATE_MINUTES
        # an event bucket in cells: start minute times two, plus one if it is an hour
        bucket = np.where(late, minute // 60 * 120 + 1, minute * 2)
        self._pending.append(
            {
                **rows,
                "series": of_row[:, 0],
                "cost": of_row[:, 2],
                "bucket": bucket,
                "upload": upload_of_row + self._uploads,
            }
        )
        self._uploads += int(upload_of_row[-1]) + 1
        self._pending_rows += len(minute)

    def _add_bets(
        self,
        rows: Mapping[str, Column],
        uploads: Mapping[str, Column],
        of_upload: NDArray[np.int32],
        upload_of_row: NDArray[np.int64],
    ) -> None:
        """Betting rows: at most the first of an upload, since an upload is one installation's."""
        betting = np.flatnonzero(rows["unit_bet"])
        _, first = np.unique(upload_of_row[betting], return_index=True)
        betting = betting[first]
        if not len(betting):
            return
        upload = upload_of_row[betting]
        key = of_upload[upload, 1]
        for metric, name in enumerate(METRIC_COLUMNS):
            if name in rows:
                self._add_present(metric, key, rows[name][betting])
        self._count_cohorts(self._bets, key, uploads["enrolled_ms"][upload])

    def _add_enrolled(
        self,
        uploads: Mapping[str, Column],
        of_upload: NDArray[np.int32],
        duplicate: NDArray[np.bool_],
    ) -> None:
        enrolled = np.flatnonzero(uploads["enrolled"].astype(bool) & ~duplicate)
        if len(enrolled):
            key = of_upload[enrolled, 1]
            self._count_cohorts(self._enrolled, key, uploads["enrolled_ms"][enrolled])

    def _count_cohorts(
        self, counter: Counter[Cohort], key: NDArray[np.int32], enrolled_ms: Column
    ) -> None:
        series = list(self._unit_series)
        for (k, ms), count in Counter(zip(key.tolist(), enrolled_ms.tolist(), strict=True)).items():
            counter[Cohort(series[k], ms)] += count

    def _add_unit_days(
        self, segment: Segment, of_upload: NDArray[np.int32], duplicate: NDArray[np.bool_]
    ) -> None:
        days = _kept(segment.unit_days, duplicate)
        for day in DAYS if days else ():
            here = _firsts(days["upload"], days["day"] == day)
            if len(here):
                key = of_upload[days["upload"][here], 1]
                for metric, column in _UNIT_DAY_COLUMNS:
                    values = days[column][here]
                    if values.dtype == np.uint8:
                        self._add_units(_UNIT_NUMBER[metric, day], key, values.astype(np.uint32))
                    else:
                        self._add_present(_UNIT_NUMBER[metric, day], key, values)
        labels = _kept(segment.feedback, duplicate)
        if labels:
            is_unit = labels["unit_correct"] + labels["unit_incorrect"] > 0
            at = _firsts(labels["upload"], is_unit)
            codes = (labels["unit_incorrect"][at] > 0).astype(np.uint32)
            key = of_upload[labels["upload"][at], 1]
            self._add_units(_UNIT_NUMBER[LABEL_METRIC, 0], key, codes)

    def _add_present(self, metric: int, key: NDArray[np.int32], values: Column) -> None:
        """Units that were measured: an absent one is no value, least of all the largest."""
        values, present = _present(values)
        if present is not None:
            key, values = key[present], values[present]
        self._add_units(metric, key, values)

    def _add_units(self, metric: int, key: NDArray[np.int32], values: Column) -> None:
        """Keep units until the window closes: many segments, few cells."""
        if len(key):
            self._units.setdefault(metric, []).append((key, values))

    def _unit_cells(self) -> Cells:
        cells = list[Cells]()
        for metric, parts in sorted(self._units.items()):
            key = np.concatenate([k for k, _ in parts])
            values = np.concatenate([v for _, v in parts])
            nowhen = np.zeros(len(key), np.int64)
            cells += aggregate(key, nowhen, {metric: (values, None)}, UNIT_SHAPES)
        return merge(cells)

    def _fold(self) -> None:
        if not self._pending:
            return
        sizes = [len(chunk["bucket"]) for chunk in self._pending]

        def joined(name: str) -> Column:
            return np.concatenate(
                [
                    chunk[name] if name in chunk else _absent(name, size)
                    for chunk, size in zip(self._pending, sizes, strict=True)
                ]
            )

        columns = {
            name: joined(name) for name in METRIC_COLUMNS if any(name in c for c in self._pending)
        }
        self._cells += aggregate(
            joined("series"),
            joined("bucket"),
            {m: _present(columns[c]) for m, c in enumerate(METRIC_COLUMNS) if c in columns},
            METRIC_SHAPES,
            joined("upload"),
        )
        if len(self._cells) > _PARTS_MAX:
            self._cells = [merge(self._cells)]
        minute = joined("event_minute").astype(np.int64)
        series, upload = list(self._cost_series), joined("upload")
        self._costs.add(series, joined("cost"), minute, columns, upload)
        self._pending, self._pending_rows = [], 0


def _intern(numbers: dict[_K, int], key: _K) -> int:
    return numbers.setdefault(key, len(numbers))


def _firsts(upload: Column, wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The first wanted row of each upload: it is one installation's, whoever wrote the segment."""
    at = np.flatnonzero(wanted)
    _, first = np.unique(upload[at], return_index=True)
    return at[first]


def _absent(name: str, size: int) -> Column:
    dtype = ROW_COLUMNS[name]
    bits = FLOAT_ABSENT_BITS if dtype.kind == "f" else UINT_ABSENT
    return np.full(size, bits, "<u4").view(dtype)


def _present(column: Column) -> tuple[Column, NDArray[np.bool_] | None]:
    """Values and which of them were measured; None if all were."""
    absent = np.isnan(column) if column.dtype.kind == "f" else column == UINT_ABSENT
    return column, ~absent if absent.any() else None


def _kept(table: Mapping[str, Column], duplicate: NDArray[np.bool_]) -> dict[str, Column]:
    if not table or not len(table["upload"]):
        return {}
    keep = ~duplicate[table["upload"]]
    return {name: column[keep] for name, column in table.items()} if keep.any() else {}
