"""Many uploads of the same length as bytes: one matrix, one row per upload.

A packed column of 4-byte numbers is a tag, a length and the numbers themselves. For uploads of the
same row count the tags and lengths are the same in each, so a whole block of uploads is put
together by array assignment. Concatenated messages merge in protobuf, so head and columns need
not be written by the same hand.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sdk_stub.population import Column
from wire.pb import telemetry_pb2 as pb

_FIXED64: Final = 1
_LENGTH_DELIMITED: Final = 2
_FIELDS: Final = {f.name: f.number for f in pb.UploadRequest.DESCRIPTOR.fields}


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


def write_heads(
    batch_ids: NDArray[np.uint8], created_ms: NDArray[np.int64], rows: int
) -> list[bytes]:
    """Id, moment and row count of each upload; `batch_ids` has shape ``(uploads, 16)``."""
    parts = (
        _same(bytes([_FIELDS["batch_id"] << 3 | _LENGTH_DELIMITED, batch_ids.shape[1]])),
        batch_ids,
        _same(bytes([_FIELDS["created_ms"] << 3 | _FIXED64])),
        created_ms.astype("<u8").view(np.uint8).reshape(-1, 8),
        _same(bytes([_FIELDS["n"] << 3]) + varint(rows)),
    )
    uploads = len(created_ms)
    block = np.hstack([np.broadcast_to(part, (uploads, part.shape[1])) for part in parts])
    whole, width = block.tobytes(), block.shape[1]
    return [whole[i : i + width] for i in range(0, uploads * width, width)]


def _same(constant: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(constant, np.uint8)[None, :]


def write_nested(field: str, message: bytes) -> bytes:
    """A serialised message as a field of the upload."""
    return varint(_FIELDS[field] << 3 | _LENGTH_DELIMITED) + varint(len(message)) + message
