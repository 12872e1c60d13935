"""A table of columns as an Avro map of bytes.

fastavro copies each column through a buffer that grows: 0.2 ms for 256 KB, thirty times what
joining them takes. An Avro record is its fields one after another, so the rest stays fastavro's.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_END = b"\x00"


def table_parts(table: Mapping[str, NDArray[Any]]) -> Iterable[bytes | memoryview]:
    """What, joined, is ``{"type": "map", "values": "bytes"}`` of the columns, in their order."""
    if table:
        yield _long(len(table))
        for name, column in table.items():
            yield _name(name)
            yield _long(column.nbytes)
            yield np.ascontiguousarray(column).data
    yield _END


@lru_cache(1024)
def _name(name: str) -> bytes:
    said = name.encode()
    return _long(len(said)) + said


def _long(value: int) -> bytes:
    """A count: zigzag, seven bits a byte, the lowest first."""
    left, said = value << 1, bytearray()
    while left > 0x7F:  # noqa: PLR2004
        said.append(left & 0x7F | 0x80)
        left >>= 7
    said.append(left)
    return bytes(said)
