"""What each stage reads and writes besides the records that Faust brings it.

Every method may be called again after a TransientError ``kafka_away``: what is written twice has
the same keys and bytes, and readers drop it. What the broker refuses for good is a PermanentError
``kafka_refused``, which ends the worker. All live in one event loop.
"""

import struct
from collections.abc import AsyncGenerator, Awaitable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from analytics.types import Verdict
from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings, failure
from streams.kafka.chunks import split
from streams.kafka.compacted import StateTopic
from streams.kafka.letter_notes import CODE, key_of, news_since
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.seen import SeenTopic
from streams.kafka.topics import DEAD_LETTERS, TELEMETRY, VERDICTS, WINDOWS
from streams.letter_limit import LetterNews
from streams.log.base import Record, trimmed
from streams.marker_codec import encode_marker
from streams.stage_summarise import ClosedWindow, Resume
from streams.summarise import DeadLetter, fresh_index

_T = TypeVar("_T")
_READ_BYTES: Final = 8 << 20
_MARKER_KEY: Final = struct.Struct(">IQ")


class MarkerKey(NamedTuple):
    """What a marker's chunks are told apart by."""

    partition: int
    start_ms: int

    def packed(self) -> bytes:
        """As the chunks carry it."""
        return _MARKER_KEY.pack(*self)

    @classmethod
    def of(cls, key: bytes) -> "MarkerKey":
        """The inverse of `packed`."""
        return cls(*_MARKER_KEY.unpack(key))


class SummariseKafka:
    """Satisfies `faust_summarise.SummariseTopics`.

    `dedup_folder` takes the ids that are too many for memory; it must exist. None: all in memory.
    """

    def __init__(
        self, settings: KafkaSettings, *, horizon_ms: int, dedup_folder: Path | None = None
    ) -> None:
        self._settings = settings
        self._horizon_ms, self._dedup_folder = horizon_ms, dedup_folder
        self._seen = SeenTopic(settings)
        self._appender = Appender(settings, "holdfast-summarise")

    async def resume(self, partition: int) -> Resume:
        """The furthest closed window; the log's start before the first one."""
        dedup = fresh_index(self._horizon_ms, self._dedup_folder)  # each attempt has its own
        seen = await _there(self._seen.read(partition, dedup))
        if seen is None:
            start = await first_offset(self._settings, TELEMETRY, partition)
            return Resume(start, dedup=dedup)
        return Resume(seen.next_offset, seen.log_time, dedup)

    async def records(self, partition: int, start: int, end: int) -> AsyncGenerator[Record, None]:
        """Records of ``[start, end)``."""
        found = read_range(self._settings, TELEMETRY, partition, start, end)
        async with aclosing(found):
            async for offset, value in found:
                yield Record(partition, offset, value)

    async def publish(self, window: ClosedWindow) -> None:
        """The marker first: a position beyond a lost marker would lose its window."""
        closed = window.closed
        key = MarkerKey(closed.partition, closed.partial.start_ms).packed()
        chunks = split(key, encode_marker(closed))
        topic = self._settings.topic(WINDOWS)
        await _there(self._appender.append(topic, [Outgoing(0, chunk) for chunk in chunks]))
        await _there(
            self._seen.write(
                closed.partition,
                next_offset=closed.next_offset,
                log_time=closed.log_time,
                ids=window.ids,
            )
        )

    async def bury(self, letter: DeadLetter) -> None:
        """Keep what cannot be read, with the reason and where it lay."""
        record = letter.record
        where = {
            CODE: letter.code.encode(),
            "topic": self._settings.topic(TELEMETRY).encode(),
            "partition": b"%d" % record.partition,
            "offset": b"%d" % record.offset,
            "log_time_ms": b"%d" % letter.log_time_ms,
        }
        key = key_of(record.partition, record.offset)
        outgoing = Outgoing(0, record.payload, key, tuple(where.items()))
        await _there(self._appender.append(self._settings.topic(DEAD_LETTERS), [outgoing]))

    async def letter_news(self, start: int) -> tuple[list[LetterNews], int, int]:
        """What happened to letters from `start` on, the oldest that is held, and the next."""
        return await _there(news_since(self._settings, start))

    async def close(self) -> None:
        """Disconnect."""
        await self._appender.close()
        await self._seen.close()


class StateKafka:
    """A stage's state, and the one partition of the topic that it follows."""

    def __init__(
        self, settings: KafkaSettings, topic: str, state_topic: str, *, writer: str
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._state = StateTopic(settings, state_topic, writer=writer)
        self._appender = Appender(settings, f"holdfast-{topic}")

    async def state(self) -> dict[str, bytes]:
        """The newest state by part; {} if there is none."""
        saved = await _there(self._state.read())
        return saved.parts if saved is not None else {}

    async def save(self, parts: dict[str, bytes], *, position: int) -> None:
        """The state, durable as a whole."""
        await _there(self._state.write(parts, position=position))

    async def first(self) -> int:
        """Offset of the oldest record."""
        return await first_offset(self._settings, self._topic, 0)

    def records(self, start: int, end: int) -> AsyncGenerator[tuple[int, bytes], None]:
        """(offset, value) of ``[start, end)``."""
        return read_range(self._settings, self._topic, 0, start, end)

    async def publish(self, verdicts: Iterable[Verdict]) -> None:
        """Verdicts that somebody must act on, durable."""
        outgoing = [Outgoing(0, msgspec.msgpack.encode(v), v.verdict_id.encode()) for v in verdicts]
        await _there(self._appender.append(self._settings.topic(VERDICTS), outgoing))

    async def close(self) -> None:
        """Disconnect."""
        await self._appender.close()
        await self._state.close()


async def first_offset(settings: KafkaSettings, topic: str, partition: int) -> int:
    """Offset of the oldest record held."""
    reader = PartitionReader(settings, settings.topic(topic), partition)
    await _there(reader.start())
    try:
        return await _there(reader.first())
    finally:
        await reader.close()


async def read_range(
    settings: KafkaSettings, topic: str, partition: int, start: int, end: int
) -> AsyncGenerator[tuple[int, bytes], None]:
    """(offset, value) of ``[start, end)``; PermanentError ``log_trimmed`` if some are gone."""
    reader = PartitionReader(settings, settings.topic(topic), partition)
    await _there(reader.start())
    try:
        at = start
        while at < end:
            try:
                found = await _there(reader.read(at, until=end, bytes_max=_READ_BYTES))
            except OffsetOutOfRangeError as error:
                raise trimmed(partition, at, await _there(reader.first())) from error
            for record in found:
                yield record.offset, record.value or b""  # none: like every other unreadable one
            at = found[-1].offset + 1 if found else end
    finally:
        await reader.close()


async def _there(work: Awaitable[_T]) -> _T:
    try:
        return await work
    except OffsetOutOfRangeError:
        raise
    except (KafkaError, TimeoutError) as error:
        raise failure(error) from error
