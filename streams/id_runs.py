"""Sorted runs of 16-byte ids: in memory, or in a file with one fence per page in memory.

A file has no name: it is unlinked as soon as it is open. Nothing of it outlives the process, so
there is nothing to find stale, torn or lost after a crash; the log's ids rebuild it.
"""

import os
import struct
import tempfile
import weakref
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.id_filter import Halves, IdFilter

PAGE_IDS: Final = 256  # 4 KiB: what a lookup reads
_MERGE_PAGES: Final = 256  # fences between two cuts of a merge: about 1 MiB of ids at a time
_PAIR: Final = np.dtype([("high", ">u8"), ("low", ">u8")])
_ID: Final = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids as two halves, shape ``(U,)`` each; in order of `high` when they are a run's."""

    high: Halves
    low: Halves

    def __len__(self) -> int:
        return len(self.high)

    def __getitem__(self, part: slice | NDArray[np.bool_]) -> "Ids":
        return Ids(self.high[part], self.low[part])

    def tobytes(self) -> bytes:
        """16 bytes an id."""
        pair = np.empty(len(self), _PAIR)
        pair["high"], pair["low"] = self.high, self.low
        return pair.tobytes()


def ids_of(joined: bytes) -> Ids:
    """Ids of 16 bytes each, as they come."""
    pair = np.frombuffer(joined, _PAIR)
    return Ids(pair["high"].astype(np.uint64), pair["low"].astype(np.uint64))


def merged(parts: Sequence[Ids]) -> Ids:
    """All ids of the parts, sorted; cheap when each part is."""
    high = np.concatenate([p.high for p in parts])
    order = np.argsort(high, kind="stable")  # finds and merges what is in order already
    return Ids(high[order], np.concatenate([p.low for p in parts])[order])


@dataclass(frozen=True, slots=True)
class MemoryRun:
    """Sorted ids in memory; `newest_ms` is the latest arrival among them."""

    newest_ms: int
    ids: Ids

    def __len__(self) -> int:
        return len(self.ids)

    def has(self, wanted: Ids) -> NDArray[np.bool_]:
        """Which of these are in the run, shape ``(U,)``."""
        found = np.zeros(len(wanted), bool)
        first = np.searchsorted(self.ids.high, wanted.high)
        equal = self.ids.high[np.minimum(first, len(self.ids) - 1)] == wanted.high
        for i in np.flatnonzero(equal):  # equal upper halves: all but never, unless repeated
            last = np.searchsorted(self.ids.high, wanted.high[i], side="right")
            found[i] = bool((self.ids.low[first[i] : last] == wanted.low[i]).any())
        return found


@dataclass(eq=False, slots=True, weakref_slot=True)
class FileRun:
    """Sorted ids in a nameless file. `fences` holds the upper half of each page's first id.

    `filter` spares reading for new ids of the hour in which it was written; it may be dropped.
    """

    newest_ms: int
    level: int
    count: int
    first: int
    last: int
    fences: "array[int]"  # in the machine's order: bisect is faster there than NumPy's search
    filter: IdFilter | None
    _file: int = field(repr=False)

    def __post_init__(self) -> None:
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return self.count

    def may_have(self, wanted: Ids) -> NDArray[np.bool_]:
        """False where an id is certainly not in the run, shape ``(U,)``; reads nothing."""
        inside = (wanted.high >= np.uint64(self.first)) & (wanted.high <= np.uint64(self.last))
        if self.filter is not None and inside.any():
            inside[inside] = self.filter.may_have(wanted.high[inside], wanted.low[inside])
        return inside

    def has(self, high: int, low: int) -> bool:
        """Whether this id is in the run. Reads a page: ask `may_have` first."""
        begin = max(bisect_left(self.fences, high) - 1, 0)
        page = self._bytes(begin, bisect_right(self.fences, high))
        key = _ID.pack(high, low)
        at = page.find(key)
        while at % _ID.size and at >= 0:  # found across two ids: look on
            at = page.find(key, at + 1)
        return at >= 0

    def _bytes(self, begin: int, end: int) -> bytes:
        size = PAGE_IDS * _ID.size
        wanted = min(end * size, self.count * _ID.size) - begin * size
        read = os.pread(self._file, wanted, begin * size)
        if len(read) != wanted:
            raise OSError(f"{len(read)} bytes of a run of ids where {wanted} were written")
        return read

    def below(self, cuts: Iterable[np.uint64 | None]) -> Iterator[Ids]:
        """The ids before each cut that were not given yet; None is the end."""
        page, rest = 0, ids_of(b"")
        for cut in cuts:
            end = len(self.fences) if cut is None else bisect_left(self.fences, int(cut))
            if end > page:
                read = ids_of(self._bytes(page, end))
                rest = Ids(np.append(rest.high, read.high), np.append(rest.low, read.low))
                page = end
            at = len(rest) if cut is None else int(np.searchsorted(rest.high, cut))
            yield rest[:at]
            rest = rest[at:]


def write_run(
    folder: Path, chunks: Iterable[Ids], *, newest_ms: int, level: int, filter_: IdFilter
) -> FileRun:
    """Write sorted chunks, at least one id in all, that follow each other. Raises OSError.

    `filter_` is empty; it takes what it covers.
    """
    file, name = tempfile.mkstemp(prefix="ids-", dir=folder)
    count, first, last = 0, 0, 0
    fences = array("Q")
    try:
        Path(name).unlink()
        for ids in chunks:
            if not len(ids):
                continue
            left = memoryview(ids.tobytes())
            while left:
                left = left[os.write(file, left) :]
            first = first if count else int(ids.high[0])
            last = int(ids.high[-1])
            fences.frombytes(ids.high[-count % PAGE_IDS :: PAGE_IDS].tobytes())
            count += len(ids)
            filter_.add(ids.high, ids.low)
    except BaseException:
        os.close(file)
        raise
    return FileRun(newest_ms, level, count, first, last, fences, filter_, file)


def merge_runs(folder: Path, runs: Sequence[FileRun], *, level: int, since: int) -> FileRun:
    """One run of several, a few pages of each in memory at a time. Raises OSError.

    Its filter covers the ids from `since` on.
    """
    fences = np.sort(np.concatenate([np.frombuffer(run.fences, np.uint64) for run in runs]))
    cuts: list[np.uint64 | None] = [*fences[_MERGE_PAGES::_MERGE_PAGES], None]
    parts = zip(*(run.below(cuts) for run in runs), strict=True)
    newest_ms = max(run.newest_ms for run in runs)
    covered = sum(run.filter.count for run in runs if run.filter is not None)
    return write_run(
        folder,
        map(merged, parts),
        newest_ms=newest_ms,
        level=level,
        filter_=IdFilter(since, covered),
    )
