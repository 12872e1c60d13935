"""Which batch ids have been seen: recent ones in memory, older ones in files, forgotten in time.

A pure function of the log: the answer for an id that was seen within the horizon depends on the
ids before it and on nothing else, so an index rebuilt from the log's id table answers alike after
a restart. Files are a place to put runs, not a record: without a folder all stays in memory.

Ids begin with the hour in which the upload was made (`wire.segment.batch_hour`), so that a run,
sorted, lies by age: a fresh upload is outside the range of every run that was written in an hour
before it, and the filters of the others know that it is not there. It reads no file.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.id_filter import IdFilter
from streams.id_runs import FileRun, Ids, MemoryRun, ids_of, merge_runs, merged, write_run
from wire.segment import BATCH_HOUR_BYTES, BATCH_ID, batch_hour

RECENT_MAX: Final = 16_384  # ids as Python objects: about 2 MB
RECENT_BYTES: Final = 120  # of one id in a set: the object, and its share of a half-full table
SPILL_IDS: Final = 1 << 18  # 4 MiB of sorted ids in memory, then a file
FAN_IN: Final = 8  # files of one level become one of the next
LEVEL_MAX: Final = 2  # up to 2^24 ids a file: a merge takes seconds, and a run expires as a whole
_BELOW_HOUR: Final = 64 - 8 * BATCH_HOUR_BYTES


@dataclass(slots=True)
class DedupIndex:
    """Ids of one partition. `horizon_ms` must cover the accepted age of an upload.

    With a `folder` (it must exist) memory is bounded by `spill_ids`, a fence per 256 ids, and
    two bytes for each id of the present hour.
    """

    horizon_ms: int
    folder: Path | None = None
    spill_ids: int = SPILL_IDS
    recent_max: int = RECENT_MAX
    _files: list[FileRun] = field(default_factory=list)
    _runs: list[MemoryRun] = field(default_factory=list)
    _recent: set[bytes] = field(default_factory=set)
    _recent_newest_ms: int = 0

    def __len__(self) -> int:
        return len(self._recent) + sum(map(len, self._runs)) + sum(map(len, self._files))

    @property
    def memory_bytes(self) -> int:
        """What the index holds in memory, by its own account."""
        recent = len(self._recent) * RECENT_BYTES
        runs = sum(len(run) for run in self._runs) * BATCH_ID.itemsize
        fences = sum(len(run.fences) * run.fences.itemsize for run in self._files)
        filters = sum(run.filter.memory_bytes for run in self._files if run.filter is not None)
        return recent + runs + fences + filters

    @property
    def disk_bytes(self) -> int:
        """What its files hold."""
        return sum(len(run) for run in self._files) * BATCH_ID.itemsize

    def add(self, ids: NDArray[np.void], now_ms: int) -> NDArray[np.bool_]:
        """Remember ids, shape ``(U,)`` of 16 bytes; True where one had been seen (or just was).

        `now_ms` is log time: it never goes back, and one clock that is wrong does not move it.
        """
        joined = ids.tobytes()
        seen = self._in_runs(ids_of(joined))
        recent = self._recent
        for i, key in enumerate(_split(joined)):
            if key in recent:
                seen[i] = True
            elif not seen[i]:
                recent.add(key)
        self._recent_newest_ms = max(self._recent_newest_ms, now_ms)
        if len(recent) >= self.recent_max:
            self._freeze(now_ms)
        return seen

    def restore(self, seen: Iterable[tuple[int, bytes]], *, now_ms: int) -> None:
        """Take (arrived_ms, ids) of the past in, oldest first; faster than `add`, no answers.

        May be called again with what comes next, in pieces of about `spill_ids`.
        """
        parts: list[bytes] = []
        size = 0
        for arrived_ms, joined in seen:
            parts.append(joined)
            size += len(joined)
            # a clock that ran ahead must not keep its ids for longer than others
            self._recent_newest_ms = max(self._recent_newest_ms, min(arrived_ms, now_ms))
            if size >= self.spill_ids * BATCH_ID.itemsize:
                self._push(b"".join(parts), now_ms)
                parts, size = [], 0
        if size >= self.recent_max * BATCH_ID.itemsize:
            self._push(b"".join(parts), now_ms)
        else:
            self._recent.update(_split(b"".join(parts)))
            if len(self._recent) >= self.recent_max:
                self._freeze(now_ms)

    def _in_runs(self, wanted: Ids) -> NDArray[np.bool_]:
        seen = np.zeros(len(wanted), bool)
        if not len(wanted):
            return seen
        for run in self._runs:
            seen |= run.has(wanted)
        lowest, highest = int(wanted.high.min()), int(wanted.high.max())
        for file in reversed(self._files):
            if highest < file.first or file.last < lowest:
                continue
            for i in np.flatnonzero(file.may_have(wanted) & ~seen):
                seen[i] = file.has(int(wanted.high[i]), int(wanted.low[i]))
        return seen

    def _freeze(self, now_ms: int) -> None:
        self._push(b"".join(self._recent), now_ms)
        self._recent = set()

    def _push(self, joined: bytes, now_ms: int) -> None:
        self._runs.append(MemoryRun(self._recent_newest_ms, merged([ids_of(joined)])))
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            self._runs[-2:] = [_joined(self._runs[-2:])]
        self._expire(now_ms)
        if self.folder and sum(len(run) for run in self._runs) >= self.spill_ids:
            self._spill(self.folder, batch_hour(now_ms) << _BELOW_HOUR)

    def _spill(self, folder: Path, since: int) -> None:
        """Put what is in memory into a file; if the disk does not take it, it stays.

        The present hour begins with the upper half `since`: filters of hours before it go.
        """
        for file in self._files:
            if file.filter is not None and file.filter.since != since:
                file.filter = None
        try:
            run = _joined(self._runs)
            empty = IdFilter(since, int((run.ids.high >= np.uint64(since)).sum()))
            written = write_run(folder, [run.ids], newest_ms=run.newest_ms, level=0, filter_=empty)
            self._files.append(written)
            self._runs = []
            for level in range(LEVEL_MAX):
                tail = self._files[-FAN_IN:]
                if len(tail) == FAN_IN and all(run.level == level for run in tail):
                    self._files[-FAN_IN:] = [merge_runs(folder, tail, level=level + 1, since=since)]
        except OSError:
            return  # more memory is used until it works again; every answer stays right

    def _expire(self, now_ms: int) -> None:
        """Drop runs whose last id is past the horizon: it may be late, it is never early."""
        past_ms = now_ms - self.horizon_ms
        self._runs = [run for run in self._runs if run.newest_ms >= past_ms]
        self._files = [run for run in self._files if run.newest_ms >= past_ms]


def _joined(runs: list[MemoryRun]) -> MemoryRun:
    return MemoryRun(max(run.newest_ms for run in runs), merged([run.ids for run in runs]))


def _split(joined: bytes) -> list[bytes]:
    width = BATCH_ID.itemsize
    return [joined[i : i + width] for i in range(0, len(joined), width)]
