"""Topics and a store in memory, for the agents' bodies."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analytics.types import Verdict
from streams.codec import pack
from streams.kafka.chunks import split
from streams.kafka.stage_topics import MarkerKey
from streams.local_worker import is_effect, replay
from streams.marker_codec import decode_marker
from streams.rows import Columns
from tests.fakes.partition_run import CLOCKS, PARTITIONS, recorded, summarised
from tests.fakes.segments import WINDOW_MS
from wire.errors import TransientError


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not what():  # noqa: ASYNC110  # what is waited for is written by a task
            await asyncio.sleep(0)


@dataclass
class MemoryState:
    """Satisfies `DecideTopics` and `ActTopics`."""

    log: list[bytes] = field(default_factory=list)
    saved: dict[str, bytes] = field(default_factory=dict)
    positions: list[int] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    async def state(self) -> dict[str, bytes]:
        self.calls.append("state")
        return dict(self.saved)

    async def first(self) -> int:
        return 0

    async def records(self, start: int, end: int) -> AsyncGenerator[tuple[int, bytes], None]:
        for offset in range(start, end):
            yield offset, self.log[offset]

    async def publish(self, verdicts: Iterable[Verdict]) -> None:
        self.verdicts += verdicts

    async def save(self, parts: dict[str, bytes], *, position: int) -> None:
        self.calls.append("save")
        self.saved = dict(parts)
        self.positions.append(position)


@dataclass
class MemorySink:
    """Keeps windows' rows by their start; away for the next `failures` writes."""

    rows: dict[int, bytes] = field(default_factory=dict)
    failures: int = 0
    handed: list[int] = field(default_factory=list)

    def write(self, rows: Mapping[str, Columns]) -> int:
        return self.write_many([rows])

    def write_many(self, windows: Sequence[Mapping[str, Columns]]) -> int:
        if self.failures:
            self.failures -= 1
            raise TransientError("store_away", "the store does not answer")
        self.handed.append(len(windows))
        for rows in windows:
            start_ms = int(np.asarray(rows["ingest_window"]["window_start"])[0])
            self.rows[start_ms] = pack(rows)
        return len(windows)


def windows_topic(seconds: int = 6) -> tuple[list[bytes], list[bytes], list[Verdict]]:
    """Chunks of `windows`, the rows that they must give, and the verdicts to act on."""
    records = recorded(2, seconds=seconds, slower=2.0)
    chunks: list[bytes] = []
    for body in summarised(records, set())[0]:
        closed = decode_marker(body)
        key = MarkerKey(closed.partition, closed.partial.start_ms).packed()
        chunks += split(key, body, chunk_bytes=4096)
    decided = replay(
        records, partitions=PARTITIONS, window_ms=WINDOW_MS, horizon_ms=CLOCKS.horizon_ms
    )
    effects = [v for d in decided for v in d.verdicts if is_effect(v)]
    return chunks, [pack(d.rows) for d in decided], effects
