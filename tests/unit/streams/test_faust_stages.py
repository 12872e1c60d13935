"""The agents' bodies over topics in memory: what is acknowledged, and what they read themselves."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from analytics.types import Verdict
from streams.codec import pack
from streams.faust_app import FaustSettings
from streams.faust_decide import WAITING_MAX, Deciding
from streams.faust_summarise import Summarising
from streams.kafka.chunks import split
from streams.kafka.stage_topics import MarkerKey
from streams.letter_limit import LetterLimit, LetterNews
from streams.local_worker import is_effect, replay
from streams.log.base import Record
from streams.marker_codec import decode_marker, encode_marker
from streams.ports import Measured, NoMeter
from streams.rows import Columns
from streams.stage_summarise import Clocks, ClosedWindow, Resume
from streams.summarise import DeadLetter
from tests.fakes.segments import WINDOW_MS
from tests.unit.streams.test_partition_stages import PARTITIONS, index_of, recorded, summarised
from wire.errors import PermanentError, TransientError

CLOCKS = Clocks(WINDOW_MS, 3_600_000)


@dataclass
class MemoryTelemetry:
    """Satisfies `SummariseTopics`; away for the next `failures` calls."""

    log: list[Record]
    windows: list[ClosedWindow] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    failures: int = 0
    reads: list[tuple[int, int]] = field(default_factory=list)
    news: list[LetterNews] = field(default_factory=list)
    resumed: list[int] = field(default_factory=list)

    def _there(self) -> None:
        if self.failures:
            self.failures -= 1
            raise TransientError("kafka_away", "the broker did not answer")

    async def resume(self, partition: int) -> Resume:
        self._there()
        self.resumed.append(partition)
        mine = [w for w in self.windows if w.closed.partition == partition]
        if not mine:
            return Resume(0)
        last = max((w.closed for w in mine), key=lambda closed: closed.next_offset)
        ids = [pair for w in mine for pair in w.ids]
        return Resume(last.next_offset, last.log_time, index_of(ids, last))

    async def records(self, partition: int, start: int, end: int) -> AsyncGenerator[Record, None]:
        self._there()
        self.reads.append((start, end))
        for record in self.log:
            if record.partition == partition and start <= record.offset < end:
                yield record

    async def publish(self, window: ClosedWindow) -> None:
        self._there()
        self.windows.append(window)

    async def bury(self, letter: DeadLetter) -> None:
        self._there()
        self.dead.append(letter)
        place = letter.record.partition, letter.record.offset
        self.news.append(LetterNews(*place, is_settled=False, at=len(self.news)))

    async def letter_news(self, start: int) -> tuple[list[LetterNews], int, int]:
        self._there()
        return self.news[start:], 0, len(self.news)

    def settle(self, partition: int, offset: int) -> None:
        """As a replay notes it."""
        self.news.append(LetterNews(partition, offset, is_settled=True, at=len(self.news)))


def summarising(topics: MemoryTelemetry, *, letters_max: int = 1000) -> Summarising:
    """A life of the stage."""
    return Summarising(topics, CLOCKS, NoMeter(), LetterLimit(topics, NoMeter(), letters_max))


def brought(stage: Summarising, records: Iterable[Record]) -> list[int]:
    """Bring records; the offsets in the order in which they were acknowledged."""
    acked: list[int] = []

    async def bring() -> None:
        for r in records:
            await stage.take(r.partition, r.offset, r.payload, partial(acked.append, r.offset))

    asyncio.run(bring())
    return acked


def of_partition(partition: int) -> list[Record]:
    return [r for r in recorded(1) if r.partition == partition]


def straight(records: list[Record]) -> list[bytes]:
    topics = MemoryTelemetry(records)
    brought(summarising(topics), records)
    return [encode_marker(w.closed) for w in topics.windows]


def test_records_are_acknowledged_in_order_and_not_before_their_window_is_durable() -> None:
    records = of_partition(0)
    topics = MemoryTelemetry(records)

    acked = brought(summarising(topics), records)

    last = topics.windows[-1].closed.next_offset
    assert acked == list(range(last))
    assert last < len(records)


def test_records_that_were_passed_over_are_read_from_the_log() -> None:
    records = of_partition(0)
    topics = MemoryTelemetry(records)

    brought(summarising(topics), [records[4], *records[9:]])

    assert [encode_marker(w.closed) for w in topics.windows] == straight(records)
    assert [end for _, end in topics.reads] == [4, 9]


def test_an_offset_that_was_committed_too_far_loses_nothing() -> None:
    """A life ends after it closed windows; the next is brought records far beyond them."""
    records = of_partition(0)
    topics = MemoryTelemetry(records)
    brought(summarising(topics), records[:8])
    known = len(topics.windows)

    brought(summarising(topics), records[12:])

    assert known > 0
    assert [encode_marker(w.closed) for w in topics.windows] == straight(records)


def test_records_that_come_again_are_skipped() -> None:
    records = of_partition(0)
    topics = MemoryTelemetry(records)
    stage = summarising(topics)

    brought(stage, records[:10])
    acked = brought(stage, records[3:])

    assert [encode_marker(w.closed) for w in topics.windows] == straight(records)
    assert acked == sorted(acked)


def test_a_partition_that_comes_back_goes_on_from_what_another_made_durable() -> None:
    records = of_partition(0)
    topics = MemoryTelemetry(records)
    ours, theirs = (summarising(topics) for _ in range(2))
    brought(ours, records[:7])
    asyncio.run(ours.assigned(set()))
    brought(theirs, records[5:14])
    asyncio.run(ours.assigned({0}))

    brought(ours, records[12:])

    made = {w.closed.partial.start_ms: encode_marker(w.closed) for w in topics.windows}
    assert [made[start] for start in sorted(made)] == straight(records)


def test_a_broker_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.faust_summarise._AWAY_S", 0.0)
    records = of_partition(0)
    topics = MemoryTelemetry(records, failures=3)
    stage = summarising(topics)
    brought(stage, records[:5])
    topics.failures = 2

    brought(stage, records[7:])

    assert [encode_marker(w.closed) for w in topics.windows] == straight(records)


def test_what_cannot_be_read_is_buried_before_it_is_acknowledged() -> None:
    records = [r for r in recorded(1) if r.partition == 0 or r.payload == b"\xff"]
    (broken,) = [r for r in recorded(1) if r.payload == b"\xff"]
    mine = [r for r in recorded(1) if r.partition == broken.partition]
    topics = MemoryTelemetry(mine)

    acked = brought(summarising(topics), mine)

    assert records
    assert [(d.record.offset, d.code) for d in topics.dead] == [
        (broken.offset, "segment_undecodable")
    ]
    assert broken.offset in acked


def poisoned(partition: int, places: set[int]) -> list[Record]:
    """A partition's run in which the records at these offsets cannot be read."""
    mine = of_partition(partition)
    return [Record(r.partition, r.offset, b"\xff") if r.offset in places else r for r in mine]


