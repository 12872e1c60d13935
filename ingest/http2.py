"""The few words of HTTP/2 that are spoken before grpcio is (RFC 9113)."""

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9  # length (3), type, flags, stream (4)
HEADERS, SETTINGS, PUSH_PROMISE, PING, GOAWAY, CONTINUATION = 1, 4, 5, 6, 7, 9
ACK, END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Any frame."""
    return b"%b%c%c%b%b" % (len(payload).to_bytes(3), kind, flags, stream.to_bytes(4), payload)


SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)
_PING_HEAD: Final = frame(PING, 0, 0, bytes(8))[:HEAD_BYTES]
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


def pongs(said: bytes) -> list[bytes]:
    """The answers to the questions in a client's first bytes."""
    found, at = list[bytes](), len(PREFACE)
    while (end := at + HEAD_BYTES + int.from_bytes(said[at : at + 3])) <= len(said):
        if said.startswith(_PING_HEAD, at):
            found.append(frame(PING, ACK, 0, said[at + HEAD_BYTES : end]))
        at = end
    return found


class Remainder:
    """What is left for grpcio of a client's bytes. It neither greeted nor was asked, so the answer
    to our greeting is taken out, and so many questions that are answered.
    """

    def __init__(self, *, is_greeted: bool = True, pings: int = 0) -> None:
        self._skip = len(PREFACE)
        self._is_dropped = False  # what is skipped
        self._head = b""
        self._has_ack = is_greeted  # still to come
        self._pings = pings

    @property
    def is_all(self) -> bool:
        """Whether all is passed on from now on."""
        return not (self._has_ack or self._pings or (self._is_dropped and self._skip))

    def of(self, data: bytes) -> bytes:
        """What is to be passed on. A frame's head that is cut in two is held back."""
        kept, at = bytearray(), 0
        while at < len(data) and not self.is_all:
            if self._skip:
                piece = data[at : at + self._skip]
                self._skip -= len(piece)
                kept += b"" if self._is_dropped else piece
            else:
                piece = data[at : at + HEAD_BYTES - len(self._head)]
                self._head += piece
                if len(self._head) == HEAD_BYTES:
                    kept += self._frame_begins()
            at += len(piece)
        return bytes(kept + data[at:])

    def _frame_begins(self) -> bytes:
        head, self._head = self._head, b""
        self._skip = int.from_bytes(head[:3])
        is_ack = self._has_ack and head == SETTINGS_ACK
        is_ping = self._pings > 0 and head == _PING_HEAD
        self._has_ack, self._pings = self._has_ack and not is_ack, self._pings - is_ping
        self._is_dropped = is_ack or is_ping
        return b"" if self._is_dropped else head
