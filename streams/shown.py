"""What analysts may see of a window: cells that rest on enough uploads, and nothing else.

Each row that is made here is shown whole or not at all, for good, and every number of a view is
made of such rows. So whatever is asked, at whatever width, before or after whatever arrival: the
difference of two answers is made of whole rows too, and rests on `UPLOADS_MIN` uploads or more.
What is too small in its window waits for the end of the log hour (`store.released`).

All metrics of a place (release, arm, event bucket) are shown together, or wait together, and all
say the same observations and uploads: those of the place, at the mean of those that
have the metric.
So two metrics never tell that a few uploads had one of them alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from analytics.cells import Cells, histogram_offsets, merge, rekey
from streams.partial import WindowPartial
from streams.rows import Coded, Column, Columns, Ragged
from streams.series import METRIC_NAMES, METRIC_SHAPES
from wire.smallest_cell import PARTIAL_MIN, UPLOADS_MIN
from wire.times import HOUR_MS, MINUTE_MS

CLASS_OTHER: Final = 65_535
"""Stands for the classes that too few uploads predicted, and for observations without a class."""

_RELEASE: Final = ("app_id", "model_id", "model_version", "rollout_id", "arm")
_CLASS: Final = METRIC_NAMES.index("prediction.class")
_ERROR: Final = METRIC_NAMES.index("inference.error")


@dataclass(frozen=True, slots=True)
class _Places:
    """Of each cell what its place says; `is_shown` marks cells whose rows are made now."""

    is_shown: NDArray[np.bool_]
    uploads: NDArray[np.int64]
    n: NDArray[np.int64]

    @classmethod
    def of(cls, cells: Cells) -> Self:
        """A place says the most uploads and observations of the metrics that it shows."""
        code = cells.key.astype(np.int64) << 32 | cells.event_bucket
        places, place = np.unique(code, return_inverse=True)
        most, n = (np.zeros(len(places), np.int64) for _ in range(2))
        least = np.full(len(places), np.iinfo(np.int64).max)
        np.maximum.at(most, place, cells.uploads)
        np.minimum.at(least, place, cells.uploads)
        is_large = (most >= UPLOADS_MIN) & ((least >= UPLOADS_MIN) | (most >= PARTIAL_MIN))
        is_shown = is_large[place] & (cells.uploads >= UPLOADS_MIN)
        np.maximum.at(n, place[is_shown], cells.n[is_shown])
        return cls(is_shown, most[place], n[place])


def shown_rows(window: WindowPartial) -> Columns:
    """`metric_shown`: one row per release, arm, metric and event bucket that is large enough."""
    releases = [tuple(str(getattr(s, name)) for name in _RELEASE) for s in window.series]
    names = sorted(set(releases))
    number = {release: i for i, release in enumerate(names)}
    key = np.array([number[r] for r in releases], np.int32)
    cells = window.cells
    if len(cells):
        cells = merge([rekey(cells, key)])
    places = _Places.of(cells)
    cells = _coarse(cells, places)
    offsets = histogram_offsets(cells)
    taken = np.flatnonzero(places.is_shown)
    scale = np.array([s.scale for s in METRIC_SHAPES], np.float64)[cells.metric[taken]]
    entries = np.flatnonzero(places.is_shown[cells.hist_cell])
    length = np.diff(offsets)[taken]
    bucket = cells.event_bucket[taken]
    ends = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    columns: dict[str, Column] = {
        "window_start": np.full(len(taken), window.start_ms, np.int64),
        "window_ms": np.full(len(taken), window.width_ms, np.uint32),
        "event_bucket": (bucket >> 1) * MINUTE_MS,
        "event_bucket_ms": np.where(bucket & 1, HOUR_MS, MINUTE_MS).astype(np.uint32),
        "metric": Coded(cells.metric[taken], list(METRIC_NAMES)),
        "uploads": places.uploads[taken].astype(np.uint64),
        "n": places.n[taken].astype(np.uint64),
        "uploads_with": cells.uploads[taken].astype(np.uint64),
        "sum": cells.total[taken] / scale * (places.n[taken] / cells.n[taken]),
        "buckets": Ragged(ends, cells.hist_bucket[entries].astype(np.uint16)),
        "counts": Ragged(ends, cells.hist_count[entries].astype(np.uint32)),
    }
    return columns | _release_columns(names, cells.key[taken])


def _release_columns(names: Sequence[tuple[str, ...]], key: NDArray[np.int32]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for i, name in enumerate(_RELEASE):
        known = sorted({release[i] for release in names})
        number = {text: code for code, text in enumerate(known)}
        code = np.array([number[release[i]] for release in names], np.int32)
        columns[name] = Coded(code[key], known)
    return columns


def _coarse(cells: Cells, places: _Places) -> Cells:
    """Codes as they may be shown: errors as failed or not, rare classes as `CLASS_OTHER`."""
    metric = cells.metric[cells.hist_cell]
    bucket = cells.hist_bucket.copy()
    bucket[metric == _ERROR] = np.minimum(bucket[metric == _ERROR], 1)
    offsets = histogram_offsets(cells)
    classes = np.flatnonzero((cells.metric == _CLASS) & places.is_shown)
    without = places.n[classes] - cells.n[classes]
    for at, missing in zip(classes.tolist(), without.tolist(), strict=True):
        entries = slice(int(offsets[at]), int(offsets[at + 1]))
        hidden = rare(cells.hist_uploads[entries], missing)
        bucket[entries][hidden] = CLASS_OTHER
    if not len(cells):
        return cells
    more = classes[without > 0]
    cell = np.concatenate([cells.hist_cell, more])
    code = cell << 16 | np.concatenate([bucket, np.full(len(more), CLASS_OTHER, bucket.dtype)])
    count = np.concatenate([cells.hist_count, without[without > 0]])
    uploads = np.concatenate([cells.hist_uploads, np.zeros(len(more), np.int64)])
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    first = code[order[starts]]
    return replace(
        cells,
        hist_cell=first >> 16,
        hist_bucket=(first & CLASS_OTHER).astype(bucket.dtype),
        hist_count=np.add.reduceat(count[order], starts),
        hist_uploads=np.add.reduceat(uploads[order], starts),
    )


def rare(uploads: NDArray[np.int64], without: int = 0) -> NDArray[np.bool_]:
    """Which classes of a cell are shown as one, by the uploads that predicted each.

    One upload may predict many classes, so all we know of those together is that they rest on as
    many uploads as the largest of them. If that is too few, the smallest of the others joins them;
    so it does if there are observations `without` a class, which are told with them.
    """
    hidden = uploads < UPLOADS_MIN
    if (without or hidden.any()) and not hidden.all():
        large = np.where(hidden, np.iinfo(np.int64).max, uploads)
        hidden[int(np.argmin(large))] = True
    return hidden
