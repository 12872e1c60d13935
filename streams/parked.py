"""Which partitions' markers decide passes over, and where it must read them again. Pure.

A marker waits in memory until every partition is past its window, so one partition that stands
still would fill the memory with the others' markers. Beyond an allowance they are left where they
lie: in `windows`.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field


@dataclass(slots=True)
class Parked:
    """Of each partition that is passed over: the offset from which its markers were not taken.

    `allowance` is of one partition's markers, encoded, in bytes; one marker is always taken.
    `rereading` is where the reading that is under way began. `left` are (partition, window start).
    """

    allowance: int
    rereading: int | None = None
    left: set[tuple[int, int]] = field(default_factory=set)
    _first: dict[int, int] = field(default_factory=dict)

    def passes_over(self, partition: int, held: int) -> bool:
        """Whether a marker must be left, when so many bytes of its partition wait already.

        What comes after one that was left is left, too: the order is what tells old from new.
        """
        return partition in self._first or held >= self.allowance

    def leave(self, partition: int, start_ms: int, offset: int) -> None:
        """A chunk of a new marker was passed over; no piece of the marker lies before `offset`."""
        self._first[partition] = min(offset, self._first.get(partition, offset))
        self.left.add((partition, start_ms))

    def has_room(self, held: Callable[[int], int]) -> bool:
        """Whether a partition that is passed over has used up half of what was in memory."""
        return any(held(partition) * 2 <= self.allowance for partition in self._first)

    def read_again(self) -> "Parked":
        """To go on with while records are read from `first` on once more."""
        return Parked(self.allowance, self.first, self.left)

    @property
    def first(self) -> int | None:
        """The lowest offset that must be read again; None if nothing was left."""
        known = [*self._first.values(), *([] if self.rereading is None else [self.rereading])]
        return min(known, default=None)

    @property
    def partitions(self) -> AbstractSet[int]:
        """Those that are passed over."""
        return self._first.keys()
