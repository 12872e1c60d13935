"""The topic ``seen``: per closed window of a partition its batch ids, and where to go on after it.

Ids and position are one record, so they cannot come apart. A window with very many ids is several
records; the last of them makes it count.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from streams.dedup import DedupIndex
from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings
from streams.kafka.chunks import Assembler, split
from streams.kafka.compacted import NOWHERE, Place, position_lost
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.topics import SEEN
from wire.segment import BATCH_ID

_READ_BYTES: Final = 8 << 20


class _Window(msgspec.Struct, array_like=True, frozen=True):
    next_offset: int
    log_time: list[int | str]
    ids: list[tuple[int, bytes]]
    incarnation: int = 0
    mark: bytes = b""


@dataclass(frozen=True, slots=True)
class Seen:
    """Where a partition goes on: the next offset, the clock before it, and that record's mark.

    `next_offset` is None if another log was accepted since: it is to be read from its beginning.
    """

    next_offset: int | None
    log_time: list[int | str]
    mark: bytes = b""


class SeenTopic:
    """Lives in one event loop."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._topic = settings.topic(SEEN)
        self._appender = Appender(settings, "holdfast-seen")

    async def write(
        self,
        partition: int,
        *,
        next_offset: int,
        log_time: Sequence[int | str],
        ids: Sequence[tuple[int, bytes]],
        place: Place = NOWHERE,
    ) -> None:
        """Make a window's ids and the position after it durable. Twice is once.

        `place` says of which log, with the mark of the record at `next_offset`. Raises KafkaError.
        """
        window = msgspec.msgpack.encode(_Window(next_offset, list(log_time), list(ids), *place))
        key = next_offset.to_bytes(8, "big") + place.incarnation.to_bytes(4, "big")
        chunks = split(key, window)
        await self._appender.append(self._topic, [Outgoing(partition, c) for c in chunks])

    async def read(self, partition: int, dedup: DedupIndex, *, incarnation: int = 0) -> Seen | None:
        """The furthest position. The ids before it go into a fresh index while they are read.

        A position counts only in its own incarnation of the log, ids for ever. None before the
        first closed window. Raises KafkaError; the index then holds some of the ids, so the next
        attempt needs another one. PermanentError ``position_lost`` if all of them are gone.
        """
        reader = PartitionReader(self._settings, self._topic, partition)
        await reader.start()
        try:
            seen = await _fill(dedup, reader, incarnation)
            if seen is None and (first := await reader.first()):
                raise position_lost(f"{self._topic}:{partition}", first)
            return seen
        finally:
            await reader.close()

    async def close(self) -> None:
        """Disconnect."""
        await self._appender.close()


async def _fill(dedup: DedupIndex, reader: PartitionReader, incarnation: int) -> Seen | None:
    """A window that is not beyond all others was written before, by a worker thought dead.

    Each writer makes a window durable before it goes on to the next, or begins after the last
    that it found: so wherever a window lies first, all before it lie in front of it.
    """
    assembler = Assembler()
    seen: Seen | None = None
    last = (-1, -1)  # incarnation and position
    piece: list[tuple[int, bytes]] = []
    size = 0
    async for record in reader.all_until(await reader.end(), bytes_max=_READ_BYTES):
        whole = assembler.take(record.offset, record.value)
        window = msgspec.msgpack.decode(whole.value, type=_Window) if whole is not None else None
        if window is None or (window.incarnation, window.next_offset) <= last:
            continue
        last = (window.incarnation, window.next_offset)
        position = window.next_offset if window.incarnation == incarnation else None
        seen = Seen(position, window.log_time, window.mark)
        now_ms = _log_time_ms(seen)
        for _, joined in window.ids:
            # log time at the window's end, whatever the writer's clock said: late, never early
            piece.append((now_ms, joined))
            size += len(joined)
            if size >= dedup.spill_ids * BATCH_ID.itemsize:
                await asyncio.to_thread(dedup.restore, piece, now_ms=now_ms)
                piece, size = [], 0
    if seen is not None:
        await asyncio.to_thread(dedup.restore, piece, now_ms=_log_time_ms(seen))
    return seen


def _log_time_ms(seen: Seen) -> int:
    return int(seen.log_time[0])
