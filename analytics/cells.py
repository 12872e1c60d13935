"""Observations -> mergeable integer cells: one per key, metric and event bucket.

A cell holds a count, a fixed-point sum, extremes and a histogram, in long form (struct of arrays),
and how many uploads stand behind it, which is what says whether it may be shown.
Everything that is added is an integer, so the result does not depend on the order of adding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from analytics.buckets import bucket_of
from analytics.histograms import Entries, added_up, of_codes, of_numbers
from analytics.sorted_codes import is_new, stably_sorted

_OF_HISTOGRAM: Final = ("hist_bucket", "hist_count", "hist_uploads")


class Shape(IntEnum):
    """How a metric's values fall into histogram buckets."""

    NUMBER = 0  # the log grid of `analytics.buckets`
    CODE = 1  # the value itself, 0..65535: classes, error codes


@dataclass(frozen=True, slots=True)
class MetricShape:
    """A metric as the arithmetic sees it. ``total = rint(value * scale)``, summed."""

    shape: Shape
    scale: int


@dataclass(frozen=True, slots=True)
class Cells:
    """``C`` cells in ascending (key, metric, event_bucket), ``H`` histogram entries.

    `key` indexes the caller's list of keys, `metric` its list of metrics; `event_bucket` is the
    caller's code. `hist_*` are sorted by (cell, bucket), each pair at most once, counts > 0.
    `uploads` counts each upload once per cell; parts that are merged share no upload, or an upload
    that they share is counted by each.
    """

    key: NDArray[np.int32]
    metric: NDArray[np.int32]
    event_bucket: NDArray[np.int64]
    n: NDArray[np.int64]
    uploads: NDArray[np.int64]
    total: NDArray[np.int64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    hist_cell: NDArray[np.int64]
    hist_bucket: NDArray[np.int32]
    hist_count: NDArray[np.int64]
    hist_uploads: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.key)


def empty() -> Cells:
    """No cells."""
    return Cells(
        key=np.zeros(0, np.int32),
        metric=np.zeros(0, np.int32),
        event_bucket=np.zeros(0, np.int64),
        n=np.zeros(0, np.int64),
        uploads=np.zeros(0, np.int64),
        total=np.zeros(0, np.int64),
        low=np.zeros(0, np.float32),
        high=np.zeros(0, np.float32),
        hist_cell=np.zeros(0, np.int64),
        hist_bucket=np.zeros(0, np.int32),
        hist_count=np.zeros(0, np.int64),
        hist_uploads=np.zeros(0, np.int64),
    )


def aggregate(
    key: NDArray[np.int32],
    event_bucket: NDArray[np.int64],
    columns: Mapping[
        int, tuple[NDArray[np.float32] | NDArray[np.uint32], NDArray[np.bool_] | None]
    ],
    shapes: Sequence[MetricShape],
    upload: NDArray[np.int64] | None = None,
) -> list[Cells]:
    """Cells of ``R`` observations, a part for each metric; `merge` makes them one.

    Parameters
    ----------
    key, event_bucket
        Of each observation, shape ``(R,)``; event_bucket in [0, 2**32).
    columns
        Metric number -> (values, present); present None means all. Values checked: finite, >= 0,
        below 65536 for `Shape.CODE`.
    shapes
        By metric number.
    upload
        Of each observation, shape ``(R,)``, rising: one upload's rows are together. None: each
        observation is an upload of its own.
    """
    if len(key) == 0:
        return []
    order, packed = stably_sorted(key.astype(np.int64) << 32 | event_bucket)
    sent = order if upload is None else upload[order]
    everything = _Groups.of(packed, sent)
    parts = []
    for metric, (values, present) in sorted(columns.items()):
        if present is None:
            parts.append(_one_metric(metric, values[order], everything, shapes[metric]))
            continue
        here = present[order]
        if here.any():
            groups = _Groups.of(packed[here], sent[here])
            parts.append(_one_metric(metric, values[order[here]], groups, shapes[metric]))
    return parts


@dataclass(frozen=True, slots=True)
class _Groups:
    """Rows in the order of their cells: where each cell starts, and whose rows they are."""

    key: NDArray[np.int64]  # of each cell
    starts: NDArray[np.int64]
    n: NDArray[np.int64]
    uploads: NDArray[np.int64]
    cell: NDArray[np.int64]  # of each row
    upload: NDArray[np.int64]  # of each row; one upload's rows of a cell are together

    @classmethod
    def of(cls, packed: NDArray[np.int64], upload: NDArray[np.int64]) -> Self:
        """`packed`: the key of each row's cell, ascending."""
        new = is_new(packed)
        starts = np.flatnonzero(new)
        n = np.diff(starts, append=len(packed))
        np.logical_or(new[1:], upload[1:] != upload[:-1], out=new[1:])
        uploads = np.add.reduceat(new, starts, dtype=np.int64)
        cell = np.repeat(np.arange(len(starts)), n)
        return cls(packed[starts], starts, n, uploads, cell, upload)


