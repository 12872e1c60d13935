"""The summarise agent over topics in memory: what is acknowledged, and what it reads itself."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from functools import partial

import pytest

from streams.faust_summarise import Summarising
from streams.letter_limit import LetterLimit, LetterNews
from streams.log.base import Record
from streams.marker_codec import encode_marker
from streams.ports import NoMeter
from streams.stage_summarise import ClosedWindow, Resume
from streams.summarise import DeadLetter
from tests.fakes.partition_run import CLOCKS, index_of, recorded
from tests.fakes.stage_topics import until
from wire.errors import TransientError


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

    async def verify(self) -> None:
        self._there()

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
