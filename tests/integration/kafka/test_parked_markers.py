"""Decide reads again from a real broker what it left there."""

import asyncio

import msgspec
import pytest

from analytics.types import Verdict
from streams.faust_decide import Deciding
from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings
from streams.kafka.stage_topics import StateKafka, read_range
from streams.kafka.topics import DECIDE_STATE, VERDICTS, WINDOWS, ensure_topics
from streams.ports import NoMeter
from tests.fakes.partition_run import CLOCKS, PARTITIONS
from tests.fakes.stage_topics import MemorySink, windows_topic


def test_markers_that_were_left_in_the_topic_are_decided_when_their_turn_comes(
    kafka: str, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.marker_intake.AHEAD_BYTES", PARTITIONS)  # one marker of each
    chunks, rows, effects = windows_topic()  # one partition's markers, then the other's
    settings = KafkaSettings(kafka, prefix=kafka_prefix, partitions=PARTITIONS)
    topics = StateKafka(settings, WINDOWS, DECIDE_STATE, writer="test")
    sink = MemorySink()
    left: list[int] = []

    async def work() -> list[Verdict]:
        await ensure_topics(settings)
        appender = Appender(settings, "test")
        await appender.append(settings.topic(WINDOWS), [Outgoing(0, chunk) for chunk in chunks])
        await appender.close()
        stage = Deciding(topics, lambda: sink, PARTITIONS, CLOCKS, NoMeter(), lambda: 0)
        for offset, chunk in enumerate(chunks):
            await stage.take(0, offset, chunk, lambda: None)
            assert stage._mine is not None
            left.append(len(stage._mine.parked.left))
        await stage.close()
        await topics.close()
        said = read_range(settings, VERDICTS, 0, 0, len(effects))
        return [msgspec.msgpack.decode(value, type=Verdict) async for _, value in said]

    verdicts = asyncio.run(work())

    assert [sink.rows[start] for start in sorted(sink.rows)] == rows
    assert verdicts == effects
    assert max(left) == len(rows) - 1
    assert left[-1] == 0
