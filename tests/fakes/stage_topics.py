"""Topics and a store in memory, for the agents' bodies."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analytics.types import Verdict
from streams.codec import pack
from streams.kafka.chunks import split
from streams.kafka.stage_topics import MarkerKey
from streams.local_worker import is_effect, replay
from streams.marker_codec import decode_marker
from streams.ports import Measured, NoMeter
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

    async def start(self, position: int | None) -> int:
        return position or 0

    async def verify(self) -> None:
        self.calls.append("verify")

    async def records(self, start: int, end: int) -> AsyncGenerator[tuple[int, bytes], None]:
        for offset in range(start, end):
            yield offset, self.log[offset]

    async def publish(self, verdicts: Iterable[Verdict]) -> None:
        self.verdicts += verdicts

    async def save(
        self, parts: dict[str, bytes], *, position: int, marks: Mapping[int, bytes]
    ) -> None:
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


@dataclass
class RecordedWindows:
    """Each partition's markers as chunks, the rows that they must give, the verdicts to act on."""

    markers: list[list[list[bytes]]]
    rows: list[bytes]
    effects: list[Verdict]
    largest: int  # bytes of a marker


def recorded_windows(
    seed: int, *, seconds: int, partitions: int = PARTITIONS, chunk_bytes: int = 4096
) -> RecordedWindows:
    """A bad release, summarised in one go and replayed."""
    records = recorded(seed, seconds=seconds, slower=2.0, partitions=partitions)
    markers: list[list[list[bytes]]] = [[] for _ in range(partitions)]
    bodies = summarised(records, set())[0]
    for body in bodies:
        closed = decode_marker(body)
        key = MarkerKey(closed.partition, closed.partial.start_ms).packed()
        markers[closed.partition].append(split(key, body, chunk_bytes=chunk_bytes))
    decided = replay(
        records, partitions=partitions, window_ms=WINDOW_MS, horizon_ms=CLOCKS.horizon_ms
    )
    return RecordedWindows(
        markers,
        [pack(d.rows) for d in decided],
        [v for d in decided for v in d.verdicts if is_effect(v)],
        max(len(body) for body in bodies),
    )


def windows_topic(seconds: int = 6) -> tuple[list[bytes], list[bytes], list[Verdict]]:
    """Chunks of `windows`, one partition after the other, the rows due, and the verdicts."""
    run = recorded_windows(2, seconds=seconds)
    chunks = [chunk for markers in run.markers for marker in markers for chunk in marker]
    return chunks, run.rows, run.effects


class Levels(NoMeter):
    """Keeps the highest level of each measure."""

    def __init__(self) -> None:
        self.highest: dict[str, float] = defaultdict(float)
        self.last: dict[str, float] = {}

    def gauge(self, name: Measured, value: float, partition: str = "") -> None:
        self.highest[name] = max(self.highest[name], value)
        self.last[name] = value
