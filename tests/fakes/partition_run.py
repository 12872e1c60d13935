"""A recorded run, and what a summarising stage makes of it across restarts."""

from dataclasses import dataclass, field

import numpy as np

from streams.clocks import Clocks
from streams.dedup import DedupIndex
from streams.log.base import Record
from streams.marker_codec import encode_marker
from streams.partial import Closed
from streams.stage_summarise import ClosedWindow, PartitionStage, Resume
from streams.summarise import fresh_index
from tests.fakes.segments import WINDOW_MS, appends

CLOCKS = Clocks(WINDOW_MS, 3_600_000)
PARTITIONS = 2


def recorded(
    seed: int, *, seconds: int = 5, slower: float = 1.3, partitions: int = PARTITIONS
) -> list[Record]:
    """A run with repeated segments and one that cannot be read."""
    offsets = [0] * partitions
    found: list[Record] = []
    run = appends(
        np.random.default_rng(seed),
        partitions=partitions,
        seconds=seconds,
        slower=slower,
        repeat_share=0.2,
    )
    for append in run:
        for payload in (append.payload, b"\xff") if len(found) == 7 else (append.payload,):
            found.append(Record(append.partition, offsets[append.partition], payload))
            offsets[append.partition] += 1
    return found


def index_of(ids: list[tuple[int, bytes]], at: Closed) -> DedupIndex:
    """An index that was rebuilt of what was durable."""
    index = fresh_index(CLOCKS.horizon_ms, None)
    index.restore(ids, now_ms=int(at.log_time[0]))
    return index


@dataclass
class Seen:
    """What a partition's windows left behind: the position is the furthest, ids are all."""

    windows: dict[int, ClosedWindow] = field(default_factory=dict)

    def resume(self) -> Resume:
        if not self.windows:
            return Resume(0)
        at = self.windows[max(self.windows)].closed
        ids = [pair for _, window in sorted(self.windows.items()) for pair in window.ids]
        return Resume(at.next_offset, at.log_time, index_of(ids, at))


def summarised(records: list[Record], restarts: set[int]) -> tuple[list[bytes], list[bytes]]:
    """Markers (some of them twice) and dead letters, with restarts after some records."""
    markers: list[bytes] = []
    dead: dict[tuple[int, int], bytes] = {}
    for partition in sorted({r.partition for r in records}):
        mine = [r for r in records if r.partition == partition]
        seen = Seen()
        stage = PartitionStage(partition, CLOCKS, seen.resume())
        at = 0
        while at < len(mine):
            if at in restarts:
                restarts = restarts - {at}
                stage = PartitionStage(partition, CLOCKS, seen.resume())
                at = stage.next_offset
            taken = stage.take(mine[at])
            at += 1
            if taken.window is not None:
                markers.append(encode_marker(taken.window.closed))
                if at not in restarts:  # else it died between the marker and its position
                    seen.windows[taken.window.closed.next_offset] = taken.window
            if taken.dead_letter is not None:
                dead[partition, taken.dead_letter.record.offset] = taken.dead_letter.record.payload
    return markers, list(dead.values())
