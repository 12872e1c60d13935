"""From the chunks in `windows` to the markers that decide takes now; others stay where they lie."""

from dataclasses import dataclass, field
from typing import Final

from streams.kafka.chunks import Assembler, Whole, head_of
from streams.kafka.stage_topics import MarkerKey
from streams.log.mark import mark_of
from streams.parked import Parked
from streams.stage_decide import DecideStage

AHEAD_BYTES: Final = 64 << 20
"""Encoded markers that may wait for other partitions. Decoded they take several times that: decide
had 319 MB with 104 series and 1,014 MB with 100,000 (docs/scale-out.md)."""


@dataclass(slots=True)
class MarkerIntake:
    """The one partition of `windows` as far as it was read, and the stage that it feeds."""

    stage: DecideStage
    next_offset: int
    parked: Parked
    chunks: Assembler = field(default_factory=Assembler)
    _marks: dict[int, bytes] = field(default_factory=dict)  # of what was read, by offset

    @classmethod
    def begin(cls, stage: DecideStage, start: int) -> "MarkerIntake":
        """Nothing was read since `start`."""
        return cls(stage, start, Parked(AHEAD_BYTES // stage.decider.partitions))

    def take(self, offset: int, chunk: bytes) -> Whole | None:
        """Take a chunk, new or repeated; the marker that is whole with it and must be taken now.

        Raises PermanentError ``chunk_undecodable``.
        """
        if offset >= self.next_offset:
            self._marks[offset] = mark_of(chunk)
        self.next_offset = max(self.next_offset, offset + 1)
        head = head_of(chunk)
        key = MarkerKey.of(head.key)
        if not self.stage.is_new(*key):
            self.chunks.forget(head.key)
            return None
        if self.parked.passes_over(key.partition, self.stage.held_bytes(key.partition)):
            # its first chunk, or one after that: what is held grows with whole markers only, and
            # the marker before it was whole before this one began
            self.parked.leave(*key, offset)
            return None
        whole = self.chunks.take(offset, chunk)
        if whole is not None:
            self.parked.left.discard(key)
        return whole

    def take_marks(self, keep: int) -> dict[int, bytes]:
        """Marks of what was read since they were taken last; from `keep` on they stay."""
        taken = self._marks
        self._marks = {at: mark for at, mark in taken.items() if at >= keep}
        return taken

    def unfinished(self) -> list[int]:
        """From where on there are chunks that were read and not taken."""
        parked = self.parked.position
        return [*self.chunks.unfinished(), *([] if parked is None else [parked])]

    @property
    def waiting(self) -> int:
        """Markers whose windows wait for another partition, in memory or in the topic."""
        return self.stage.waiting + len(self.parked.left)
