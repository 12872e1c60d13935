"""A stage's state in a compacted topic: parts, durable as a whole or not at all.

A state is a manifest that names its parts by digest. Parts are written first, the manifest last;
nothing that a newest manifest names is ever overwritten, so a writer that dies in between leaves
the older state whole. Each writer has keys of its own, and new ones after each `read`: neither one
that was thought dead nor what it deletes late can spoil the state of its successor, even where
that one was its predecessor, too. What nobody names any more is deleted.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import msgspec
from aiokafka.errors import KafkaError

from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings
from streams.kafka.chunks import CHUNK_BYTES, digest_of
from streams.kafka.partition_reader import PartitionReader
from streams.log.mark import WAY_ON
from wire.errors import PermanentError

_READ_BYTES: Final = 8 << 20
_MANIFEST: Final = "manifest"


class _Key(msgspec.Struct, array_like=True, frozen=True):
    """A record's key: `name` is the manifest, or a part's digest in hex."""

    writer: str
    name: str
    index: int = 0


class _Manifest(msgspec.Struct, array_like=True, frozen=True):
    """`parts` maps a part's name to its digest in hex and its chunk count."""

    position: int
    sequence: int
    parts: dict[str, tuple[str, int]]
    incarnation: int = 0  # of the log that `position` is of
    mark: bytes = b""


class Place(NamedTuple):
    """Of which incarnation of a log a position is, and the mark of the record before it."""

    incarnation: int = 0
    mark: bytes = b""


NOWHERE: Final = Place()
"""A first log, and no record before the position."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A state, and the position that it was saved with."""

    position: int
    parts: dict[str, bytes]
    place: Place = NOWHERE


class StateTopic:
    """One writer's view of a compacted topic of one partition. Lives in one event loop.

    `writer` must be unique to this life of this process. Call `read` before the first `write`, and
    whenever another may have written since.
    """

    def __init__(self, settings: KafkaSettings, topic: str, *, writer: str) -> None:
        self._settings = settings
        self._topic = settings.topic(topic)
        self._writer = writer
        self._appender = Appender(settings, f"holdfast-{topic}")
        self._sequence = 0
        self._generation = 0  # of our keys
        self._own: set[bytes] = set()  # keys of this generation whose values stand
        self._standing: set[bytes] = set()  # keys of anybody whose values may stand

    @classmethod
    async def opened(
        cls, settings: KafkaSettings, topic: str, *, writer: str
    ) -> tuple[Self, Saved | None]:
        """The topic and what it holds. Raises KafkaError."""
        made = cls(settings, topic, writer=writer)
        return made, await made.read()

    async def read(self) -> Saved | None:
        """The whole state with the highest position; None if there never was one.

        Raises KafkaError, PermanentError ``position_lost`` if there was one and it is gone.
        """
        records, first = await self._records()
        keys = {raw: msgspec.msgpack.decode(raw, type=_Key) for raw in records}
        self._begin_generation()
        self._standing |= records.keys()
        found: list[tuple[_Manifest, dict[str, bytes]]] = []
        for raw, key in keys.items():
            if key.name == _MANIFEST:
                manifest = msgspec.msgpack.decode(records[raw], type=_Manifest)
                parts = _assembled(manifest, key.writer, records)
                if parts is not None:
                    found.append((manifest, parts))
        if not found:
            if first:  # compaction leaves the newest of each key; nothing else is to delete
                raise position_lost(self._topic, first)
            return None
        newest, parts = max(found, key=lambda state: _order(state[0]))
        self._sequence = newest.sequence
        return Saved(newest.position, parts, Place(newest.incarnation, newest.mark))

    async def write(
        self, parts: Mapping[str, bytes], *, position: int, place: Place = NOWHERE
    ) -> None:
        """Make a state durable; parts that did not change are not sent again.

        `position` must not fall within an incarnation of the log. Raises KafkaError: then the
        older state stands, or this one.
        """
        digests = {name: digest_of(part).hex() for name, part in parts.items()}
        named = {name: (digests[name], _count(part)) for name, part in parts.items()}
        chunks = {
            self._key(digests[name], i): part[i * CHUNK_BYTES : (i + 1) * CHUNK_BYTES]
            for name, part in parts.items()
            for i in range(_count(part))
        }
        await self._put({key: chunks[key] for key in chunks.keys() - self._own})
        self._sequence += 1
        manifest = msgspec.msgpack.encode(
            _Manifest(position, self._sequence, named, place.incarnation, place.mark)
        )
        await self._put({self._key(_MANIFEST): manifest})
        await self._delete(self._standing - chunks.keys() - {self._key(_MANIFEST)})

    async def close(self) -> None:
        """Disconnect."""
        await self._appender.close()

    async def _records(self) -> tuple[dict[bytes, bytes], int]:
        """What each key holds, and the offset of the oldest record."""
        reader = PartitionReader(self._settings, self._topic, 0)
        await reader.start()
        try:
            newest: dict[bytes, bytes] = {}
            first, end = await reader.first(), await reader.end()
            async for record in reader.all_until(end, bytes_max=_READ_BYTES):
                if record.value is None:
                    newest.pop(record.key, None)
                else:
                    newest[record.key] = record.value
            return newest, first
        finally:
            await reader.close()

    async def _put(self, values: Mapping[bytes, bytes]) -> None:
        self._standing |= values.keys()  # even if no answer comes
        if values:
            outgoing = [Outgoing(0, value, key) for key, value in values.items()]
            await self._appender.append(self._topic, outgoing)
        self._own |= values.keys()

    async def _delete(self, gone: set[bytes]) -> None:
        if not gone:
            return
        try:
            await self._appender.append(self._topic, [Outgoing(0, None, key) for key in gone])
        except (KafkaError, asyncio.CancelledError):
            self._begin_generation()  # it may still arrive, so no key of it is used again
            raise
        self._own -= gone
        self._standing -= gone

    def _begin_generation(self) -> None:
        self._generation += 1
        self._own = set()

    def _key(self, name: str, index: int = 0) -> bytes:
        return msgspec.msgpack.encode(_Key(f"{self._writer}.{self._generation}", name, index))


def position_lost(topic: str, first: int) -> PermanentError:
    """The error of a topic whose records are gone although somebody still needs them."""
    return PermanentError(
        "position_lost",
        f"{topic} begins at {first} and holds nothing that can be gone on from: its records were"
        " deleted, by its retention or by hand",
        field="offset",
        accepted=WAY_ON,
    )


def _order(manifest: _Manifest) -> tuple[int, int, int]:
    return manifest.incarnation, manifest.position, manifest.sequence


def _count(part: bytes) -> int:
    return max(1, -(-len(part) // CHUNK_BYTES))


def _assembled(
    manifest: _Manifest, writer: str, records: Mapping[bytes, bytes]
) -> dict[str, bytes] | None:
    """The parts that a manifest names; None if not all of them are there."""
    parts = {}
    for name, (digest, count) in manifest.parts.items():
        keys = [msgspec.msgpack.encode(_Key(writer, digest, i)) for i in range(count)]
        if any(key not in records for key in keys):
            return None
        part = b"".join(records[key] for key in keys)
        if digest_of(part).hex() != digest:
            return None
        parts[name] = part
    return parts
