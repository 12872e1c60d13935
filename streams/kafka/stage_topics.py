"""What each stage reads and writes besides the records that Faust brings it.

Every method may be called again after a TransientError ``kafka_away``: what is written twice has
the same keys and bytes, and readers drop it. What the broker refuses for good is a PermanentError
``kafka_refused``, which ends the worker. All live in one event loop.
"""

import struct
from collections.abc import AsyncGenerator, Awaitable, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from analytics.types import Verdict
from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings, failure
from streams.kafka.chunks import split
from streams.kafka.compacted import NOWHERE, Place, StateTopic
from streams.kafka.identity import IdentityWatch
from streams.kafka.letter_notes import CODE, key_of, news_since
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.seen import SeenTopic
from streams.kafka.topics import DEAD_LETTERS, TELEMETRY, VERDICTS, WINDOWS
from streams.letter_limit import LetterNews
from streams.log.base import Record, trimmed
from streams.log.mark import check_bounds, mark_of, other_record
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
        self._watch = IdentityWatch(settings)
        self._epochs: dict[int, int | None] = {}  # of a partition's leader when last checked

    async def resume(self, partition: int) -> Resume:
        """The furthest closed window; the log's start before the first one."""
        dedup = fresh_index(self._horizon_ms, self._dedup_folder)  # each attempt has its own
        epoch = (await self._look()).get(partition)
        seen = await _there(
            self._seen.read(partition, dedup, incarnation=await self._incarnation())
        )
        if seen is None or seen.next_offset is None:
            start = await first_offset(self._settings, TELEMETRY, partition)
            log_time = seen.log_time if seen is not None else None
            self._epochs[partition] = epoch
            return Resume(start, log_time, dedup, is_other_log=seen is not None)
        await check_place(self._settings, TELEMETRY, partition, seen.next_offset, seen.mark)
        self._epochs[partition] = epoch
        return Resume(seen.next_offset, seen.log_time, dedup)

    async def verify(self) -> None:
        """Whether the topics are still those that were pinned."""
        await self._look()

    async def _look(self) -> Mapping[int, int]:
        return (await _there(self._watch.look())).get(TELEMETRY, {})

    async def _incarnation(self) -> int:
        return (await _there(self._watch.pinned())).incarnation(TELEMETRY)

    async def _check_read(self, window: ClosedWindow) -> None:
        """Was all that the window was made of read of the log whose position it moves?

        Ids never come back, and where no leader was elected no end was lost. Else every record
        that we read since the last position must still lie there.
        """
        partition = window.closed.partition
        epoch = (await self._look()).get(partition)
        if epoch != self._epochs.get(partition):
            await check_read(self._settings, TELEMETRY, partition, window.marks)
            self._epochs[partition] = epoch

    async def records(self, partition: int, start: int, end: int) -> AsyncGenerator[Record, None]:
        """Records of ``[start, end)``."""
        found = read_range(self._settings, TELEMETRY, partition, start, end)
        async with aclosing(found):
            async for offset, value in found:
                yield Record(partition, offset, value)

    async def publish(self, window: ClosedWindow) -> None:
        """The marker first: a position beyond a lost marker would lose its window."""
        await self._check_read(window)
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
                place=Place(await self._incarnation(), window.marks[closed.next_offset]),
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
        await self._watch.close()


class StateKafka:
    """A stage's state, and the one partition of the topic that it follows."""

    def __init__(
        self, settings: KafkaSettings, topic: str, state_topic: str, *, writer: str
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._state = StateTopic(settings, state_topic, writer=writer)
        self._appender = Appender(settings, f"holdfast-{topic}")
        self._watch = IdentityWatch(settings)
        self._epoch: int | None = None  # of the leader when last checked
        self._place = NOWHERE  # of the state that was read or saved last
        self._position = 0

    async def state(self) -> dict[str, bytes]:
        """The newest state by part; {} if there is none."""
        saved = await _there(self._state.read())
        self._place = saved.place if saved is not None else NOWHERE
        self._position = saved.position if saved is not None else 0
        return saved.parts if saved is not None else {}

    async def save(
        self, parts: dict[str, bytes], *, position: int, marks: Mapping[int, bytes]
    ) -> None:
        """The state, durable as a whole. `marks` are of records that were read, by offset.

        Raises PermanentError ``log_replaced``, ``log_behind_position`` if they were of another log.
        """
        epoch = await self._look()
        if epoch != self._epoch:
            last = {self._position - 1: self._place.mark} if self._place.mark else {}
            await check_read(self._settings, self._topic, 0, {**last, **marks})
            self._epoch = epoch
        incarnation = (await _there(self._watch.pinned())).incarnation(self._topic)
        known = self._place.mark if position == self._position else b""
        self._place = Place(incarnation, marks.get(position - 1, known))
        self._position = position
        await _there(self._state.write(parts, position=position, place=self._place))

    async def start(self, position: int | None) -> int:
        """Where to read on: at the position of the state that was read, if the log still fits it.

        Raises PermanentError ``log_trimmed``, ``log_replaced``, ``log_behind_position``.
        """
        self._epoch = await self._look()
        incarnation = (await _there(self._watch.pinned())).incarnation(self._topic)
        if position is None or self._place.incarnation != incarnation:
            self._place, self._position = NOWHERE, 0
            return await first_offset(self._settings, self._topic, 0)
        mark = self._place.mark
        await check_place(self._settings, self._topic, 0, position, mark, marked=position - 1)
        return position

    async def verify(self) -> None:
        """Whether the topics are still those that were pinned."""
        await self._look()

    async def _look(self) -> int | None:
        return (await _there(self._watch.look())).get(self._topic, {}).get(0)

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
        await self._watch.close()


async def check_place(
    settings: KafkaSettings,
    topic: str,
    partition: int,
    position: int,
    mark: bytes,
    *,
    marked: int | None = None,
) -> None:
    """Does a partition hold `position`, and what we read at `marked` (else at `position`)?

    Raises PermanentError ``log_trimmed``, ``log_replaced``, ``log_behind_position``.
    """
    name = f"{settings.topic(topic)}:{partition}"
    reader = PartitionReader(settings, settings.topic(topic), partition)
    await _there(reader.start())
    try:
        start, end = await _there(reader.first()), await _there(reader.end())
    finally:
        await reader.close()
    check_bounds(name, position, start=start, end=end)
    if mark:
        await check_read(settings, topic, partition, {position if marked is None else marked: mark})


async def check_read(
    settings: KafkaSettings, topic: str, partition: int, marks: Mapping[int, bytes]
) -> None:
    """Does every record that we read still lie where we read it? What is trimmed says nothing.

    Raises PermanentError ``log_replaced``, ``log_behind_position``.
    """
    if not marks:
        return
    name = f"{settings.topic(topic)}:{partition}"
    reader = PartitionReader(settings, settings.topic(topic), partition)
    await _there(reader.start())
    try:
        start, end = await _there(reader.first()), await _there(reader.end())
        check_bounds(name, max(start, max(marks) + 1), start=start, end=end)
        found: dict[int, bytes] = {}
        at = max(start, min(marks))
        while at <= max(marks):
            records = await _there(reader.read(at, until=max(marks) + 1, bytes_max=_READ_BYTES))
            found |= {record.offset: mark_of(record.value or b"") for record in records}
            at = records[-1].offset + 1 if records else max(marks) + 1
    except OffsetOutOfRangeError:  # trimmed meanwhile: who reads on says so
        return
    finally:
        await reader.close()
    for offset, mark in marks.items():
        if offset >= start and found.get(offset) != mark:
            raise other_record(name, offset)


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
