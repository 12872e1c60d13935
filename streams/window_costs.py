"""What a window's rows are billed by, by day, and what cost alerts judge, by hour of use."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.partial import CostDay, DayUse, UseHour
from streams.series import CostSeries
from wire.columns import UINT_ABSENT
from wire.segment import Column
from wire.times import DAY_MS, HOUR_MS

_DAY_HOURS: Final = 24
_HOUR_MINUTES: Final = 60
_DAY_MINUTES: Final = _DAY_HOURS * _HOUR_MINUTES
_COLUMNS: Final = ("energy_mj", "bytes_sent", "bytes_received")
_REMOTE: Final = ("edge", "cloud")


class WindowCosts:
    """Sums of one window; an hour of use is open until the hour after it has ended."""

    def __init__(self, start_ms: int) -> None:
        self._open_ms = start_ms // HOUR_MS * HOUR_MS - HOUR_MS
        self.billed: dict[CostDay, DayUse] = {}
        self.use: dict[UseHour, tuple[int, int]] = {}

    def add(
        self,
        series: Sequence[CostSeries],
        key: NDArray[np.int32],
        minute: NDArray[np.int64],
        columns: Mapping[str, Column],
        upload: NDArray[np.int64],
    ) -> None:
        """Rows as columns: `key` numbers `series`, `minute` is when it happened.

        All rows of an upload come in one call, and all have its series.
        """
        day = minute // _DAY_MINUTES
        first, days = int(day.min()), int(day.max() - day.min()) + 1
        hour = minute // _HOUR_MINUTES - first * _DAY_HOURS
        code = key.astype(np.int64) * (days * _DAY_HOURS) + hour
        shape = (len(series), days, _DAY_HOURS)
        whole = {c: _whole(columns[c]) for c in _COLUMNS if c in columns}
        rows, absent = _summed(code, None, shape), np.zeros(shape, np.int64)
        amounts = [_summed(code, whole[c], shape) if c in whole else absent for c in _COLUMNS]
        table = np.stack([rows, *amounts], axis=-1)
        sent = _behind(upload, key, day - first, whole, shape[:2])
        self._bill(series, np.concatenate([table.sum(axis=2), sent], axis=-1), first)
        self._note_use(series, table, first)

    def _bill(self, series: Sequence[CostSeries], table: NDArray[np.int64], first: int) -> None:
        for i, day in np.argwhere(table[:, :, 0]).tolist():
            where = CostDay(series[i], (first + day) * DAY_MS)
            used, old = DayUse(*table[i, day].tolist()), self.billed.get(where)
            self.billed[where] = used if old is None else old.plus(used)

    def _note_use(self, series: Sequence[CostSeries], table: NDArray[np.int64], first: int) -> None:
        opened = max(self._open_ms // HOUR_MS - first * _DAY_HOURS, 0)
        hours = table.reshape(len(series), -1, table.shape[-1])[:, opened:]
        for i, hour in np.argwhere(hours[:, :, 0]).tolist():
            s = series[i]
            where = UseHour(s.app_id, s.model_id, first * DAY_MS + (opened + hour) * HOUR_MS)
            calls = int(hours[i, hour, 0]) if s.placement in _REMOTE else 0
            old = self.use.get(where, (0, 0))
            self.use[where] = old[0] + calls, old[1] + int(hours[i, hour, -1])


def _summed(
    code: NDArray[np.int64], weights: NDArray[np.float64] | None, shape: tuple[int, int, int]
) -> NDArray[np.int64]:
    """Counts of codes, or sums of weights over them; float64 sums of integers are exact."""
    size = shape[0] * shape[1] * shape[2]
    return np.bincount(code, weights=weights, minlength=size).astype(np.int64).reshape(shape)


def _behind(
    upload: NDArray[np.int64],
    key: NDArray[np.int32],
    day: NDArray[np.int64],
    whole: Mapping[str, NDArray[np.float64]],
    shape: tuple[int, int],
) -> NDArray[np.int64]:
    """Uploads by series and day: with rows, and with more than 0 of each amount that is billed."""
    series, days = shape
    number = upload - upload.min()
    uploads = int(number.max()) + 1
    of_upload = np.zeros(uploads, np.int64)
    of_upload[number] = key
    energy, sent, received = (whole[c] > 0 if c in whole else None for c in _COLUMNS)
    traffic = received if sent is None else sent if received is None else sent | received
    code = number * days + day
    counts = np.zeros((*shape, 4), np.int64)
    for i, adds in enumerate((np.ones(len(code), np.bool_), energy, traffic, received)):
        if adds is None:
            continue
        seen = np.zeros(uploads * days, np.bool_)
        seen[code[adds]] = True
        found = np.flatnonzero(seen)
        where = of_upload[found // days] * days + found % days
        counts[..., i] = np.bincount(where, minlength=series * days).reshape(shape)
    return counts


def _whole(column: Column) -> NDArray[np.float64]:
    """Integers as float64, absent as 0."""
    values = np.rint(column.astype(np.float64))
    absent = np.isnan(column) if column.dtype.kind == "f" else column == UINT_ABSENT
    return np.where(absent, 0.0, values)
