"""What a window's rows are billed by, by day, and what cost alerts judge, by hour of use."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.partial import CostDay, UseHour
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
        self.billed: dict[CostDay, tuple[int, int, int, int]] = {}
        self.use: dict[UseHour, tuple[int, int]] = {}

    def add(
        self,
        series: Sequence[CostSeries],
        key: NDArray[np.int32],
        minute: NDArray[np.int64],
        columns: Mapping[str, Column],
    ) -> None:
        """Rows as columns: `key` numbers `series`, `minute` is when it happened."""
        day = minute // _DAY_MINUTES
        first, days = int(day.min()), int(day.max() - day.min()) + 1
        hour = minute // _HOUR_MINUTES - first * _DAY_HOURS
        code = key.astype(np.int64) * (days * _DAY_HOURS) + hour
        shape = (len(series), days, _DAY_HOURS)
        rows = _summed(code, None, shape)
        amounts = [_summed(code, columns[c], shape) if c in columns else None for c in _COLUMNS]
        absent = np.zeros(shape, np.int64)
        table = np.stack([rows, *(absent if a is None else a for a in amounts)], axis=-1)
        self._bill(series, table.sum(axis=2), first)
        self._note_use(series, table, first)

    def _bill(self, series: Sequence[CostSeries], table: NDArray[np.int64], first: int) -> None:
        for i, day in np.argwhere(table[:, :, 0]).tolist():
            where = CostDay(series[i], (first + day) * DAY_MS)
            n, energy, sent, received = table[i, day].tolist()
            old = self.billed.get(where, (0, 0, 0, 0))
            self.billed[where] = old[0] + n, old[1] + energy, old[2] + sent, old[3] + received

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
    code: NDArray[np.int64], column: Column | None, shape: tuple[int, int, int]
) -> NDArray[np.int64]:
    """Counts of codes, or sums of a column over them; float64 sums of integers are exact."""
    size = shape[0] * shape[1] * shape[2]
    weights = None if column is None else _whole(column)
    return np.bincount(code, weights=weights, minlength=size).astype(np.int64).reshape(shape)


def _whole(column: Column) -> NDArray[np.float64]:
    """Integers as float64, absent as 0."""
    values = np.rint(column.astype(np.float64))
    absent = np.isnan(column) if column.dtype.kind == "f" else column == UINT_ABSENT
    return np.where(absent, 0.0, values)