async def bring(stage: Summarising, records: Iterable[Record]) -> list[int]:
    """Bring records in a loop that lives on; the offsets that were acknowledged."""
    acked: list[int] = []
    for r in records:
        await stage.take(r.partition, r.offset, r.payload, partial(acked.append, r.offset))
        await asyncio.sleep(0)
    return acked


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not what():  # noqa: ASYNC110  # what is waited for is written by a task
            await asyncio.sleep(0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.letter_limit._LOOK_S", 0.0)


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    return [r.levelname for r in caplog.records if r.getMessage() == name]


@pytest.mark.usefixtures("quick")
def test_a_partition_with_too_many_letters_waits_loudly_and_goes_on_after_a_replay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, good = poisoned(0, {3, 4, 5, 14, 15}), of_partition(1)
    topics = MemoryTelemetry([*bad, *good])
    caplog.set_level("INFO")

    async def work() -> None:
        stage = summarising(topics, letters_max=2)
        await stage.assigned({0, 1})
        assert max(await bring(stage, bad[:10]), default=0) < 6
        await until(lambda: "partition_stopped" in caplog.text)
        assert [d.record.offset for d in topics.dead] == [3, 4, 5]
        assert await bring(stage, good)  # the others go on
        assert await bring(stage, bad[10:13]) == []
        assert events(caplog, "partition_stopped") == ["ERROR"]

        topics.settle(0, 4)
        await until(lambda: "partition_goes_on" in caplog.text)
        await bring(stage, bad[13:])  # the next poison comes while it catches up, or after
        assert 14 in {d.record.offset for d in topics.dead}
        await until(lambda: len(events(caplog, "partition_stopped")) == 2)
        for offset in (3, 5, 14):
            topics.settle(0, offset)
        await until(lambda: len(events(caplog, "partition_goes_on")) == 2)
        await bring(stage, bad[-1:])
        await stage.close()

    asyncio.run(work())

    made = [encode_marker(w.closed) for w in topics.windows if w.closed.partition == 0]
    assert made == straight(bad)


@pytest.mark.usefixtures("quick")
def test_a_partition_that_goes_on_after_a_stop_buries_nothing_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = poisoned(0, {3, 4, 5, 7, 8, 10})
    topics = MemoryTelemetry(bad)
    caplog.set_level("INFO")

    async def work() -> None:
        stage = summarising(topics, letters_max=2)
        await stage.assigned({0})
        await bring(stage, bad[:7])
        await until(lambda: "partition_stopped" in caplog.text)
        await stage.assigned({0})  # another worker has come; this partition stays
        for offset in (3, 4, 5):
            topics.settle(0, offset)
        await until(lambda: "partition_goes_on" in caplog.text)
        await bring(stage, bad[11:12])  # it stops again on the way to this one
        await until(lambda: stage.letters.is_held(0))
        for offset in (7, 8, 10):
            topics.settle(0, offset)
        await until(lambda: not stage.letters.is_held(0))
        await bring(stage, bad[12:])
        await stage.close()

    asyncio.run(work())

    assert [d.record.offset for d in topics.dead] == [3, 4, 5, 7, 8, 10]
    assert topics.resumed == [0]
    assert [encode_marker(w.closed) for w in topics.windows] == straight(bad)


@pytest.mark.usefixtures("quick")
def test_letters_of_an_older_life_count_and_what_was_replayed_meanwhile_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = poisoned(0, {3, 4, 5})
    topics = MemoryTelemetry(bad)
    brought(summarising(topics), bad[:8])

    async def work() -> None:
        stopped = summarising(topics, letters_max=2)
        await stopped.assigned({0})
        await until(lambda: "partition_stopped" in caplog.text)
        assert await bring(stopped, bad[8:]) == []
        await stopped.close()

        topics.settle(0, 3)
        caplog.clear()
        fresh = summarising(topics, letters_max=2)
        await fresh.assigned({0})
        await until(lambda: fresh.letters.waiting(0) == 2)
        await bring(fresh, bad[8:])
        await fresh.close()

    asyncio.run(work())

    assert events(caplog, "partition_stopped") == []
    made = {w.closed.partial.start_ms: encode_marker(w.closed) for w in topics.windows}
    assert [made[start] for start in sorted(made)] == straight(bad)


@pytest.mark.usefixtures("quick")
def test_letters_that_retention_has_taken_hold_nobody_back() -> None:
    class Trimmed(MemoryTelemetry):
        async def letter_news(self, start: int) -> tuple[list[LetterNews], int, int]:
            news, _, end = await super().letter_news(start)
            return news, end, end

    topics = Trimmed([])
    topics.news = [LetterNews(0, offset, is_settled=False, at=offset) for offset in range(9)]

    async def work() -> None:
        limit = LetterLimit(topics, NoMeter(), 2)
        limit.assigned({0})
        await until(lambda: limit._next == 9)
        await limit.close()
        assert limit.waiting(0) == 0
        assert not limit.is_held(0)

    asyncio.run(work())


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

    async def records(self, start: int, end: int) -> AsyncIterator[tuple[int, bytes]]:
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


def deciding(topics: MemoryState, sink: MemorySink) -> Deciding:
    return Deciding(topics, lambda: sink, PARTITIONS, CLOCKS, NoMeter(), lambda: 0)


async def decided(stage: Deciding, chunks: list[bytes], offsets: Iterable[int]) -> list[int]:
    acked: list[int] = []
    for o in offsets:
        await stage.take(0, o, chunks[o], partial(acked.append, o))
        await asyncio.sleep(0)
    await stage.close()
    return acked


def test_decide_writes_rows_then_verdicts_then_its_state_and_acknowledges_in_order() -> None:
    chunks, rows, effects = windows_topic()
    topics, sink = MemoryState(chunks), MemorySink()

    acked = asyncio.run(decided(deciding(topics, sink), chunks, range(len(chunks))))

    assert [sink.rows[start] for start in sorted(sink.rows)] == rows
    assert topics.verdicts == effects
    assert acked == list(range(topics.positions[-1]))
    assert topics.positions == sorted(topics.positions)


def test_a_decider_that_is_brought_chunks_beyond_its_state_reads_what_lies_between() -> None:
    chunks, rows, _ = windows_topic()
    topics, sink = MemoryState(chunks), MemorySink()
    half = len(chunks) // 2
    asyncio.run(decided(deciding(topics, sink), chunks, range(half)))

    asyncio.run(decided(deciding(topics, sink), chunks, range(half + 5, len(chunks))))

    assert [sink.rows[start] for start in sorted(sink.rows)] == rows


def test_a_decider_that_prepared_while_another_was_active_goes_on_from_the_others_state() -> None:
    chunks, rows, _ = windows_topic()
    topics, sink = MemoryState(chunks), MemorySink()
    half, more = len(chunks) // 3, 2 * len(chunks) // 3
    asyncio.run(decided(deciding(topics, sink), chunks, range(half)))

    async def stand_by() -> None:
        waiting = deciding(topics, sink)
        waiting.prepare()
        await asyncio.sleep(0.05)
        await decided(deciding(topics, sink), chunks, range(half, more))  # the active one
        await decided(waiting, chunks, range(more, len(chunks)))

    asyncio.run(stand_by())

    assert [sink.rows[start] for start in sorted(sink.rows)] == rows


def test_a_decider_that_lost_its_partition_unawares_goes_on_from_the_others_state() -> None:
    """The other made its state durable and was killed before Faust committed its offsets."""
    chunks, rows, _ = windows_topic()
    topics, sink = MemoryState(chunks), MemorySink()
    half, more = 2 * len(chunks) // 3, 5 * len(chunks) // 6

    async def work() -> None:
        ours = deciding(topics, sink)
        await ours.assigned({0})
        for o in range(half):
            await ours.take(0, o, chunks[o], lambda: None)
        await until(ours._is_drained)
        before = topics.positions[-1]
        await decided(deciding(topics, sink), chunks, range(half, more))
        assert topics.positions[-1] > before

        await ours.assigned({0})
        await ours.take(0, before, chunks[before], lambda: None)
        assert topics.calls[-1] == "state"
        await decided(ours, chunks, range(before + 1, len(chunks)))

    asyncio.run(work())

    assert topics.positions == sorted(topics.positions)
    assert [sink.rows[start] for start in sorted(sink.rows)] == rows


def test_a_decider_reads_the_durable_state_after_its_own_last_save(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a state that is on its way would be written over what was read."""
    monkeypatch.setattr("streams.faust_summarise._AWAY_S", 0.01)
    chunks, rows, _ = windows_topic()
    topics, sink = MemoryState(chunks), MemorySink()
    calls = topics.calls

    async def work() -> None:
        stage = deciding(topics, sink)
        await stage.assigned({0})
        sink.failures = 20
        at = 0
        while sink.failures == 20:  # until a flush is under way
            await stage.take(0, at, chunks[at], lambda: None)
            await asyncio.sleep(0.01)
            at += 1
        assert calls == ["state"]
        await stage.assigned({0})
        await decided(stage, chunks, range(at - 1, len(chunks)))

    asyncio.run(work())

    assert calls[:3] == ["state", "save", "state"]
    assert [sink.rows[start] for start in sorted(sink.rows)] == rows


def test_an_outage_of_the_store_loses_nothing_and_bounds_what_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.faust_summarise._AWAY_S", 0.01)
    monkeypatch.setattr("streams.faust_decide.WAITING_MAX", 2)
    chunks, rows, _ = windows_topic(seconds=9)
    topics, sink = MemoryState(chunks), MemorySink(failures=20)
    stage = deciding(topics, sink)
    waiting: list[int] = []

    async def bring() -> None:
        for o, chunk in enumerate(chunks):
            await stage.take(0, o, chunk, lambda: None)
            assert stage._mine is not None
            waiting.append(stage._mine.stage.undurable)
        await stage.close()

    asyncio.run(bring())

    assert [sink.rows[start] for start in sorted(sink.rows)] == rows
    assert max(waiting) == 2 < WAITING_MAX


class HeldSink(MemorySink):
    """Answers its first write only once it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def write_many(self, windows: Sequence[Mapping[str, Columns]]) -> int:
        assert self.let_go.wait(60)
        return super().write_many(windows)


def test_windows_that_waited_for_the_store_are_flushed_together_and_handed_to_it_few_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.local_worker.WRITE_WINDOWS_MAX", 2)
    chunks, rows, _ = windows_topic(seconds=9)
    topics, sink = MemoryState(chunks), HeldSink()

    async def work() -> None:
        stage = deciding(topics, sink)
        for offset, chunk in enumerate(chunks):
            await stage.take(0, offset, chunk, lambda: None)
        sink.let_go.set()
        await stage.close()

    asyncio.run(work())

    assert len(topics.positions) <= 2 < len(rows) / 2  # the one that was held, then the others
    assert max(sink.handed) == 2
    assert [sink.rows[start] for start in sorted(sink.rows)] == rows


def test_markers_that_wait_for_another_partition_are_told() -> None:
    chunks, rows, _ = windows_topic()  # one partition's markers, then the other's
    levels: list[float] = []

    class Told(NoMeter):
        def gauge(self, name: Measured, value: float, partition: str = "") -> None:
            if name == "markers_waiting":
                levels.append(value)

    stage = Deciding(MemoryState(chunks), MemorySink, PARTITIONS, CLOCKS, Told(), lambda: 0)
    asyncio.run(decided(stage, chunks, range(len(chunks))))

    assert max(levels) == len(rows)
    assert levels[-1] == 0


def test_exactly_once_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"exactly_once_refused.*neither the store nor Git"):
        FaustSettings("w", tmp_path, processing_guarantee="exactly_once")
