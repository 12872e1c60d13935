"""HTTP/2 frames by hand: every byte is the stranger's own."""

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_END_STREAM, _END_HEADERS = 0x1, 0x4
_DATA, _HEADERS, _RST, _SETTINGS = 0, 1, 3, 4


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Any frame."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    """SETTINGS of these identifiers and values."""
    return frame(_SETTINGS, 0, 0, b"".join(n.to_bytes(2) + v.to_bytes(4) for n, v in pairs))


def body_frame(stream: int, payload: bytes, *, ends: bool = False) -> bytes:
    """DATA."""
    return frame(_DATA, _END_STREAM if ends else 0, stream, payload)


def reset(stream: int) -> bytes:
    """RST_STREAM with CANCEL."""
    return frame(_RST, 0, stream, (8).to_bytes(4))


def literal(name: str, value: str) -> bytes:
    """A header field that is not indexed, without Huffman (RFC 7541, 6.2.2)."""
    return b"\0" + _string(name) + _string(value)


def call(
    stream: int, method: str, *, key: str = "", extra: bytes = b"", flags: int = _END_HEADERS
) -> bytes:
    """HEADERS that open a gRPC call."""
    fields = (
        *((":method", "POST"), (":scheme", "http"), (":authority", "a"), ("te", "trailers")),
        (":path", f"/holdfast.v1.Telemetry/{method}"),
        ("content-type", "application/grpc"),
        *([("authorization", f"Bearer {key}")] if key else []),
    )
    ordered = sorted(fields, key=lambda field: not field[0].startswith(":"))
    block = b"".join(literal(name, value) for name, value in ordered)
    return frame(_HEADERS, flags, stream, block + extra)


def _string(text: str) -> bytes:
    size, prefix = len(text), 127
    if size < prefix:
        return bytes((size,)) + text.encode()
    size -= prefix
    head = bytearray((prefix,))
    while size >= 128:
        head.append(size % 128 + 128)
        size //= 128
    head.append(size)
    return bytes(head) + text.encode()
