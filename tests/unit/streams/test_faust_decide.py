"""The decide agent over topics and a store in memory: rows, verdicts, then its own state."""

import asyncio
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import pytest

from streams.faust_decide import WAITING_MAX, Deciding
from streams.kafka.chunks import split
from streams.kafka.stage_topics import MarkerKey
from streams.ports import NoMeter
from streams.rows import Columns
from tests.fakes.partition_run import CLOCKS, PARTITIONS
from tests.fakes.segments import START_MS
from tests.fakes.stage_topics import Levels, MemorySink, MemoryState, until, windows_topic
from wire.errors import PermanentError


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
        assert topics.calls[-2:] == ["state", "verify"]
        await decided(ours, chunks, range(before + 1, len(chunks)))

    asyncio.run(work())

    assert topics.positions == sorted(topics.positions)
    assert [sink.rows[start] for start in sorted(sink.rows)] == rows


class HeldSink(MemorySink):
    """Answers its first write only once it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.let_go = threading.Event(), threading.Event()

    def write_many(self, windows: Sequence[Mapping[str, Columns]]) -> int:
        self.is_asked.set()
        assert self.let_go.wait(60)
        return super().write_many(windows)


def test_a_decider_reads_the_durable_state_after_its_own_last_save() -> None:
    """Else a state that is on its way would be written over what was read."""
    chunks, rows, _ = windows_topic()
    topics, sink = MemoryState(chunks), HeldSink()

    async def work() -> None:
        stage = deciding(topics, sink)
        await stage.assigned({0})
        at = 0
        while stage._mine is None or not stage._mine.stage.undurable:
            await stage.take(0, at, chunks[at], lambda: None)
            at += 1
        await until(sink.is_asked.is_set)
        await stage.assigned({0})
        going_on = asyncio.create_task(decided(stage, chunks, range(at - 1, len(chunks))))
        await asyncio.sleep(0)  # it comes as far as it can without the store
        assert topics.calls == ["state"]
        sink.let_go.set()
        await going_on

    asyncio.run(work())

    assert topics.calls[:3] == ["state", "save", "state"]
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


def test_no_position_is_saved_beyond_a_marker_that_cannot_be_read() -> None:
    """A newer worker may have written it; a decider that was upgraded must find it."""
    chunks, _, _ = windows_topic()
    key = MarkerKey(1, START_MS + 1_000_000).packed()
    (unreadable,) = split(key, b"of another version")
    topics, sink = MemoryState([*chunks, unreadable]), HeldSink()
    stage = deciding(topics, sink)

    async def work() -> None:
        for offset, chunk in enumerate(chunks):
            await stage.take(0, offset, chunk, lambda: None)
        with pytest.raises(PermanentError, match="marker_undecodable"):
            await stage.take(0, len(chunks), unreadable, lambda: None)
        sink.let_go.set()
        await stage.close()

    asyncio.run(work())

    assert len(topics.positions) > 0
    assert max(topics.positions) <= len(chunks)


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
    levels = Levels()
    stage = Deciding(MemoryState(chunks), MemorySink, PARTITIONS, CLOCKS, levels, lambda: 0)
    asyncio.run(decided(stage, chunks, range(len(chunks))))

    assert levels.highest["markers_waiting"] == len(rows)
    assert levels.last["markers_waiting"] == 0
