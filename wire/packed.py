"""Segments as the log keeps them: one zstd frame, or plain where packing gains nothing.

A plain segment begins with its kind, a small number, and a frame with zstd's magic, so that records
of both forms lie in one log. Columns of a group are alike: they come to a third of their size, and
fewer bytes to sync pay for the packing.
"""

import threading
from typing import Final

import zstandard

_LEVEL: Final = -1  # level 1 takes twice the time for a sixth fewer bytes
_PLAIN_BYTES: Final = 256  # a tick
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""What a record may unfold to: eight times what a topic takes as one record."""
_of_thread = threading.local()  # a compressor is of one thread, and costs more than a tick


def pack(segment: bytes) -> bytes:
    """Equal segments give equal bytes."""
    return segment if len(segment) < _PLAIN_BYTES else _compressor().compress(segment)


def unpack(payload: bytes) -> bytes:
    """The inverse of `pack`. Raises ValueError: not one whole frame, or more than a segment has."""
    if not payload.startswith(_MAGIC):
        return payload
    try:
        size = zstandard.frame_content_size(payload)
        if not 0 < size <= SEGMENT_BYTES_MAX:
            raise ValueError("the frame does not say its size, or too much")
        reader = zstandard.ZstdDecompressor(max_window_size=SEGMENT_BYTES_MAX)
        return reader.decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError("not one whole frame") from error


def _compressor() -> zstandard.ZstdCompressor:
    made: zstandard.ZstdCompressor | None = getattr(_of_thread, "compressor", None)
    if made is None:
        made = _of_thread.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    return made
