"""Log buckets: one global grid of ratio 1.05, so histograms merge by adding and shift by index.

Bucket 0 holds zero and everything below ``EDGES[1]``; bucket ``i >= 1`` holds
``[EDGES[i], EDGES[i + 1])``; the last one is open above. A factor of ``1.05**k`` is a shift by
``k`` whole buckets, which the one-sided evidence needs (a shifted histogram must be exact).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

RATIO: Final = 1.05
COUNT: Final = 704
_LOWEST: Final = 1e-4


def _edges() -> NDArray[np.float32]:
    edges = np.empty(COUNT, np.float64)
    edges[0] = 0.0
    edge = _LOWEST
    for i in range(1, COUNT):
        edges[i] = edge
        edge *= RATIO
    return edges.astype(np.float32)


EDGES: Final[NDArray[np.float32]] = _edges()
"""Lower edges, shape ``(COUNT,)``; the last is about 7e10."""

_HALVES: Final = 0x8000
# Upper half of a positive float32's bits -> the bucket of the smallest number with that half.
_HALF: Final = (np.arange(_HALVES, dtype=np.uint32) << 16).view(np.float32)
_LUT: Final[NDArray[np.int16]] = np.where(
    np.isfinite(_HALF), np.searchsorted(EDGES[1:], _HALF, side="right"), COUNT - 1
).astype(np.int16)
# and the edge above that bucket
_NEXT: Final[NDArray[np.float32]] = np.append(EDGES[1:], np.float32(np.inf))[_LUT]


def bucket_of(values: NDArray[np.float32]) -> NDArray[np.int16]:
    """Bucket of each value; values finite and >= 0, any shape.

    Exact comparisons against `EDGES`, no logarithm: the same bucket on every machine. A float32's
    upper 16 bits span at most 1/128 of an octave's ratio, so at most one edge lies inside.
    """
    values = np.ascontiguousarray(values, "<f4")
    half = values.view("<u2")[..., 1::2].astype(np.intp)
    half &= _HALVES - 1  # -0.0 is 0
    low: NDArray[np.int16] = _LUT.take(half, mode="clip")  # nothing is out of range: no check
    low += values >= _NEXT.take(half, mode="clip")
    return low


def quantile(counts: NDArray[np.int64], q: float) -> float:
    """The q-quantile of a histogram over the grid, interpolated within its bucket.

    Relative error at most half a bucket (2.5 %) for values above ``EDGES[1]``; NaN if empty.
    """
    total = int(counts.sum())
    if total == 0:
        return float("nan")
    cumulative = np.cumsum(counts)
    i = int(np.searchsorted(cumulative, q * total, side="left"))
    i = min(i, COUNT - 1)
    before = int(cumulative[i] - counts[i])
    inside = (q * total - before) / max(int(counts[i]), 1)
    low = float(EDGES[i])
    high = float(EDGES[i + 1]) if i + 1 < COUNT else low * RATIO
    return low + (high - low) * min(max(inside, 0.0), 1.0)
