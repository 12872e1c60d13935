"""What must never reach grpcio: header blocks that its server does not survive.

grpcio's asyncio server decodes the path of any call as UTF-8 in the loop that takes calls, so one
path with a stray byte ends it for everybody, key or no key. Frames are followed here, header blocks
decoded, and everything else skipped. What two readers could read differently is refused: padded
headers, which grpcio takes for headers.
"""

from typing import Final

import hpack

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD: Final = 9  # length (3), type, flags, stream (4)
_HEADERS, _PUSH, _CONTINUATION = 1, 5, 9
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20
_PRIORITY_BYTES: Final = 5
_BLOCK_BYTES_MAX: Final = 64 * 1024
_REMEMBERED: Final = 8
_LIST_BYTES_MAX: Final = 128 * 1024


class HeaderGuard:
    """Of one connection, from the preface on: it sees all bytes, in any pieces."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=_LIST_BYTES_MAX)
        self._skip = len(PREFACE)
        self._head = b""
        self._part = bytearray()  # of the header frame that is under way
        self._wanted = 0
        self._block: bytearray | None = None  # a header block that goes on in the next frame
        self._stream = b""
        self._plain: set[bytes] = set()
        self.blocks = 0  # so far: each may open a call

    def refuses(self, data: bytes) -> bool:
        """Whether these bytes must not be passed on; then nothing more of the connection may."""
        at, size = 0, len(data)
        while at < size:
            if self._skip:
                step = min(self._skip, size - at)
                self._skip -= step
            elif self._wanted:
                step = min(self._wanted - len(self._part), size - at)
                self._part += data[at : at + step]
                if len(self._part) == self._wanted and not self._frame_ends():
                    return True
            else:
                step = min(_HEAD - len(self._head), size - at)
                self._head += data[at : at + step]
                if len(self._head) == _HEAD and not self._frame_begins():
                    return True
            at += step
        return False

    def _frame_begins(self) -> bool:
        length, kind, flags = int.from_bytes(self._head[:3]), self._head[3], self._head[4]
        if (kind == _CONTINUATION) is not (self._block is not None) or kind == _PUSH:
            return False
        if kind not in (_HEADERS, _CONTINUATION):
            self._skip, self._head = length, b""
            return True
        if kind == _HEADERS:
            self._stream, self._block = self._head[5:], bytearray()
            if flags & _PADDED:
                return False
        if self._head[5:] != self._stream or length > _BLOCK_BYTES_MAX:
            return False
        self._wanted = length
        return bool(length) or self._frame_ends()

    def _frame_ends(self) -> bool:
        kind, flags = self._head[3], self._head[4]
        part, self._part, self._head, self._wanted = self._part, bytearray(), b"", 0
        if kind == _HEADERS and flags & _PRIORITY:
            if len(part) < _PRIORITY_BYTES:
                return False
            del part[:_PRIORITY_BYTES]
        assert self._block is not None, "begun with its first frame"  # noqa: S101
        self._block += part
        if len(self._block) > _BLOCK_BYTES_MAX:
            return False
        if not flags & _END_HEADERS:
            return True
        block, self._block = bytes(self._block), None
        return self._is_plain(block)

    def _is_plain(self, block: bytes) -> bool:
        """ASCII alone, but for values that are declared binary.

        Clients say the same again and again: a block that changed nothing in the table means the
        same for as long as nothing else does.
        """
        self.blocks += 1
        if block in self._plain:
            return True
        table = self._decoder.header_table
        size, newest, count = table.maxsize, self._newest(), len(table.dynamic_entries)
        try:
            headers = self._decoder.decode(block, raw=True)
        except Exception:  # noqa: BLE001  # whatever its reader stumbles over is no header block
            return False
        for name, value in headers:
            if not (name.isascii() and (value.isascii() or name.endswith(b"-bin"))):
                return False
        is_same = table.maxsize == size and len(table.dynamic_entries) == count
        if is_same and self._newest() is newest and len(self._plain) < _REMEMBERED:
            self._plain.add(block)
        else:
            self._plain.clear()
        return True

    def _newest(self) -> object:
        """Of the table's entries: another one for as long as this one is held."""
        entries = self._decoder.header_table.dynamic_entries
        return entries[0] if entries else None
