"""Which batch ids have been seen: 16 bytes each in sorted arrays, forgotten after the horizon.

A pure function of the log: the answer for a record depends on the ids before it within the horizon
and on nothing else, so an index rebuilt from the log's id table answers alike after a restart.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wire.segment import BATCH_ID

RECENT_MAX: Final = 65_536
_PAIR: Final = np.dtype([("high", ">u8"), ("low", ">u8")])


@dataclass(frozen=True, slots=True)
class _Run:
    """Sorted ids; `newest_ms` is the latest arrival among them."""

    newest_ms: int
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]

    def has(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.bool_]:
        first = np.searchsorted(self.high, high, side="left")
        last = np.searchsorted(self.high, high, side="right")
        found = np.zeros(len(high), bool)
        for i in np.flatnonzero(last > first):  # equal upper halves: all but never, unless repeated
            found[i] = bool((self.low[first[i] : last[i]] == low[i]).any())
        return found


@dataclass(slots=True)
class DedupIndex:
    """Ids of one partition. `horizon_ms` must cover the accepted age of an upload."""

    horizon_ms: int
    _runs: list[_Run] = field(default_factory=list)
    _recent: set[bytes] = field(default_factory=set)
    _recent_newest_ms: int = 0

    def __len__(self) -> int:
        return len(self._recent) + sum(len(run.high) for run in self._runs)

    def add(self, ids: NDArray[np.void], arrived_ms: int) -> NDArray[np.bool_]:
        """Remember ids, shape ``(U,)`` of 16 bytes; True where one had been seen (or just was)."""
        keys = _split(ids)
        seen = np.zeros(len(ids), bool)
        if keys:
            pair = np.frombuffer(ids.tobytes(), _PAIR)
            high, low = pair["high"].astype(np.uint64), pair["low"].astype(np.uint64)
            for run in self._runs:
                seen |= run.has(high, low)
        recent = self._recent
        for i, key in enumerate(keys):
            if key in recent:
                seen[i] = True
            elif not seen[i]:
                recent.add(key)
        self._recent_newest_ms = max(self._recent_newest_ms, arrived_ms)
        if len(recent) >= RECENT_MAX:
            self._freeze()
            self._expire(arrived_ms)
        return seen

    def _freeze(self) -> None:
        pair = np.frombuffer(b"".join(self._recent), _PAIR)
        self._runs.append(_sorted_run(self._recent_newest_ms, pair["high"], pair["low"]))
        self._recent = set()
        while len(self._runs) > 1 and len(self._runs[-2].high) <= 2 * len(self._runs[-1].high):
            b, a = self._runs.pop(), self._runs.pop()
            self._runs.append(
                _sorted_run(
                    max(a.newest_ms, b.newest_ms),
                    np.concatenate([a.high, b.high]),
                    np.concatenate([a.low, b.low]),
                )
            )

    def _expire(self, now_ms: int) -> None:
        self._runs = [run for run in self._runs if run.newest_ms >= now_ms - self.horizon_ms]


def _split(ids: NDArray[np.void]) -> list[bytes]:
    whole = ids.tobytes()
    width = BATCH_ID.itemsize
    return [whole[i : i + width] for i in range(0, len(whole), width)]


def _sorted_run(newest_ms: int, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> _Run:
    order = np.argsort(high)
    return _Run(newest_ms, high[order].astype(np.uint64), low[order].astype(np.uint64))
