"""What happens to topics behind our back, and lives of a summarising worker before and after."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.clocks import Clocks
from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings
from streams.kafka.chunks import Assembler
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.stage_topics import SummariseKafka, read_range
from streams.kafka.topics import TELEMETRY, TOPICS, WINDOWS, configuration_of, ensure_topics
from streams.log.base import Append
from streams.marker_codec import decode_marker
from streams.partial import Quality
from streams.stage_summarise import PartitionStage
from tests.fakes.segments import WINDOW_MS, appends
from wire.segment import Kind, Segment, decode, encode

CLOCKS = Clocks(WINDOW_MS, 86_400_000)
AGGREGATED = Quality("rows", "aggregated", "")


def run_of(seed: int, *, seconds: int, late_ms: int = 0) -> list[Append]:
    """Two partitions' records, `late_ms` after those of other runs."""
    made = list(appends(np.random.default_rng(seed), partitions=2, seconds=seconds))
    return made if not late_ms else [later(record, late_ms) for record in made]


def later(record: Append, by_ms: int) -> Append:
    segment = decode(record.payload)
    moved = replace(segment, arrived_ms=segment.arrived_ms + by_ms)
    return replace(record, payload=encode(moved), arrived_ms=record.arrived_ms + by_ms)


def closing(at_ms: int) -> list[Append]:
    """A tick for each partition, so that every window before it closes."""
    tick = encode(Segment(Kind.TICK, at_ms, "w0"))
    return [Append(partition, tick, at_ms) for partition in range(2)]


def rows_in(records: list[Append]) -> int:
    """Rows of uploads, each upload once."""
    segments = [decode(record.payload) for record in records]
    found: dict[bytes, int] = {}
    for segment in segments:
        if segment.kind is Kind.TELEMETRY:
            ids = segment.uploads["batch_id"].tolist()
            found |= dict(zip(ids, segment.uploads["n"].tolist(), strict=True))
    return sum(found.values())


async def append(settings: KafkaSettings, records: list[Append]) -> None:
    appender = Appender(settings, "history")
    try:
        outgoing = [Outgoing(r.partition, r.payload) for r in records]
        await appender.append(settings.topic(TELEMETRY), outgoing)
    finally:
        await appender.close()


async def live(settings: KafkaSettings) -> None:
    """A worker starts, takes all that there is, and ends."""
    await ensure_topics(settings)
    topics = SummariseKafka(settings, horizon_ms=CLOCKS.horizon_ms)
    try:
        for partition in range(2):
            await _take_all(settings, topics, partition)
    finally:
        await topics.close()


async def _take_all(settings: KafkaSettings, topics: SummariseKafka, partition: int) -> None:
    stage = PartitionStage(partition, CLOCKS, await topics.resume(partition))
    end = await end_of(settings, TELEMETRY, partition)
    async for record in topics.records(partition, stage.next_offset, end):
        window = stage.take(record).window
        if window is not None:
            await topics.publish(window)


async def counted(settings: KafkaSettings) -> int:
    """Rows in `windows`, as decide would count them: each window once."""
    assembler = Assembler()
    rows: dict[tuple[int, int], int] = {}
    end = await end_of(settings, WINDOWS, 0)
    async for offset, value in read_range(settings, WINDOWS, 0, 0, end):
        whole = assembler.take(offset, value)
        if whole is not None:
            closed = decode_marker(whole.value)
            key = (closed.partition, closed.partial.start_ms)
            rows.setdefault(key, closed.partial.quality[AGGREGATED])
    return sum(rows.values())


async def end_of(settings: KafkaSettings, topic: str, partition: int) -> int:
    reader = PartitionReader(settings, settings.topic(topic), partition)
    await reader.start()
    try:
        return await reader.end()
    finally:
        await reader.close()


@asynccontextmanager
async def admin_of(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def delete(settings: KafkaSettings, *topics: str) -> None:
    """Delete, and wait until they are gone."""
    names = {settings.topic(topic) for topic in topics}
    async with admin_of(settings) as client:
        await client.delete_topics(sorted(names))
        while names & set(await client.list_topics()):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.05)


async def make(settings: KafkaSettings, *topics: str, partitions: int = 0, **others: str) -> None:
    """Make topics as ours are, but for `others` (dots as two underscores)."""
    changed = {name.replace("__", "."): value for name, value in others.items()}
    async with admin_of(settings) as client:
        for topic in (t for t in TOPICS if t.name in topics):
            count = partitions or (settings.partitions if topic.is_partitioned else 1)
            made = configuration_of(topic, settings) | changed
            new = NewTopic(settings.topic(topic.name), count, 1, topic_configs=made)
            await client.create_topics([new])
            while not await _has_leaders(client, settings.topic(topic.name)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def _has_leaders(client: AIOKafkaAdminClient, name: str) -> bool:
    (found,) = await client.describe_topics([name])
    return not found["error_code"] and all(p["leader"] >= 0 for p in found["partitions"])


async def alter(settings: KafkaSettings, topic: str, **changes: str) -> None:
    """Change settings of a topic (dots as two underscores)."""
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    stands = next(t for t in TOPICS if t.name == topic)
    whole = configuration_of(stands, settings) | changed
    name = settings.topic(topic)
    async with admin_of(settings) as client:
        resource = ConfigResource(ConfigResourceType.TOPIC, name, whole)
        await client.alter_configs([resource])


async def trim(settings: KafkaSettings, topic: str, partition: int, before: int) -> None:
    """As retention does."""
    async with admin_of(settings) as client:
        at = TopicPartition(settings.topic(topic), partition)
        await client.delete_records({at: RecordsToDelete(before)})


async def widen(settings: KafkaSettings, topic: str, partitions: int) -> None:
    """Add partitions."""
    async with admin_of(settings) as client:
        await client.create_partitions({settings.topic(topic): NewPartitions(partitions)})


async def copied(settings: KafkaSettings, topic: str, into: KafkaSettings) -> None:
    """As a mirror does: the same keys and values in another cluster or under another prefix."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap)
    await consumer.start()
    try:
        at = TopicPartition(settings.topic(topic), 0)
        consumer.assign([at])
        await consumer.seek_to_beginning(at)
        end = (await consumer.end_offsets([at]))[at]
        appender = Appender(into, "mirror")
        while await consumer.position(at) < end:
            for record in (await consumer.getmany(at, timeout_ms=500)).get(at, []):
                outgoing = Outgoing(0, record.value, record.key)
                await appender.append(into.topic(topic), [outgoing])
        await appender.close()
    finally:
        await consumer.stop()
