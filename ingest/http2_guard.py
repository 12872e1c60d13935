"""What must never reach grpcio: header blocks that its server does not survive.

grpcio's asyncio server decodes the path of any call as UTF-8 in the loop that takes calls, so one
path with a stray byte ends it for everybody, key or no key. Frames are followed here, header blocks
decoded, and everything else skipped. What two readers could read differently is refused: padded
headers, which grpcio takes for headers. The key that a call shows is read on the way.
"""

import re
from typing import Final

import hpack

from ingest.http2 import (
    CONTINUATION,
    END_HEADERS,
    HEAD_BYTES,
    HEADERS,
    PADDED,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
)

FIRST_BLOCK_BYTES_MAX: Final = 8 * 1024
"""Before a key: as much as grpcio takes for metadata, and folded it is shorter."""
_BLOCK_BYTES_MAX: Final = 2 * FIRST_BLOCK_BYTES_MAX
"""After it, and of any list: grpcio says so to clients, and refuses what is between both itself."""
_UNFOLDED: Final = 2  # so many times larger a list may be than its block
_TOO_MANY_SIZES: Final = re.compile(rb"(?:[\x20-\x3e]|\x3f[\x80-\xff]*+[\x00-\x7f]){3}")
"""A block begins with two changes of the table's size at most (RFC 7541, 4.2)."""
_FRAMES_BEFORE_MAX: Final = 32
"""Before the first header block: stock clients send four, and each costs us something."""
_PRIORITY_BYTES: Final = 5
_REMEMBERED: Final = 8
_REMEMBERED_BYTES_MAX: Final = 1024  # of each: whoever has a key holds hundreds of connections
_COST_MAX: Final = 8 * 1024
"""In one turn of the loop: 2 ms. The unit is a byte to unfold, a quarter of a microsecond."""
_FRAME_COST: Final = 16
_FIELD_COST: Final = 8
COST_OF_ASK: Final = 512
"""A first call costs less, and a body of 512 KiB: frames that are no calls are asks by this."""
REFUSED: Final = -1
_STREAM_MASK: Final = 0x7FFF_FFFF


class HeaderGuard:
    """Of one connection, from the preface on: it sees all bytes, in any pieces.

    `calls` gets the stream and the `authorization` of each header block. After `blocks_max`
    blocks it looks at nothing more.
    """

    def __init__(
        self,
        calls: list[tuple[int, bytes]] | None = None,
        blocks_max: int | None = None,
        block_bytes_max: int = _BLOCK_BYTES_MAX,
    ) -> None:
        self._calls = calls
        self._blocks_left = blocks_max
        self._bytes_max = block_bytes_max
        self._decoder = hpack.Decoder(min(_UNFOLDED * block_bytes_max, _BLOCK_BYTES_MAX))
        self.is_too_long = False  # why it refused
        self._skip = len(PREFACE)
        self._head = b""
        self._part = bytearray()  # of the header frame that is under way
        self._wanted = 0
        self._block: bytearray | None = None  # a header block that goes on in the next frame
        self._stream = b""
        self._plain: dict[bytes, bytes] = {}
        self._frames_left = _FRAMES_BEFORE_MAX
        self.cost = 0  # of what it was shown last

    def passed(self, data: bytes) -> int:
        """How many of these bytes may be passed on; `REFUSED` if none may, nor any later.

        Fewer than all: more would hold the loop up. Show the rest in its next turn.
        """
        at, size, self.cost = 0, len(data), 0
        while at < size and self.cost < _COST_MAX:
            if self._blocks_left == 0:
                return size
            if self._skip:
                step = min(self._skip, size - at)
                self._skip -= step
            elif self._wanted:
                step = min(self._wanted - len(self._part), size - at)
                self._part += data[at : at + step]
                if len(self._part) == self._wanted and not self._frame_ends():
                    return REFUSED
            else:
                step = min(HEAD_BYTES - len(self._head), size - at)
                self._head += data[at : at + step]
                if len(self._head) == HEAD_BYTES and not self._frame_begins():
                    return REFUSED
            at += step
        return at

    def _frame_begins(self) -> bool:
        self.cost += _FRAME_COST
        length, kind, flags = int.from_bytes(self._head[:3]), self._head[3], self._head[4]
        if (kind == CONTINUATION) is not (self._block is not None) or kind == PUSH_PROMISE:
            return False
        if kind not in (HEADERS, CONTINUATION):
            self._skip, self._head = length, b""
            self._frames_left -= not self._stream
            return self._frames_left >= 0
        if kind == HEADERS:
            self._stream, self._block = self._head[5:], bytearray()
            if flags & PADDED:
                return False
        if self._head[5:] != self._stream:
            return False
        if len(self._block or b"") + length > self._bytes_max:
            self.is_too_long = True
            return False
        self._wanted = length
        return bool(length) or self._frame_ends()

    def _frame_ends(self) -> bool:
        kind, flags = self._head[3], self._head[4]
        part, self._part, self._head, self._wanted = self._part, bytearray(), b"", 0
        if kind == HEADERS and flags & PRIORITY:
            if len(part) < _PRIORITY_BYTES:
                return False
            del part[:_PRIORITY_BYTES]
        assert self._block is not None, "begun with its first frame"  # noqa: S101
        self._block += part
        if not flags & END_HEADERS:
            return True
        block, self._block = bytes(self._block), None
        authorization = self._read(block)
        if authorization is None:
            return False
        if self._blocks_left is not None:
            self._blocks_left -= 1
        if self._calls is not None:
            self._calls.append((self.stream, authorization))
        return True

    @property
    def stream(self) -> int:
        """Of the header block that it read last, or stopped at."""
        return int.from_bytes(self._stream) & _STREAM_MASK

    def _read(self, block: bytes) -> bytes | None:
        """The key's header, empty without one; None: not ASCII alone, but for declared binary.

        Clients say the same again and again: a block that changed nothing in the table means the
        same for as long as nothing else does.
        """
        if (known := self._plain.get(block)) is not None:
            return known
        if _TOO_MANY_SIZES.match(block):
            return None
        table = self._decoder.header_table
        size, newest, count = table.maxsize, self._newest(), len(table.dynamic_entries)
        try:
            headers = [*self._decoder.decode(block, raw=True)]
        except hpack.OversizedHeaderListError:
            self.is_too_long = True
            return None
        except Exception:  # noqa: BLE001  # whatever its reader stumbles over is no header block
            return None
        self.cost += len(block) + _FIELD_COST * len(headers)
        authorization = b""
        for name, value in headers:
            if not (name.isascii() and (value.isascii() or name.endswith(b"-bin"))):
                return None
            if name == b"authorization":
                authorization = value
        is_same = table.maxsize == size and len(table.dynamic_entries) == count
        is_short = len(block) <= _REMEMBERED_BYTES_MAX and len(self._plain) < _REMEMBERED
        if is_same and is_short and self._newest() is newest:
            self._plain[block] = authorization
        else:
            self._plain.clear()
        return authorization

    def _newest(self) -> object:
        """Of the table's entries: another one for as long as this one is held."""
        entries = self._decoder.header_table.dynamic_entries
        return entries[0] if entries else None
