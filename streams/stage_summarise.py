"""The summarise stage of one partition, as any runner can drive it. Pure.

A partition's state is a function of its records in offset order. So records that come again are
skipped, records that were passed over are asked for, and whatever is published twice has the same
bytes: the runner needs no more than at-least-once.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.clocks import Clocks
from streams.dedup import DedupIndex
from streams.log.base import Record
from streams.log.mark import mark_of
from streams.log_time import LogTime
from streams.partial import Closed
from streams.summarise import DeadLetter, Summariser


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a partition goes on: its next record, its clock before it, and the ids it has seen.

    For one stage: the index becomes its own. None is one that knows nothing, in memory.
    `is_other_log`: the clock is of a log that another has taken the place of.
    """

    next_offset: int
    log_time: list[int | str] | None = None
    dedup: DedupIndex | None = None
    is_other_log: bool = False


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A closing marker, and the batch ids of its window: durable before anything is finished.

    `marks` are of the records that it was read of, by offset: from the one that closed the window
    before it until the one that closed it, at ``closed.next_offset``.
    """

    closed: Closed
    ids: list[tuple[int, bytes]]
    marks: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Taken:
    """What one record brought about."""

    window: ClosedWindow | None = None
    dead_letter: DeadLetter | None = None


@dataclass(slots=True)
class PartitionStage:
    """Takes a partition's records one by one, each exactly at `next_offset`."""

    partition: int
    clocks: Clocks
    resume: Resume
    next_offset: int = field(init=False)
    closed_until_ms: int = field(default=0, init=False)
    _ids: list[tuple[int, bytes]] = field(default_factory=list, init=False)
    _new_ids: list[tuple[int, bytes]] = field(default_factory=list, init=False)
    _marks: dict[int, bytes] = field(default_factory=dict, init=False)
    _summariser: Summariser = field(init=False)

    def __post_init__(self) -> None:
        self.next_offset = self.resume.next_offset
        at = self.resume.log_time
        if at and self.resume.is_other_log:
            at = _past_its_window(at, self.clocks.window_ms)
        self._summariser = Summariser(
            self.partition,
            window_ms=self.clocks.window_ms,
            horizon_ms=self.clocks.horizon_ms,
            log_time=LogTime(*at) if at else None,  # type: ignore[arg-type]  # [int, str, int]
            dedup=self.resume.dedup,
            on_ids=self._count_in,
        )

    def take(self, record: Record) -> Taken:
        """Take the next record in.

        Records below `next_offset` must not be given; a record above it means that the runner
        passed some over, and it has to read them from the log first.
        """
        if record.offset < self.next_offset:
            raise ValueError(f"record {record.offset} was taken before {self.next_offset}")
        closed = self._summariser.step([record])
        self._marks[record.offset] = mark = mark_of(record.payload)
        self.next_offset = record.offset + 1
        taken = Taken()
        if closed:  # the record that closes a window belongs to the next one
            taken.window = ClosedWindow(closed[0], self._ids, self._marks)
            self._marks = {record.offset: mark}
            self.closed_until_ms = closed[0].up_to_ms
            self._ids = []
        self._ids += self._new_ids
        self._new_ids = []
        if self._summariser.dead_letters:
            taken.dead_letter = self._summariser.dead_letters.pop()
        return taken

    def _count_in(self, arrived_ms: int, ids: NDArray[np.void]) -> None:
        self._new_ids.append((arrived_ms, ids.tobytes()))


def _past_its_window(log_time: list[int | str], window_ms: int) -> list[int | str]:
    """That time's window was published: what another log begins with belongs to a later one."""
    return [(int(log_time[0]) // window_ms + 1) * window_ms, "", 0]
