"""The few words of HTTP/2 that are spoken before grpcio is (RFC 9113)."""

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9  # length (3), type, flags, stream (4)
HEADERS, SETTINGS, PUSH_PROMISE, GOAWAY, CONTINUATION = 1, 4, 5, 7, 9
ACK, END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Any frame."""
    return b"%b%c%c%b%b" % (len(payload).to_bytes(3), kind, flags, stream.to_bytes(4), payload)


SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)
LAST_STREAM: Final = (1 << 31) - 1
_MAX_CONCURRENT_STREAMS: Final = 3


def greeting(calls_max: int) -> bytes:
    """A server's first frame: so many calls at a time, until other settings come. Stock clients
    open no call before it, and as many as they have after one that says no number.
    """
    return frame(SETTINGS, 0, 0, _MAX_CONCURRENT_STREAMS.to_bytes(2) + calls_max.to_bytes(4))


def goaway(last_stream: int = LAST_STREAM) -> bytes:
    """No later stream was looked at: clients open those again, on a new connection."""
    return frame(GOAWAY, 0, 0, last_stream.to_bytes(4) + bytes(4))


class AckFilter:
    """Takes the client's answer to our greeting out of its bytes: grpcio never greeted so."""

    def __init__(self) -> None:
        self._skip = len(PREFACE)
        self._head = b""
        self.is_done = False

    def passed(self, data: bytes) -> bytes:
        """What is to be passed on. A frame's head that is cut in two is held back."""
        kept, at = bytearray(), 0
        while at < len(data) and not self.is_done:
            if self._skip:
                piece = data[at : at + self._skip]
                self._skip -= len(piece)
                kept += piece
            else:
                piece = data[at : at + HEAD_BYTES - len(self._head)]
                self._head += piece
                if len(self._head) == HEAD_BYTES:
                    kept += self._frame_begins()
            at += len(piece)
        return bytes(kept + data[at:])

    def _frame_begins(self) -> bytes:
        head, self._head = self._head, b""
        if head == SETTINGS_ACK:
            self.is_done = True
            return b""
        self._skip = int.from_bytes(head[:3])
        return head
