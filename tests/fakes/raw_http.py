"""HTTP/1.1 by hand over a socket: every byte is the test's own."""

import socket
from urllib.parse import urlsplit

from tests.fakes.ingest_world import Running
from wire.pb import telemetry_pb2


def request(server: Running, body: bytes, *more: str, key: str = "", length: int = -1) -> bytes:
    lines = [
        "POST /v1/telemetry HTTP/1.1",
        "Host: holdfast",
        f"Authorization: Bearer {key or server.key}",
        "Content-Type: application/x-protobuf",
        f"Content-Length: {len(body) if length < 0 else length}",
        *more,
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


def connect(server: Running) -> socket.socket:
    url = urlsplit(server.http)
    return socket.create_connection((url.hostname or "", url.port or 0), timeout=60)


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """One response and not a byte more: status and body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, "the server hung up"
        head += byte
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return int(head.split()[1]), body


def ended(connection: socket.socket) -> bool:
    """Whether nothing but the end comes, by a FIN or a reset."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def batch_of(body: bytes) -> bytes:
    return telemetry_pb2.Receipt.FromString(body).batch_id
