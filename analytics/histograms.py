"""Histograms of cells in long form: an entry for each cell and bucket that was seen."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.sorted_codes import is_new, stably_sorted

_BUCKET_BITS: Final = 16
_BUCKET_MASK: Final = (1 << _BUCKET_BITS) - 1
_WIDEST: Final = 4
"""Counts for each value, before it is cheaper to sort them."""


@dataclass(frozen=True, slots=True)
class Entries:
    """``H`` of them, sorted by (cell, bucket), each pair once, counts > 0. Each shape ``(H,)``."""

    cell: NDArray[np.int64]
    bucket: NDArray[np.int32]
    count: NDArray[np.int64]
    uploads: NDArray[np.int64]


def of_codes(
    cell: NDArray[np.int64], code: NDArray[np.int64], upload: NDArray[np.int64]
) -> Entries:
    """A bucket for each code, 0..65535; each is shown, so it is counted how many uploads said it.

    All of shape ``(R,)``, rows; one upload's rows of a cell are together.
    """
    order, entry = stably_sorted(cell << _BUCKET_BITS | code)
    sent = upload[order]
    new = is_new(entry)
    starts = np.flatnonzero(new)
    np.logical_or(new[1:], sent[1:] != sent[:-1], out=new[1:])
    return Entries(
        entry[starts] >> _BUCKET_BITS,
        (entry[starts] & _BUCKET_MASK).astype(np.int32),
        np.diff(starts, append=len(entry)),
        np.add.reduceat(new, starts, dtype=np.int64),
    )


def of_numbers(cell: NDArray[np.int64], bucket: NDArray[np.int16]) -> Entries:
    """Rows on a grid of which no bucket is shown, so nobody asks which uploads are in one: 0.

    Counts of each bucket that was seen between the lowest and the highest, for each cell, take a
    few times the room of the rows at most; else the rows are sorted. `cell` ascends.
    """
    lowest, width = int(bucket.min()), int(np.ptp(bucket)) + 1
    if (int(cell[-1]) + 1) * width <= _WIDEST * len(bucket):
        counts = np.bincount(cell * width + (bucket - lowest))
        at = np.flatnonzero(counts)
        cells, numbers, count = at // width, at % width + lowest, counts[at]
    else:
        entry = cell << _BUCKET_BITS | bucket
        entry.sort()
        starts = np.flatnonzero(is_new(entry))
        cells, numbers = entry[starts] >> _BUCKET_BITS, entry[starts] & _BUCKET_MASK
        count = np.diff(starts, append=len(entry))
    return Entries(cells, numbers.astype(np.int32), count, np.zeros(len(cells), np.int64))


def added_up(parts: Entries) -> Entries:
    """Entries in any order, a pair as often as it comes -> each pair once."""
    order, entry = stably_sorted(parts.cell << _BUCKET_BITS | parts.bucket)
    starts = np.flatnonzero(is_new(entry))
    return Entries(
        entry[starts] >> _BUCKET_BITS,
        (entry[starts] & _BUCKET_MASK).astype(np.int32),
        np.add.reduceat(parts.count[order], starts),
        np.add.reduceat(parts.uploads[order], starts),
    )