def _one_metric(
    metric: int,
    values: NDArray[np.float32] | NDArray[np.uint32],
    groups: _Groups,
    shape: MetricShape,
) -> Cells:
    """Cells of one metric; a value for each row of `groups`."""
    starts = groups.starts
    if values.dtype == np.float32 or shape.scale != 1:
        fixed = np.rint(values.astype(np.float64) * shape.scale).astype(np.int64)
    else:
        fixed = values.astype(np.int64)
    numbers = values.astype(np.float32, copy=False)
    if shape.shape is Shape.CODE:
        entries = of_codes(groups.cell, values.astype(np.int64), groups.upload)
    else:
        entries = of_numbers(groups.cell, bucket_of(numbers))
    return Cells(
        key=(groups.key >> 32).astype(np.int32),
        metric=np.full(len(starts), metric, np.int32),
        event_bucket=groups.key & 0xFFFFFFFF,
        n=groups.n,
        uploads=groups.uploads,
        total=np.add.reduceat(fixed, starts),
        low=np.minimum.reduceat(numbers, starts),
        high=np.maximum.reduceat(numbers, starts),
        hist_cell=entries.cell,
        hist_bucket=entries.bucket,
        hist_count=entries.count,
        hist_uploads=entries.uploads,
    )


def rekey(cells: Cells, new_key: NDArray[np.int32]) -> Cells:
    """The same cells under other key numbers; `new_key[old]`. Sorted again by `merge`."""
    values = {f.name: getattr(cells, f.name) for f in fields(Cells)}
    return Cells(**{**values, "key": new_key[cells.key]})


def merge(parts: Sequence[Cells]) -> Cells:
    """Add cells up: whole = merge of parts, in any order and grouping."""
    parts = [p for p in parts if len(p)]
    if not parts:
        return empty()
    key, metric, event_bucket, n, uploads, total, low, high = (
        np.concatenate([getattr(p, name) for p in parts])
        for name in ("key", "metric", "event_bucket", "n", "uploads", "total", "low", "high")
    )
    order = np.lexsort((event_bucket, metric, key))
    same = np.ones(len(order), bool)
    for column in (key, metric, event_bucket):
        same[1:] &= column[order[1:]] == column[order[:-1]]
    same[0] = False
    starts = np.flatnonzero(~same)
    new_cell = np.empty(len(order), np.int64)
    new_cell[order] = np.cumsum(~same) - 1
    first = order[starts]
    offsets = np.cumsum([0, *(len(p) for p in parts[:-1])])
    entries = added_up(
        Entries(
            np.concatenate(
                [new_cell[p.hist_cell + at] for p, at in zip(parts, offsets, strict=True)]
            ),
            *(np.concatenate([getattr(p, name) for p in parts]) for name in _OF_HISTOGRAM),
        )
    )
    return Cells(
        key=key[first],
        metric=metric[first],
        event_bucket=event_bucket[first],
        n=np.add.reduceat(n[order], starts),
        uploads=np.add.reduceat(uploads[order], starts),
        total=np.add.reduceat(total[order], starts),
        low=np.minimum.reduceat(low[order], starts),
        high=np.maximum.reduceat(high[order], starts),
        hist_cell=entries.cell,
        hist_bucket=entries.bucket,
        hist_count=entries.count,
        hist_uploads=entries.uploads,
    )


def histogram_offsets(cells: Cells) -> NDArray[np.int64]:
    """Where each cell's histogram entries begin, shape ``(C + 1,)``."""
    return np.searchsorted(cells.hist_cell, np.arange(len(cells) + 1))


def dense(cells: Cells, cell: int, offsets: NDArray[np.int64], buckets: int) -> NDArray[np.int64]:
    """One cell's histogram with every bucket, shape ``(buckets,)``; codes beyond go to the last."""
    chosen = slice(int(offsets[cell]), int(offsets[cell + 1]))
    out = np.zeros(buckets, np.int64)
    np.add.at(out, np.minimum(cells.hist_bucket[chosen], buckets - 1), cells.hist_count[chosen])
    return out


def pooled(
    cells: Cells, metric: int, group: NDArray[np.int64], *, groups: int, buckets: int
) -> NDArray[np.int64]:
    """Histograms of one metric added up by `group[key]`, shape ``(groups, buckets)``.

    Keys with group -1 are left out; codes beyond the last bucket go to the last.
    """
    of_cell = np.where(cells.metric == metric, group[cells.key], -1)
    of_entry = of_cell[cells.hist_cell]
    chosen = of_entry >= 0
    bucket = np.minimum(cells.hist_bucket[chosen], buckets - 1)
    # integers below 2**53 are exact in float64
    return (
        np.bincount(
            of_entry[chosen] * buckets + bucket,
            weights=cells.hist_count[chosen],
            minlength=groups * buckets,
        )
        .astype(np.int64)
        .reshape(groups, buckets)
    )
