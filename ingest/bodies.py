"""Bodies as they come: decompressed as a stream, never further than the caps.

A few kilobytes can unfold to gigabytes, so each step asks for at most a bounded piece and stops at
the cap; what has been unfolded is never more than the cap and one piece.
"""

import contextlib
import zlib
from dataclasses import dataclass
from typing import Final

import zstandard

from wire.errors import PermanentError

_MIB: Final = 1024 * 1024
_ZSTD_WINDOW_MAX: Final = 8 * _MIB  # RFC 9659
# One zstd block of 4 bytes can unfold to 128 KiB, so 64 bytes give at most 2 MiB.
_ZSTD_PIECE: Final = 64
_GZIP_WBITS: Final = 31
_SMALL: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bytes on the wire, bytes unfolded, and how often larger a large body may get."""

    wire_bytes_max: int = 4 * _MIB
    decoded_bytes_max: int = 16 * _MIB
    ratio_max: int = 200
    ratio_from_bytes: int = _MIB  # columns of zeros compress well: only large bodies are suspect


def decompress(body: bytes, encoding: str, limits: BodyLimits) -> bytes:
    """The body without its Content-Encoding.

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


def _trusted_bytes(limits: BodyLimits) -> int:
    """A body that unfolds to no more needs no further look."""
    return min(limits.ratio_from_bytes, limits.decoded_bytes_max)


def _gzip(body: bytes, limits: BodyLimits) -> bytes:
    """All members of the stream, one after the other."""
    try:
        first = zlib.decompressobj(_GZIP_WBITS)
        piece = first.decompress(body, _SMALL)
        if first.eof and not first.unused_data and len(piece) <= _trusted_bytes(limits):
            return piece
    except zlib.error as error:
        raise _broken("gzip") from error
    return _members(body, limits)


def _members(body: bytes, limits: BodyLimits) -> bytes:
    unfolded = _Unfolded(len(body), limits)
    rest = body
    try:
        while rest:
            member = zlib.decompressobj(_GZIP_WBITS)
            while not member.eof:
                piece = member.decompress(rest, unfolded.room())
                rest = member.unconsumed_tail
                if not piece and not rest and not member.eof:
                    raise _broken("gzip")  # truncated
                unfolded.add(piece)
            rest = member.unused_data
    except zlib.error as error:
        raise _broken("gzip") from error
    return unfolded.whole()


def _zstd(body: bytes, limits: BodyLimits) -> bytes:
    """All frames of the stream, one after the other."""
    unfolded = _Unfolded(len(body), limits)
    at = 0
    try:
        if 0 < zstandard.frame_content_size(body) <= _trusted_bytes(limits):
            small = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX)
            with contextlib.suppress(zstandard.ZstdError):  # several frames, or broken: see below
                return small.decompress(body, allow_extra_data=False)
        while at < len(body):
            frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX).decompressobj()
            while not frame.eof:
                if at >= len(body):
                    raise _broken("zstd")  # truncated
                unfolded.add(frame.decompress(body[at : at + _ZSTD_PIECE]))
                at += _ZSTD_PIECE
            at = min(at, len(body)) - len(frame.unused_data)
    except zstandard.ZstdError as error:
        raise _broken("zstd") from error
    return unfolded.whole()


class _Unfolded:
    """Pieces up to the cap."""

    def __init__(self, wire_bytes: int, limits: BodyLimits) -> None:
        self._limits = limits
        self._suspect = max(limits.ratio_from_bytes, wire_bytes * limits.ratio_max)
        self._pieces: list[bytes] = []
        self._size = 0

    def room(self) -> int:
        """How much to ask for: one byte over the cap is enough to know."""
        return min(self._limits.decoded_bytes_max - self._size + 1, _MIB)

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limits.decoded_bytes_max:
            raise PermanentError(
                "decoded_too_large",
                "the body unfolds to too much",
                field="body",
                accepted=f"at most {self._limits.decoded_bytes_max} bytes decompressed",
            )
        if self._size > self._suspect:
            raise PermanentError(
                "ratio_too_high",
                "the body unfolds to suspiciously much",
                field="body",
                accepted=f"at most {self._limits.ratio_max} times its size",
            )
        self._pieces.append(piece)

    def whole(self) -> bytes:
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


def _broken(encoding: str) -> PermanentError:
    return PermanentError(
        "malformed_encoding",
        f"the body is not a whole {encoding} stream",
        field="content-encoding",
        accepted=f"complete {encoding} data",
    )
