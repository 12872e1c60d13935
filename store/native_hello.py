"""What clickhouse-go asks first over HTTP, answered in the framing that it expects there.

It sends ``client_protocol_version`` and reads this one answer as a Native block of that protocol.
The revision that the answer names decides how it reads all later blocks: with 0 they are plain
Native, as the engine writes them.
"""

from typing import Final

QUESTION: Final = "SELECT displayName(), version(), revision(), timezone()"
_BLOCK_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"  # not overflowed, no bucket, end
_NO_CUSTOM_SERIALIZATION: Final = b"\x00"


def hello(version: str) -> bytes:
    """One row: who we are, the engine's version, protocol revision 0, UTC."""
    columns = {
        "displayName()": ("String", _text("holdfast")),
        "version()": ("String", _text(version)),
        "revision()": ("UInt32", bytes(4)),
        "timezone()": ("String", _text("UTC")),
    }
    block = _BLOCK_INFO + bytes([len(columns), 1])
    for name, (kind, value) in columns.items():
        block += _text(name) + _text(kind) + _NO_CUSTOM_SERIALIZATION + value
    return block


def _text(text: str) -> bytes:
    """Length and bytes; the texts here are shorter than 128 bytes, so the length is one byte."""
    raw = text.encode()
    return bytes([len(raw)]) + raw
