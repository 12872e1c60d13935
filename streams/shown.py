"""What analysts may see of a window: cells that rest on enough uploads, and nothing else.

Each row that is made here is shown whole or not at all, for good, and every number of a view is
made of such rows. So whatever is asked, at whatever width, before or after whatever arrival: the
difference of two answers is made of whole rows too, and rests on `UPLOADS_MIN` uploads or more.
What is too small in its window waits for the end of the log hour (`store.released`).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.cells import Cells, histogram_offsets, merge, rekey
from streams.partial import WindowPartial
from streams.rows import Coded, Column, Columns, Ragged
from streams.series import METRIC_NAMES, METRIC_SHAPES
from wire.smallest_cell import UPLOADS_MIN
from wire.times import HOUR_MS, MINUTE_MS

CLASS_OTHER: Final = 65_535
"""Stands for the classes that too few uploads predicted."""

_RELEASE: Final = ("app_id", "model_id", "model_version", "rollout_id", "arm")
_CLASS: Final = METRIC_NAMES.index("prediction.class")
_ERROR: Final = METRIC_NAMES.index("inference.error")


def shown_rows(window: WindowPartial) -> Columns:
    """`metric_shown`: one row per release, arm, metric and event bucket that is large enough."""
    releases = [tuple(str(getattr(s, name)) for name in _RELEASE) for s in window.series]
    names = sorted(set(releases))
    number = {release: i for i, release in enumerate(names)}
    key = np.array([number[r] for r in releases], np.int32)
    cells = window.cells
    if len(cells):
        cells = _coarse(merge([rekey(cells, key)]))
    offsets = histogram_offsets(cells)
    taken = np.flatnonzero(cells.uploads >= UPLOADS_MIN)
    scale = np.array([s.scale for s in METRIC_SHAPES], np.float64)[cells.metric[taken]]
    entries = np.flatnonzero((cells.uploads >= UPLOADS_MIN)[cells.hist_cell])
    length = np.diff(offsets)[taken]
    bucket = cells.event_bucket[taken]
    ends = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    columns: dict[str, Column] = {
        "window_start": np.full(len(taken), window.start_ms, np.int64),
        "window_ms": np.full(len(taken), window.width_ms, np.uint32),
        "event_bucket": (bucket >> 1) * MINUTE_MS,
        "event_bucket_ms": np.where(bucket & 1, HOUR_MS, MINUTE_MS).astype(np.uint32),
        "metric": Coded(cells.metric[taken], list(METRIC_NAMES)),
        "uploads": cells.uploads[taken].astype(np.uint64),
        "n": cells.n[taken].astype(np.uint64),
        "sum": cells.total[taken] / scale,
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


def _coarse(cells: Cells) -> Cells:
    """Codes as they may be shown: errors as failed or not, rare classes as `CLASS_OTHER`."""
    metric = cells.metric[cells.hist_cell]
    bucket = cells.hist_bucket.copy()
    bucket[metric == _ERROR] = np.minimum(bucket[metric == _ERROR], 1)
    offsets = histogram_offsets(cells)
    for cell in np.flatnonzero((cells.metric == _CLASS) & (cells.uploads >= UPLOADS_MIN)):
        entries = slice(int(offsets[cell]), int(offsets[cell + 1]))
        hidden = rare(cells.hist_uploads[entries])
        bucket[entries][hidden] = CLASS_OTHER
    values = {name: getattr(cells, name) for name in Cells.__dataclass_fields__}
    code = cells.hist_cell << 16 | bucket
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    if not len(starts):
        return cells
    first = order[starts]
    return Cells(
        **{
            **values,
            "hist_cell": cells.hist_cell[first],
            "hist_bucket": bucket[first],
            "hist_count": np.add.reduceat(cells.hist_count[order], starts),
            "hist_uploads": np.add.reduceat(cells.hist_uploads[order], starts),
        }
    )


def rare(uploads: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which classes of a cell are shown as one, by the uploads that predicted each.

    One upload may predict many classes, so all we know of those together is that they rest on as
    many uploads as the largest of them. If that is too few, the smallest of the others joins them.
    """
    hidden = uploads < UPLOADS_MIN
    if hidden.any() and not hidden.all():
        large = np.where(hidden, np.iinfo(np.int64).max, uploads)
        hidden[int(np.argmin(large))] = True
    return hidden
