"""What a window's rows are billed by, by day, and what cost alerts judge, by hour of use."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from streams.partial import CostDay, DayUse, UseHour
from streams.series import CostSeries
from wire.columns import UINT_ABSENT
from wire.segment import Column
from wire.times import DAY_MS, HOUR_MS

_DAY_HOURS: Final = 24
_HOUR_MINUTES: Final = 60
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

        All rows of an upload come in one call, one after the other, and all have its series.
        """
        runs = _Runs.of(key, minute // _HOUR_MINUTES, upload, columns)
        first = int(runs.hour.min()) // _DAY_HOURS
        hour = runs.hour - first * _DAY_HOURS
        days = int(hour.max()) // _DAY_HOURS + 1
        code = runs.key.astype(np.int64) * (days * _DAY_HOURS) + hour
        size, shape = len(series) * days * _DAY_HOURS, (len(series), days, _DAY_HOURS)
        # float64 sums of integers below 2**53 are exact, so they do not depend on the order
        sums = [np.bincount(code, amount, size).reshape(shape) for amount in runs.amounts]
        table = np.stack(sums, axis=-1).astype(np.int64)
        behind = _uploads_behind(runs, hour // _DAY_HOURS, shape[:2])
        self._bill(series, np.concatenate([table.sum(axis=2), behind], axis=-1), first)
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


class _Runs(NamedTuple):
    """Rows of an upload in one hour that stand together; few, as a phone says what it just did."""

    key: NDArray[np.int32]
    hour: NDArray[np.int64]
    upload: NDArray[np.int64]  # counted from 0, rising
    amounts: list[NDArray[np.float64]]  # rows, then what is billed

    @classmethod
    def of(
        cls,
        key: NDArray[np.int32],
        hour: NDArray[np.int64],
        upload: NDArray[np.int64],
        columns: Mapping[str, Column],
    ) -> Self:
        new = np.ones(len(hour), np.bool_)
        np.not_equal(hour[1:], hour[:-1], out=new[1:])
        new[1:] |= upload[1:] != upload[:-1]
        starts = np.flatnonzero(new)
        amounts = [np.diff(starts, append=len(hour)).astype(np.float64)]
        for name in _COLUMNS:
            if name in columns:
                amounts.append(np.add.reduceat(_whole(columns[name]), starts, dtype=np.float64))
            else:
                amounts.append(np.zeros(len(starts)))
        return cls(key[starts], hour[starts], upload[starts] - upload[0], amounts)


def _uploads_behind(
    runs: _Runs, day: NDArray[np.int64], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Uploads by series and day: with rows, and with more than 0 of each amount that is billed."""
    series, days = shape
    uploads = int(runs.upload[-1]) + 1
    of_upload = np.zeros(uploads, np.int64)
    of_upload[runs.upload] = runs.key
    code = runs.upload * days + day
    rows, energy, sent, received = runs.amounts
    counts = np.empty((*shape, 4), np.int64)
    for i, amount in enumerate((rows, energy, sent + received, received)):
        seen = np.zeros(uploads * days, np.bool_)  # a day may come in many runs
        seen[code[amount > 0]] = True
        found = np.flatnonzero(seen)
        where = of_upload[found // days] * days + found % days
        counts[..., i] = np.bincount(where, minlength=series * days).reshape(shape)
    return counts


def _whole(column: Column) -> Column:
    """Integers, absent as 0."""
    if column.dtype.kind == "f":
        return np.where(np.isnan(column), 0, np.rint(column))
    return np.where(column == UINT_ABSENT, 0, column)
