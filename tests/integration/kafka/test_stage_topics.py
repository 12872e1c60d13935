"""What a stage reads and writes at a real broker: anything can lie there, some of it is refused."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from bench.processes import launched
from holdfast.config import load
from holdfast.folder import Folder
from streams.clocks import Clocks
from streams.faust_summarise import Summarising
from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import RECORD_BYTES_MAX, KafkaSettings
from streams.kafka.dead_letters import KafkaLetters
from streams.kafka.stage_topics import SummariseKafka
from streams.kafka.topics import DEAD_LETTERS, TELEMETRY, ensure_topics
from streams.letter_limit import LetterLimit
from streams.log.kafka import KafkaLog
from streams.ports import NoMeter
from tests.fakes.segments import START_MS, WINDOW_MS
from tests.integration.kafka.test_letter_limit import prepare
from wire.errors import PermanentError
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


def limit(settings: KafkaSettings, name: str, size: int) -> None:
    """Let a topic take only smaller records, as an operator can."""

    async def work() -> None:
        client = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
        await client.start()
        wanted = {"max.message.bytes": str(size)}
        topic = ConfigResource(ConfigResourceType.TOPIC, settings.topic(name), wanted)
        await client.alter_configs([topic])
        await client.close()

    asyncio.run(work())


def written(settings: KafkaSettings, *values: bytes | None) -> None:
    """Records as another producer may write them."""

    async def work() -> None:
        appender = Appender(settings, "foreign")
        records = [Outgoing(0, value, b"key") for value in values]
        try:
            await appender.append(settings.topic(TELEMETRY), records)
        finally:
            await appender.close()

    asyncio.run(work())


def taken(settings: KafkaSettings, offset: int, value: bytes) -> None:
    """A life of the stage that is brought one record, and reads what lies before it."""

    async def work() -> None:
        topics = SummariseKafka(settings, horizon_ms=CLOCKS.horizon_ms)
        stage = Summarising(topics, CLOCKS, NoMeter(), LetterLimit(topics, NoMeter()))
        try:
            await asyncio.wait_for(stage.take(0, offset, value, lambda: None), 120)
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


def test_the_largest_record_of_another_producer_is_buried(settings: KafkaSettings) -> None:
    written(settings, bytes(RECORD_BYTES_MAX - 100), TICK)

    taken(settings, 1, TICK)

    with closing(KafkaLetters(settings, name="test")) as letters:
        assert [x.size_bytes for x in letters.listed()] == [RECORD_BYTES_MAX - 100]


def test_telemetry_takes_nothing_larger_than_a_letter_can_hold(settings: KafkaSettings) -> None:
    with pytest.raises(MessageSizeTooLargeError):
        written(settings, bytes(RECORD_BYTES_MAX))


def test_what_the_broker_refuses_for_good_is_not_tried_again(settings: KafkaSettings) -> None:
    limit(settings, DEAD_LETTERS, 1_000)
    written(settings, bytes(2_000), TICK)

    with pytest.raises(PermanentError, match="MessageSizeTooLarge") as caught:
        taken(settings, 1, TICK)

    assert caught.value.code == "kafka_refused"
    assert settings.topic(DEAD_LETTERS) in caught.value.detail


def test_a_worker_whose_topics_would_refuse_records_ends_with_two(
    settings: KafkaSettings, tmp_path: Path
) -> None:
    asyncio.run(prepare(settings))
    limit(settings, DEAD_LETTERS, 1_000)
    written(settings, bytes(2_000), TICK)
    folder = Folder(tmp_path / "summarise-0")
    folder.create()
    own = load(
        dir=folder.root,
        worker_id="summarise-0",
        kafka_bootstrap=settings.bootstrap,
        kafka_prefix=settings.prefix,
        partitions=1,
    )
    said = tmp_path / "worker.log"

    with said.open("wb") as output:
        worker = launched(["worker", "--stage", "summarise"], own, output=output, errors=output)
        try:
            assert worker.wait(120) == 2
        finally:
            worker.kill()
            worker.wait()

    assert b"topic_settings_refused" in said.read_bytes()
    assert b"max.message.bytes" in said.read_bytes()
