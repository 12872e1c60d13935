"""The topic ``seen``: per closed window of a partition its batch ids, and where to go on after it.

Ids and position are one record, so they cannot come apart. A window with very many ids is several
records; the last of them makes it count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings
from streams.kafka.chunks import Assembler, split
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.topics import SEEN

_READ_BYTES: Final = 8 << 20


class _Window(msgspec.Struct, array_like=True, frozen=True):
    next_offset: int
    log_time: list[int | str]
    ids: list[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Seen:
    """Where a partition goes on: next offset, the clock before it, and (arrived_ms, joined ids)."""

    next_offset: int
    log_time: list[int | str]
    ids: list[tuple[int, bytes]]


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
    ) -> None:
        """Make a window's ids and the position after it durable. Twice is once.

        Raises KafkaError.
        """
        window = msgspec.msgpack.encode(_Window(next_offset, list(log_time), list(ids)))
        chunks = split(next_offset.to_bytes(8, "big"), window)
        await self._appender.append(self._topic, [Outgoing(partition, c) for c in chunks])

    async def read(self, partition: int, *, horizon_ms: int) -> Seen | None:
        """The furthest position, and the ids that arrived within the horizon before its clock.

        None before the first closed window. Raises KafkaError.
        """
        reader = PartitionReader(self._settings, self._topic, partition)
        await reader.start()
        try:
            windows = await _windows(reader)
        finally:
            await reader.close()
        if not windows:
            return None
        last = windows[max(windows)]
        since_ms = int(last.log_time[0]) - horizon_ms
        ids = [
            (arrived_ms, joined)
            for at in sorted(windows)
            for arrived_ms, joined in windows[at].ids
            if arrived_ms >= since_ms
        ]
        return Seen(last.next_offset, last.log_time, ids)

    async def close(self) -> None:
        """Disconnect."""
        await self._appender.close()


async def _windows(reader: PartitionReader) -> dict[int, _Window]:
    """By next offset: a worker that was thought dead may write a window again, with equal bytes."""
    assembler = Assembler()
    windows: dict[int, _Window] = {}
    end = await reader.end()
    async for record in reader.all_until(end, bytes_max=_READ_BYTES):
        whole = assembler.take(record.offset, record.value)
        if whole is not None:
            window = msgspec.msgpack.decode(whole.value, type=_Window)
            windows.setdefault(window.next_offset, window)
    return windows
