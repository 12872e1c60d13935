"""Many uploads of the same length as bytes: one matrix, one row per upload.

A packed column of 4-byte numbers is a tag, a length and the numbers themselves. For uploads of the
same row count the tags and lengths are the same in each, so a whole block of uploads is put
together by array assignment. Concatenated messages merge in protobuf, so head and columns need
not be written by the same hand.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wire.pb import telemetry_pb2 as pb

_LENGTH_DELIMITED: Final = 2
_FIELDS: Final = {f.name: f.number for f in pb.UploadRequest.DESCRIPTOR.fields}

Column = NDArray[np.float32] | NDArray[np.uint32]


def varint(number: int) -> bytes:
    """A base-128 number, low groups first."""
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def write_columns(columns: Mapping[str, Column]) -> list[bytes]:
    """The columns of each upload; every array has shape ``(uploads, rows)``, rows >= 1."""
    uploads, rows = next(iter(columns.values())).shape
    size = 4 * rows
    starts = {
        name: varint(_FIELDS[name] << 3 | _LENGTH_DELIMITED) + varint(size) for name in columns
    }
    width = sum(len(start) + size for start in starts.values())
    block = np.empty((uploads, width), np.uint8)
    at = 0
    for name, column in columns.items():
        start = np.frombuffer(starts[name], np.uint8)
        block[:, at : at + len(start)] = start
        at += len(start)
        block[:, at : at + size] = np.ascontiguousarray(column).view(np.uint8)
        at += size
    whole = block.tobytes()
    return [whole[i : i + width] for i in range(0, uploads * width, width)]


def join(heads: Sequence[bytes], bodies: Sequence[bytes]) -> list[bytes]:
    """Whole uploads."""
    return [head + body for head, body in zip(heads, bodies, strict=True)]
