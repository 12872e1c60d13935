"""The settings of the Faust application."""

import asyncio
from pathlib import Path

import pytest
from faust.types import TP

from streams.faust_app import FaustSettings, make_app
from streams.faust_decide import Deciding
from streams.kafka.broker import KafkaSettings
from streams.kafka.topics import WINDOWS
from streams.ports import NoMeter
from tests.fakes.partition_run import CLOCKS, PARTITIONS
from tests.fakes.stage_topics import MemorySink, MemoryState
from wire.errors import PermanentError


def test_exactly_once_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"exactly_once_refused.*neither the store nor Git"):
        FaustSettings("w", tmp_path, processing_guarantee="exactly_once")


class Forgotten(NoMeter):
    """Keeps what it was told to forget."""

    def __init__(self) -> None:
        self.partitions: list[str] = []

    def forget(self, partition: str) -> None:
        self.partitions.append(partition)


def test_a_worker_tells_no_more_of_partitions_that_it_gave_away(tmp_path: Path) -> None:
    kafka, meter = KafkaSettings("127.0.0.1:9"), Forgotten()
    of = [TP(kafka.topic(WINDOWS), partition) for partition in (0, 1)]

    async def work() -> None:
        topics = MemoryState()
        stage = Deciding(topics, MemorySink, PARTITIONS, CLOCKS, meter, lambda: 0)
        running = make_app("decide", stage, kafka, FaustSettings("w", tmp_path), meter)
        await running._assigned(None, set(of))
        assert meter.partitions == []
        await running._assigned(None, {of[0]})
        assert meter.partitions == ["1"]
        await running._assigned(None, set())
        assert meter.partitions == ["1", "0", ""]  # and of itself: it stands by

    asyncio.run(work())
