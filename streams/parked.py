"""Which partitions' markers decide passes over, and where it must read them again. Pure.

A marker waits in memory until every partition is past its window, so one partition that stands
still would fill the memory with the others' markers. Beyond an allowance they are left where they
lie: in `windows`.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Parked:
    """Of each partition that is passed over: the offset from which its markers were not taken.

    `allowance_bytes` is of one partition's markers, encoded; one marker is always taken. `left` are
    the markers that lie there, as (partition, start of the window).
    """

    allowance_bytes: int
    left: set[tuple[int, int]] = field(default_factory=set)
    _starts: dict[int, int] = field(default_factory=dict)
    _rereading_from: int | None = None

    def __contains__(self, partition: int) -> bool:
        """Whether it is passed over."""
        return partition in self._starts

    def passes_over(self, partition: int, held_bytes: int) -> bool:
        """Whether a new marker must be left, when so much of its partition waits already.

        What comes after one that was left is left, too: the order is what tells old from new.
        """
        return partition in self or held_bytes >= self.allowance_bytes

    def leave(self, partition: int, start_ms: int, offset: int) -> None:
        """A chunk of a new marker was passed over; the first one says where it begins."""
        self._starts.setdefault(partition, offset)
        self.left.add((partition, start_ms))

    def has_room(self, held_bytes: Callable[[int], int]) -> bool:
        """Whether a partition that is passed over has used up half of what was in memory."""
        return any(self._is_low(held_bytes(partition)) for partition in self._starts)

    def read_again(self, held_bytes: Callable[[int], int]) -> "Rereading":
        """Pass over no more those that have room. The position stays until `end_rereading`."""
        self._rereading_from = self.position
        low = [p for p in self._starts if self._is_low(held_bytes(p))]
        again = Rereading(self, deque(sorted((self._starts.pop(p), p) for p in low)))
        again.come_to(0)
        return again

    def end_rereading(self) -> None:
        """Each of them has been read to the end, or is passed over again."""
        self._rereading_from = None

    @property
    def position(self) -> int | None:
        """The lowest offset that must be read again; None if nothing was left."""
        known = [at for at in (self._rereading_from, *self._starts.values()) if at is not None]
        return min(known, default=None)

    def _is_low(self, held_bytes: int) -> bool:
        return held_bytes * 2 <= self.allowance_bytes


@dataclass(slots=True)
class Rereading:
    """The stretches of a topic that are read once more; `at` is where to read on, None: nowhere.

    Each goes from a partition's start until that partition is passed over again; between them lies
    nothing that is wanted. `starts` are (offset, partition), ascending.
    """

    parked: Parked
    starts: deque[tuple[int, int]]
    at: int | None = None
    _begun: set[int] = field(default_factory=set)

    def come_to(self, offset: int) -> bool:
        """All before it was read; whether to read on right there."""
        while self.starts and self.starts[0][0] <= offset:
            self._begun.add(self.starts.popleft()[1])
        if any(partition not in self.parked for partition in self._begun):
            self.at = offset
        else:
            self.at = self.starts[0][0] if self.starts else None
        return self.at == offset
