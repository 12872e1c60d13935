"""Large values in chunks and back. Chunks may come twice, late, and between those of other values.

A chunk is: magic, length of the key, index, count, digest of the whole value, key, piece.
"""

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from wire.errors import PermanentError

CHUNK_BYTES: Final = 1 << 20  # one batch of the producer; several are on their way at once
_MAGIC: Final = b"HFC1"
_DIGEST_BYTES: Final = 16
_GIVEN_MAX: Final = 4_096  # 256 partitions: the last 16 windows of each; half a megabyte
_FRAME: Final = struct.Struct(f">4sHII{_DIGEST_BYTES}s")


@dataclass(frozen=True, slots=True)
class Head:
    """What a chunk says of itself. Equal keys with different digests are different values."""

    key: bytes
    index: int
    count: int
    digest: bytes


class Whole(NamedTuple):
    """A value put together again, and where the first chunk of it lay."""

    key: bytes
    value: bytes
    first_offset: int


def split(key: bytes, value: bytes, *, chunk_bytes: int = CHUNK_BYTES) -> list[bytes]:
    """At least one chunk; equal arguments give equal bytes. `key` is 65,535 bytes at most."""
    digest = digest_of(value)
    count = max(1, -(-len(value) // chunk_bytes))
    return [
        _FRAME.pack(_MAGIC, len(key), index, count, digest)
        + key
        + value[index * chunk_bytes : (index + 1) * chunk_bytes]
        for index in range(count)
    ]


def digest_of(value: bytes) -> bytes:
    """16 bytes that tell values apart."""
    return hashlib.blake2b(value, digest_size=_DIGEST_BYTES).digest()


def head_of(chunk: bytes) -> Head:
    """Read a chunk's head. Raises PermanentError ``chunk_undecodable``."""
    return _parse(chunk)[0]


@dataclass(slots=True)
class _Partial:
    first_offset: int
    pieces: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Assembler:
    """Takes chunks in any order and gives each value once its last chunk is there.

    Chunks of a value that was given are passed over, as long as it is among the newest of those:
    a repetition that somebody began and never finished would wait here for ever.
    """

    _given: dict[tuple[bytes, bytes], None] = field(default_factory=dict)  # oldest first
    _partials: dict[tuple[bytes, bytes, int], _Partial] = field(default_factory=dict)

    def take(self, offset: int, chunk: bytes) -> Whole | None:
        """Take a chunk that lay at `offset`; the value if it is whole now.

        Raises PermanentError ``chunk_undecodable``.
        """
        head, piece = _parse(chunk)
        if (head.key, head.digest) in self._given:
            return None
        at = (head.key, head.digest, head.count)
        partial = self._partials.setdefault(at, _Partial(offset))
        partial.pieces.setdefault(head.index, piece)
        if len(partial.pieces) < head.count:
            return None
        value = b"".join(partial.pieces[index] for index in range(head.count))
        self._finish(head)
        if digest_of(value) != head.digest:
            raise _undecodable("the chunks do not make the value that was cut")
        return Whole(head.key, value, partial.first_offset)

    def forget(self, key: bytes) -> None:
        """Drop what has come of this key."""
        for at in [at for at in self._partials if at[0] == key]:
            del self._partials[at]

    def unfinished(self) -> list[int]:
        """The first offset of each value of which chunks are missing."""
        return [partial.first_offset for partial in self._partials.values()]

    def _finish(self, head: Head) -> None:
        self.forget(head.key)
        self._given[head.key, head.digest] = None
        if len(self._given) > _GIVEN_MAX:
            del self._given[next(iter(self._given))]


def _parse(chunk: bytes) -> tuple[Head, bytes]:
    if len(chunk) < _FRAME.size:
        raise _undecodable("shorter than its head")
    magic, key_bytes, index, count, digest = _FRAME.unpack_from(chunk)
    key = chunk[_FRAME.size : _FRAME.size + key_bytes]
    if magic != _MAGIC or len(key) != key_bytes or index >= count:
        raise _undecodable("not a chunk")
    return Head(key, index, count, digest), chunk[_FRAME.size + key_bytes :]


def _undecodable(detail: str) -> PermanentError:
    return PermanentError("chunk_undecodable", detail)
