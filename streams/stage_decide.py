"""The decide stage, as any runner can drive it: closing markers in, decided windows out. Pure.

Its state and the position in `windows` that it belongs to are captured at one moment. Markers of
undecided windows are not part of it: they are read again from that position.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from analytics.types import Verdict
from streams.clocks import check_window, other_clocks
from streams.decide import Decided, Decider
from streams.local_worker import is_effect
from streams.partial import Closed
from streams.snapshot import decider_parts, restore_decider

_STAGE = "windows"


class _Windows(msgspec.Struct, array_like=True):
    """Where a state stands: `decided` maps a partition to its last decided window's start."""

    next_offset: int
    decided: dict[int, int]
    partitions: int
    window_ms: int


class _Waiting(NamedTuple):
    first_offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Captured:
    """Decided windows, and the state after them with its position: durable in this order."""

    batch: list[Decided]
    parts: dict[str, bytes]
    next_offset: int
    decided_until_ms: int

    @property
    def effects(self) -> list[Verdict]:
        """Verdicts that somebody must act on, oldest first."""
        return [v for decided in self.batch for v in decided.verdicts if is_effect(v)]


@dataclass(slots=True)
class DecideStage:
    """Takes markers in the order of `windows`; drops those that it has had."""

    decider: Decider
    next_offset: int = 0
    _decided: dict[int, int] = field(default_factory=dict)  # partition -> start of a window
    _accepted: dict[int, int] = field(default_factory=dict)
    _waiting: dict[tuple[int, int], _Waiting] = field(default_factory=dict)
    _held_bytes: Counter[int] = field(default_factory=Counter)  # by partition
    _batch: list[Decided] = field(default_factory=list)

    @classmethod
    def begin(cls, partitions: int, window_ms: int) -> "DecideStage":
        """A stage that has seen nothing."""
        return cls(Decider(partitions, window_ms))

    @classmethod
    def restore(cls, parts: dict[str, bytes], *, partitions: int, window_ms: int) -> "DecideStage":
        """The inverse of `Captured.parts`.

        Raises PermanentError ``state_of_other_clocks`` if it was made with other windows.
        """
        at = msgspec.msgpack.decode(parts[_STAGE], type=_Windows)
        if at.partitions != partitions:
            raise other_clocks(
                f"decide's state has {at.partitions} partitions, not {partitions}",
                str(at.partitions),
            )
        check_window(at.window_ms, window_ms)
        return cls(
            restore_decider(parts, partitions=partitions, window_ms=window_ms),
            at.next_offset,
            dict(at.decided),
            dict(at.decided),
        )

    def is_new(self, partition: int, start_ms: int) -> bool:
        """Whether this partition's marker of this window has not been taken yet."""
        return start_ms > self._accepted.get(partition, -1)

    def take(self, closed: Closed, *, first_offset: int, size_bytes: int) -> int:
        """Take a marker of so many encoded bytes; how many windows are due now.

        Its first chunk lies at `first_offset`.
        """
        start_ms = closed.partial.start_ms
        if not self.is_new(closed.partition, start_ms):
            return 0
        self._accepted[closed.partition] = start_ms
        self._waiting[closed.partition, start_ms] = _Waiting(first_offset, size_bytes)
        self._held_bytes[closed.partition] += size_bytes
        decided = self.decider.step([closed])
        for window in decided:
            for partition in window.positions:
                self._decided[partition] = window.window_start_ms
                self._held_bytes[partition] -= self._waiting.pop(
                    (partition, window.window_start_ms)
                ).size_bytes
        self._batch += decided
        return len(decided)

    @property
    def waiting(self) -> int:
        """Markers whose windows wait for another partition; all of them are in memory."""
        return len(self._waiting)

    def held_bytes(self, partition: int) -> int:
        """Encoded bytes of this partition's markers that wait: decoded they take more."""
        return self._held_bytes[partition]

    @property
    def undurable(self) -> int:
        """Windows that were decided and not captured yet."""
        return len(self._batch)

    def capture(self, *, read_until: int, unfinished: Iterable[int] = ()) -> Captured:
        """What is to be made durable now, with the state that belongs to it.

        `read_until` is the first offset of `windows` not yet read, `unfinished` the first offsets
        of markers that were not taken as a whole.
        """
        waiting = (marker.first_offset for marker in self._waiting.values())
        self.next_offset = min([read_until, *unfinished, *waiting])
        at = _Windows(
            self.next_offset,
            dict(self._decided),
            self.decider.partitions,
            self.decider.window_ms,
        )
        batch, self._batch = self._batch, []
        parts = {**decider_parts(self.decider), _STAGE: msgspec.msgpack.encode(at)}
        return Captured(batch, parts, self.next_offset, self.decider.decided_until_ms)
