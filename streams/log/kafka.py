"""The log in Kafka: one record of the topic ``telemetry`` is one record of the log.

A receipt is worth what the topic's replication is worth: a broker answers when the replicas in
sync have the record in memory, not when it is on disk.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings, admin, lost_connection
from streams.kafka.loop_thread import LoopThread
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.topics import TELEMETRY
from streams.log.base import Entry, Record, check_entries, trimmed

_T = TypeVar("_T")
# Longer than a leader's failover (3 to 6 s), shorter than a phone's patience.
_TIMEOUT_S: Final = 8.0


class KafkaLog:
    """A durable `Log`. Connects at the first use; a broker that is away is a TransientError.

    The topic must exist with this number of partitions: see `ensure_topics`.
    """

    def __init__(
        self, settings: KafkaSettings, *, client_id: str, timeout_s: float = _TIMEOUT_S
    ) -> None:
        self.partitions = settings.partitions
        self._settings = settings
        self._client_id = client_id
        self._timeout_s = timeout_s
        self._topic = settings.topic(TELEMETRY)
        self._thread = LoopThread("kafka-log")
        self._parts: _Parts = self._call(_make_parts(settings, client_id, self._topic))

    def append(self, records: Sequence[Entry]) -> list[int]:
        check_entries(records, self.partitions)
        self._refuse_when_closed()
        if not records:
            return []
        return self._call(self._parts.append(records))

    def read(self, partition: int, offset: int, *, bytes_max: int) -> list[Record]:
        self._refuse_when_closed()
        return self._call(self._parts.read(partition, offset, bytes_max))

    def start(self, partition: int) -> int:
        self._refuse_when_closed()
        return self._call(self._parts.bounds(partition))[0]

    def end(self, partition: int) -> int:
        self._refuse_when_closed()
        return self._call(self._parts.bounds(partition))[1]

    def trim(self, partition: int, *, before: int) -> None:
        self._refuse_when_closed()
        self._call(self._parts.trim(partition, before))

    def close(self) -> None:
        if not self._thread.is_closed:
            self._call(self._parts.close())
            self._thread.close()

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._thread.call(work, timeout_s=self._timeout_s)

    def _refuse_when_closed(self) -> None:
        if self._thread.is_closed:
            raise ValueError("the log is closed")


async def _make_parts(settings: KafkaSettings, client_id: str, topic: str) -> "_Parts":
    return _Parts(settings, client_id, topic)


class _Parts:
    """What lives in the event loop."""

    def __init__(self, settings: KafkaSettings, client_id: str, topic: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._topic = topic
        self._appender = Appender(settings, client_id)
        self._readers: dict[int, PartitionReader] = {}
        self._reading = asyncio.Lock()

    async def append(self, records: Sequence[Entry]) -> list[int]:
        return await self._appender.append(
            self._topic, [Outgoing(r.partition, r.payload) for r in records]
        )

    async def bounds(self, partition: int) -> tuple[int, int]:
        async with self._reading:
            return await self._bounds(partition)

    async def read(self, partition: int, offset: int, bytes_max: int) -> list[Record]:
        async with self._reading:
            start, end = await self._bounds(partition)
            if offset < start:
                raise trimmed(partition, offset, start)
            if offset >= end:
                return []
            reader = await self._reader(partition)
            try:
                found = await reader.read(offset, until=end, bytes_max=bytes_max)
            except OffsetOutOfRangeError as error:
                start, _ = await self._bounds(partition)
                raise trimmed(partition, offset, start) from error
            except (KafkaError, asyncio.CancelledError):
                await self._drop(partition)
                raise
        offsets = [record.offset for record in found]
        whole = list(range(offset, offset + len(found)))
        # transactions and compaction would leave gaps; this topic has neither
        assert offsets == whole, f"partition {partition} has gaps after {offset}"  # noqa: S101
        return [Record(partition, r.offset, r.value or b"") for r in found]

    async def trim(self, partition: int, before: int) -> None:
        start, end = await self.bounds(partition)
        if min(before, end) <= start:
            return
        client: AIOKafkaAdminClient = admin(self._settings, self._client_id)
        try:
            with lost_connection():
                await client.start()
                at = TopicPartition(self._topic, partition)
                await client.delete_records({at: RecordsToDelete(min(before, end))})
        finally:
            await client.close()

    async def close(self) -> None:
        for partition in list(self._readers):
            await self._drop(partition)
        await self._appender.close()

    async def _bounds(self, partition: int) -> tuple[int, int]:
        try:
            reader = await self._reader(partition)
            return await reader.first(), await reader.end()
        except (KafkaError, asyncio.CancelledError):
            await self._drop(partition)
            raise

    async def _reader(self, partition: int) -> PartitionReader:
        if partition not in self._readers:
            made = PartitionReader(self._settings, self._topic, partition)
            await made.start()
            self._readers[partition] = made
        return self._readers[partition]

    async def _drop(self, partition: int) -> None:
        reader = self._readers.pop(partition, None)
        if reader is not None:
            await reader.close()
