"""The framing of ``compress=1``: LZ4 blocks, each after its CityHash128, as JDBC reads them.

Per block: checksum (16 bytes), method, compressed size with these nine bytes, size, content.
"""

from collections.abc import Iterator
from typing import Final

import lz4.block

_LZ4: Final = b"\x82"
_HEAD_BYTES: Final = 9
_BLOCK_BYTES: Final = 1 << 20
_LOW: Final = (1 << 64) - 1


def framed(body: bytes) -> bytes:
    """The body in blocks of at most 1 MiB."""
    return b"".join(_blocks(body))


def _blocks(body: bytes) -> Iterator[bytes]:
    from clickhouse_cityhash.cityhash import CityHash128  # noqa: PLC0415  # only who asks loads it

    for start in range(0, len(body), _BLOCK_BYTES):
        part = body[start : start + _BLOCK_BYTES]
        packed = lz4.block.compress(part, store_size=False)
        size = (len(packed) + _HEAD_BYTES).to_bytes(4, "little")
        block = _LZ4 + size + len(part).to_bytes(4, "little") + packed
        checksum = CityHash128(block)
        yield (checksum >> 64).to_bytes(8, "little") + (checksum & _LOW).to_bytes(8, "little")
        yield block
