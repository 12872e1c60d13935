"""While a partition stands still, the others' markers stay in the topic; nothing else changes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.faust_decide import Deciding
from streams.marker_codec import decode_marker
from streams.marker_intake import MarkerIntake
from streams.parked import Parked
from streams.stage_decide import DecideStage
from tests.fakes.partition_run import CLOCKS
from tests.fakes.segments import WINDOW_MS
from tests.fakes.stage_topics import (
    Levels,
    MemorySink,
    MemoryState,
    RecordedWindows,
    recorded_windows,
)
from wire.errors import TransientError

PARTITIONS = 3
SECONDS = 8


@cache
def run_of(seed: int) -> RecordedWindows:
    return recorded_windows(seed, seconds=SECONDS, partitions=PARTITIONS, chunk_bytes=512)


def mixed(run: RecordedWindows, rng: np.random.Generator) -> list[bytes]:
    """As workers would write them: chunks of partitions mingle, some run far ahead, some repeat."""
    queues = []
    for markers in run.markers:
        queue: list[bytes] = []
        for at in range(len(markers)):
            queue += markers[at]
            if rng.random() < 0.2:  # a worker died before it had saved its position
                queue += [chunk for again in markers[max(0, at - 1) : at + 1] for chunk in again]
        queues.append(queue)
    topic: list[bytes] = []
    turn = 0
    while any(queues):
        if rng.random() < 0.1 or not queues[turn]:
            turn = int(rng.integers(PARTITIONS))
        elif queues[turn]:
            topic.append(queues[turn].pop(0))
    return topic


@dataclass
class ShakyState(MemoryState):
    """Breaks off now and then while it is read."""

    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    brought_again: int = 0

    async def records(self, start: int, end: int) -> AsyncGenerator[tuple[int, bytes], None]:
        async with aclosing(MemoryState.records(self, start, end)) as found:
            async for record in found:
                if self.rng.random() < 0.02:
                    raise TransientError("kafka_away", "the broker does not answer")
                self.brought_again += 1
                yield record


@dataclass
class Watched:
    """Deciders, one after the other, over one topic; `held` is the most that ever waited."""

    topics: ShakyState
    sink: MemorySink
    levels: Levels = field(default_factory=Levels)
    held: int = 0
    left: int = 0

    def decider(self) -> Deciding:
        return Deciding(self.topics, lambda: self.sink, PARTITIONS, CLOCKS, self.levels, lambda: 0)

    async def bring(self, stage: Deciding, start: int, end: int) -> None:
        for offset in range(start, end):
            await stage.take(0, offset, self.topics.log[offset], lambda: None)
            await asyncio.sleep(0)
            assert stage._mine is not None
            self.held = max(
                self.held, *(stage._mine.stage.held_bytes(p) for p in range(PARTITIONS))
            )
            self.left = max(self.left, len(stage._mine.parked.left))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.faust_summarise._AWAY_S", 0.001)


def test_markers_that_run_ahead_are_left_in_the_topic_and_taken_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = run_of(2)
    allowance = run.largest  # a window or two: what was left is read again many times over
    monkeypatch.setattr("streams.marker_intake.AHEAD_BYTES", PARTITIONS * allowance)
    topic = [chunk for markers in run.markers for marker in markers for chunk in marker]
    watched = Watched(ShakyState(topic), MemorySink())

    async def work() -> None:
        stage = watched.decider()
        await watched.bring(stage, 0, len(topic))
        await stage.close()

    asyncio.run(work())

    assert [watched.sink.rows[start] for start in sorted(watched.sink.rows)] == run.rows
    assert watched.topics.verdicts == run.effects
    assert watched.topics.positions[-1] == len(topic)
    assert watched.topics.brought_again < 2 * len(topic)
    assert watched.held < allowance + run.largest
    assert watched.left > len(run.rows)
    assert watched.levels.highest["markers_waiting"] == 2 * len(run.rows)
    assert watched.levels.last["markers_waiting"] == 0


@given(seed=st.integers(0, 10_000), markers=st.integers(1, 4), deaths=st.integers(0, 3))
def test_no_order_no_death_and_no_outage_changes_what_is_decided(
    seed: int, markers: int, deaths: int
) -> None:
    run, rng = run_of(seed % 5), np.random.default_rng(seed)
    topic = mixed(run, rng)
    watched = Watched(ShakyState(topic, rng=rng), MemorySink())
    ends = sorted(int(rng.integers(1, len(topic))) for _ in range(deaths))

    async def work() -> None:
        start = 0
        for end in [*ends, len(topic)]:
            stage = watched.decider()
            await watched.bring(stage, start, end)
            if end == len(topic) or rng.random() < 0.5:
                await stage.close()
            elif stage._flushing is not None:
                stage._flushing.cancel()
            # Kafka brings again what was not acknowledged, and may pass some over
            start = int(np.clip(end - rng.integers(-2, 4), 0, len(topic) - 1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streams.marker_intake.AHEAD_BYTES", PARTITIONS * markers * run.largest // 2)
        asyncio.run(work())

    assert [watched.sink.rows[start] for start in sorted(watched.sink.rows)] == run.rows
    assert list({v.verdict_id: v for v in watched.topics.verdicts}.values()) == run.effects
    assert watched.held < (markers // 2 + 2) * run.largest


def test_until_what_was_left_is_read_again_the_position_stays_there() -> None:
    parked = Parked(100)
    assert parked.passes_over(0, 100)
    parked.leave(0, 5_000, 7)
    parked.leave(0, 6_000, 9)
    parked.leave(1, 5_000, 8)

    assert parked.position == 7
    again = parked.read_again(lambda partition: 40 + 40 * partition)
    assert (0 in parked, 1 in parked) == (False, True)
    assert again.at == 7
    assert parked.position == 7
    parked.end_rereading()
    assert parked.position == 8


def test_only_stretches_with_wanted_markers_are_read_again() -> None:
    parked = Parked(100)
    parked.leave(0, 5_000, 7)
    parked.leave(1, 5_000, 50)

    again = parked.read_again(lambda _: 0)

    assert again.at == 7
    assert again.come_to(8)  # there may be room for more
    parked.leave(0, 7_000, 8)
    assert not again.come_to(9)
    assert again.at == 50
    assert again.come_to(51)
    parked.leave(1, 6_000, 51)
    assert not again.come_to(52)
    assert again.at is None


def test_what_comes_after_a_marker_that_was_left_is_left_although_there_is_room() -> None:
    parked = Parked(100)
    parked.leave(0, 5_000, 7)

    assert parked.passes_over(0, 60)
    assert not parked.passes_over(1, 60)
    assert not parked.has_room(lambda _: 60)
    assert parked.has_room(lambda _: 50)


def test_the_durable_position_waits_for_markers_that_were_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = run_of(2)
    monkeypatch.setattr("streams.marker_intake.AHEAD_BYTES", PARTITIONS)
    first, second = run.markers[0][:2]
    intake = MarkerIntake.begin(DecideStage.begin(PARTITIONS, WINDOW_MS), 0)
    (whole,) = filter(None, (intake.take(offset, chunk) for offset, chunk in enumerate(first)))
    intake.stage.take(decode_marker(whole.value), first_offset=0, size_bytes=len(whole.value))

    for offset, chunk in enumerate(second, len(first)):
        assert intake.take(offset, chunk) is None

    assert intake.unfinished() == [len(first)]
    assert intake.waiting == 2
