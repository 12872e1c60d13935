"""Plays the shapes of the door benchmark against a door, one connection each, without pauses."""

import socket
from typing import Final

from bench.door_shapes import End, Shape

_HANGS_S: Final = 40.0  # every budget of the doors under test is far below


def failed(answer: bytes) -> bool:
    """Whether any answer is a 5xx that nobody planned."""
    lines = [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 5")]
    return any(not line.startswith(b"HTTP/1.1 503") for line in lines)


def play(shape: Shape, port: int) -> bytes:
    """What came back. Raises TimeoutError if the door neither answers nor ends."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=_HANGS_S) as one:
        try:
            for piece in shape.pieces:
                one.sendall(piece)
            if shape.end is End.RESET:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            elif shape.end is not End.CLOSE and shape.reads:
                if shape.end is End.HALF:
                    one.shutdown(socket.SHUT_WR)
                while answer := one.recv(1 << 16):
                    got += answer
        except TimeoutError:
            raise
        except OSError:
            pass  # the door ended it: as planned
    return got
