"""Bodies as they come: one gzip member or one zstd frame, never unfolded further than the caps.

A few kilobytes can unfold to gigabytes, and a few megabytes can hold a million empty members whose
starts alone cost minutes. So a body is one member or frame and nothing after it, and what it may
unfold to is counted from its first byte: so many times its size on the wire, or a floor that lets
small bodies of equal values pass.
"""

from dataclasses import dataclass
from typing import Final

import zstandard
from zlib_ng import zlib_ng

from wire.errors import PermanentError

SMALL_FOLDED_BYTES: Final = 4096
"""A compressed body below it unfolds in the event loop, in less time than a thread needs to start;
it gets no further than `BodyLimits.always_bytes`."""
_MIB: Final = 1024 * 1024
_ZSTD_WINDOW_MAX: Final = 8 * _MIB  # RFC 9659
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"  # a skippable frame begins with another
_GZIP_WBITS: Final = 31


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bytes on the wire, bytes unfolded, and how much larger than on the wire a body may get."""

    wire_bytes_max: int = 4 * _MIB
    decoded_bytes_max: int = 16 * _MIB
    ratio_max: int = 32  # rows as JSON objects, the most foldable of what phones say, reach 15
    always_bytes: int = 128 * 1024  # however few its bytes on the wire are


def decompress(body: bytes, encoding: str, limits: BodyLimits) -> bytes:
    """The body without its Content-Encoding. Linear in the bytes on the wire; the GIL is released.

    Raises
    ------
    PermanentError
        ``body_too_large``, ``decoded_too_large``, ``ratio_too_high``, ``malformed_encoding`` or
        ``content_encoding_unknown``.
    """
    check_wire_size(len(body), limits)
    if encoding in ("", "identity"):
        return body
    if encoding == "gzip":
        return _gzip(body, limits)
    if encoding == "zstd":
        return _zstd(body, limits)
    raise PermanentError(
        "content_encoding_unknown",
        "this Content-Encoding is not read here",
        field="content-encoding",
        accepted="identity, gzip, zstd",
    )


def check_wire_size(size: int, limits: BodyLimits) -> None:
    """Refuse more bytes than a body may have on the wire."""
    if size > limits.wire_bytes_max:
        raise PermanentError(
            "body_too_large",
            "the body is too large",
            field="body",
            accepted=f"at most {limits.wire_bytes_max} bytes",
        )


def room_of(wire_bytes: int, limits: BodyLimits) -> int:
    """How many bytes a body of this size may unfold to."""
    return min(limits.decoded_bytes_max, max(limits.always_bytes, wire_bytes * limits.ratio_max))


def _gzip(body: bytes, limits: BodyLimits) -> bytes:
    room = room_of(len(body), limits)
    member = zlib_ng.decompressobj(_GZIP_WBITS)
    try:
        unfolded = member.decompress(body, room + 1)  # one byte over the cap is enough to know
    except zlib_ng.error as error:  # type: ignore[misc]  # its stub says an instance
        raise _broken("gzip") from error
    if len(unfolded) > room:
        raise _too_much(room, limits)
    if not member.eof or member.unused_data:
        raise _broken("gzip")
    return unfolded


def _zstd(body: bytes, limits: BodyLimits) -> bytes:
    room = room_of(len(body), limits)
    if not body.startswith(_ZSTD_MAGIC):
        raise _broken("zstd")
    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX)
    try:
        said = zstandard.frame_content_size(body)
        if said > room:
            raise _too_much(room, limits)
        if said > 0:
            return reader.decompress(body, allow_extra_data=False)
        if len(reader.stream_reader(body).read(room + 1)) > room:
            raise _too_much(room, limits)
        frame = reader.decompressobj()  # it has no cap, but says where the frame ends
        unfolded = frame.decompress(body)
    except zstandard.ZstdError as error:
        raise _broken("zstd") from error
    if not frame.eof or frame.unused_data:
        raise _broken("zstd")
    return unfolded


def _too_much(room: int, limits: BodyLimits) -> PermanentError:
    if room == limits.decoded_bytes_max:
        return PermanentError(
            "decoded_too_large",
            "the body unfolds to too much",
            field="body",
            accepted=f"at most {limits.decoded_bytes_max} bytes decompressed",
        )
    return PermanentError(
        "ratio_too_high",
        "the body unfolds to suspiciously much",
        field="body",
        accepted=f"at most {limits.ratio_max} times its size, or {limits.always_bytes} bytes",
    )


def _broken(encoding: str) -> PermanentError:
    return PermanentError(
        "malformed_encoding",
        f"the body is not one whole {encoding} stream",
        field="content-encoding",
        accepted=f"one complete {encoding} {'member' if encoding == 'gzip' else 'frame'}",
    )
