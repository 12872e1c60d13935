"""A window's counts as the numbers whose drift is watched."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics import buckets

_P99: Final = 0.99
RATE_SHARE: Final = "share"  # its tolerance is of the log odds, its spread follows from the counts


class SeriesKind(StrEnum):
    """What the counts of a window are counts of."""

    DISTRIBUTION = "distribution"  # over the log buckets of `analytics.buckets`
    CATEGORY = "category"  # over classes
    RATE = "rate"  # (without, with) the event


@dataclass(frozen=True, slots=True)
class SeriesWindow:
    """One series in one closed drift window; `counts` has one entry per bucket or class."""

    kind: SeriesKind
    counts: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Observations in the window."""
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True)
class Statistic:
    """A number made of a window. `tolerance` is the change too small to matter, in its unit.

    `sd_floor` is the least spread that a baseline may claim. `directions`: a divergence can only
    rise.
    """

    name: str
    tolerance: float
    sd_floor: float
    directions: tuple[int, ...] = (1, -1)


STATISTICS: Final[dict[SeriesKind, tuple[Statistic, ...]]] = {
    SeriesKind.DISTRIBUTION: (
        Statistic("log_mean", tolerance=0.02, sd_floor=0.005),
        Statistic("log_p99", tolerance=0.02, sd_floor=0.01),
    ),
    SeriesKind.CATEGORY: (
        Statistic("jensen_shannon", tolerance=0.0005, sd_floor=0.0002, directions=(1,)),
    ),
    SeriesKind.RATE: (Statistic(RATE_SHARE, tolerance=0.05, sd_floor=0.0),),
}


def _log_mids() -> NDArray[np.float64]:
    lower = buckets.EDGES.astype(np.float64)
    lower[0] = lower[1]  # zero has no logarithm; it counts as the smallest bucket
    mids: NDArray[np.float64] = np.log(lower) + 0.5 * np.log(buckets.RATIO)
    return mids


_LOG_MIDS: Final = _log_mids()


def statistics_of(window: SeriesWindow, reference: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """The values of ``STATISTICS[window.kind]``; categories need their frozen reference."""
    counts, n = window.counts, window.n
    match window.kind:
        case SeriesKind.DISTRIBUTION:
            log_mean = float((counts * _LOG_MIDS).sum()) / n
            p99 = max(buckets.quantile(counts, _P99), float(buckets.EDGES[1]))
            return np.array([log_mean, np.log(p99)])
        case SeriesKind.CATEGORY:
            if reference is None:
                raise ValueError("a category window is compared with a frozen reference")
            return np.array([jensen_shannon(reference, counts)])
        case SeriesKind.RATE:
            return np.array([int(counts[1]) / n])


def jensen_shannon(reference: NDArray[np.int64], observed: NDArray[np.int64]) -> float:
    """Jensen-Shannon divergence in nats, less what sampling alone would give.

    For equal laws its expectation is about ``(classes - 1) / 8 * (1/n + 1/m)``; without the
    correction a quiet night looks like drift. The result may therefore be slightly below 0.
    """
    reference, observed = padded(reference, observed)
    n, m = int(observed.sum()), int(reference.sum())
    p, q = reference / m, observed / n
    mid = 0.5 * (p + q)
    divergence = 0.5 * (_relative_entropy(p, mid) + _relative_entropy(q, mid))
    classes = int((mid > 0).sum())
    return divergence - (classes - 1) / 8.0 * (1.0 / n + 1.0 / m)


def total_variation(reference: NDArray[np.float64], observed: NDArray[np.float64]) -> float:
    """Half the summed difference of the shares, in [0, 1]."""
    p, q = reference / reference.sum(), observed / observed.sum()
    return 0.5 * float(np.abs(p - q).sum())


def padded(
    a: NDArray[np.int64], b: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both with as many classes as the longer: a new class was never seen before."""
    size = max(len(a), len(b))
    return np.pad(a, (0, size - len(a))), np.pad(b, (0, size - len(b)))


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / q[seen])).sum())
