"""What a stage reads and writes at a real broker: anything can lie there, some of it is refused."""

import asyncio
from collections.abc import Iterator
from contextlib import closing

import pytest

from streams.faust_summarise import Summarising
from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings
from streams.kafka.dead_letters import KafkaLetters
from streams.kafka.stage_topics import SummariseKafka
from streams.kafka.topics import TELEMETRY, ensure_topics
from streams.letter_limit import LetterLimit
from streams.log.kafka import KafkaLog
from streams.ports import NoMeter
from streams.stage_summarise import Clocks
from tests.fakes.segments import START_MS, WINDOW_MS
from wire.segment import Kind, Segment, encode

TICK = encode(Segment(Kind.TICK, START_MS, "w0"))
CLOCKS = Clocks(WINDOW_MS, 86_400_000)


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> KafkaSettings:
    made = KafkaSettings(kafka, prefix=kafka_prefix)
    asyncio.run(ensure_topics(made))
    return made


@pytest.fixture
def log(settings: KafkaSettings) -> Iterator[KafkaLog]:
    with closing(KafkaLog(settings, client_id="test")) as made:
        yield made


def written(settings: KafkaSettings, *values: bytes | None) -> None:
    """Records as another producer may write them."""

    async def work() -> None:
        appender = Appender(settings, "foreign")
        await appender.append(settings.topic(TELEMETRY), [Outgoing(0, v, b"key") for v in values])
        await appender.close()

    asyncio.run(work())


def taken(settings: KafkaSettings, offset: int, value: bytes) -> None:
    """A life of the stage that is brought one record, and reads what lies before it."""

    async def work() -> None:
        topics = SummariseKafka(settings, horizon_ms=CLOCKS.horizon_ms)
        stage = Summarising(topics, CLOCKS, NoMeter(), LetterLimit(topics, NoMeter()))
        try:
            await asyncio.wait_for(stage.take(0, offset, value, lambda: None), 30)
        finally:
            await stage.close()
            await topics.close()

    asyncio.run(work())


def test_a_record_without_a_value_is_buried_and_the_next_is_taken(
    settings: KafkaSettings, log: KafkaLog
) -> None:
    written(settings, None, TICK, TICK)

    taken(settings, 2, TICK)

    assert [r.payload for r in log.read(0, 0, bytes_max=1 << 20)] == [b"", TICK, TICK]
    with closing(KafkaLetters(settings, name="test")) as letters:
        (letter,) = letters.listed()
        assert (letter.offset, letter.code, letter.size_bytes) == (0, "segment_undecodable", 0)
        assert letters.payload(0, 0) == b""
