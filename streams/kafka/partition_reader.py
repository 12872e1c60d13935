"""Reads one partition from any offset, in order, without a consumer group."""

from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streams.kafka.broker import KafkaSettings, lost_connection, reader

_POLL_MS: Final = 1_000


class PartitionReader:
    """Lives in one event loop; one task at a time. Drop it after an error and make another."""

    def __init__(self, settings: KafkaSettings, topic: str, partition: int) -> None:
        self._at = TopicPartition(topic, partition)
        self._consumer: AIOKafkaConsumer = reader(settings, f"holdfast-reader-{partition}")
        self._held: deque[Any] = deque()  # fetched and not given yet
        self._next = -1  # offset that the consumer gives next

    async def start(self) -> None:
        """Connect. Raises KafkaError."""
        try:
            with lost_connection():
                await self._consumer.start()
        except BaseException:
            await self.close()
            raise
        self._consumer.assign([self._at])

    async def close(self) -> None:
        """Disconnect, whatever state the connection is in."""
        try:
            with lost_connection():
                await self._consumer.stop()
        except KafkaError:  # it has cancelled a fetch, and its own end with it
            await self._consumer._client.close()  # noqa: SLF001  # no public way is left

    async def first(self) -> int:
        """Offset of the oldest record still held."""
        with lost_connection():
            return int((await self._consumer.beginning_offsets([self._at]))[self._at])

    async def end(self) -> int:
        """Offset that the next record will get."""
        with lost_connection():
            return int((await self._consumer.end_offsets([self._at]))[self._at])

    async def read(self, offset: int, *, until: int, bytes_max: int) -> list[Any]:
        """Records (of aiokafka) with offsets in ``[offset, until)``: at least one if there is any.

        Raises OffsetOutOfRangeError if `offset` has been trimmed meanwhile.
        """
        self._go_to(offset)
        found: list[Any] = []
        size = 0
        while (self._held[0].offset if self._held else self._next) < until:
            if not self._held:
                await self._fetch()
                continue
            size += len(self._held[0].value or b"")
            if found and size > bytes_max:
                break
            found.append(self._held.popleft())
        return found

    async def all_until(self, until: int, *, bytes_max: int, start: int = 0) -> AsyncIterator[Any]:
        """Every record that is held from `start` on, before `until`, oldest first.

        Compaction may leave gaps.
        """
        at = max(start, await self.first())
        while at < until:
            try:
                records = await self.read(at, until=until, bytes_max=bytes_max)
            except OffsetOutOfRangeError:  # retention went past us while we read
                at = max(at + 1, await self.first())
                continue
            for record in records:
                yield record
            at = records[-1].offset + 1 if records else until

    def _go_to(self, offset: int) -> None:
        while self._held and self._held[0].offset < offset:
            self._held.popleft()
        at = self._held[0].offset if self._held else self._next
        if at != offset:
            self._held.clear()
            self._consumer.seek(self._at, offset)
            self._next = offset

    async def _fetch(self) -> None:
        with lost_connection():
            answer = await self._consumer.getmany(self._at, timeout_ms=_POLL_MS)
        records = answer.get(self._at, [])
        self._held.extend(records)
        # after a batch that compaction has emptied, the consumer is further than its records
        self._next = await self._consumer.position(self._at)
