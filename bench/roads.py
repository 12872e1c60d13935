"""One body over each road into a server: HTTP in its ways, gRPC in its two, `:validate`.

Raw sockets and raw messages: a client library would mend what is hostile, or refuse to send it.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import grpc

from bench.hostile_bodies import Body
from wire.decode import Encoding

WAIT_S: Final = 10.0
"""An answer that takes longer is a hang."""
TYPES: Final = {Encoding.JSON: "application/json", Encoding.PROTOBUF: "application/x-protobuf"}
_PLANNED: Final = frozenset(
    (
        *("OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "PERMISSION_DENIED"),
        "UNIMPLEMENTED",  # gRPC's own, of a compression that is switched off
    )
)
_CHUNK_BYTES: Final = 16 * 1024
_UPLOAD: Final = "/holdfast.v1.Telemetry/Upload"
_STREAM: Final = "/holdfast.v1.Telemetry/UploadStream"


class Road(Protocol):
    """A way in. `send` gives the answer's status; "hung" and "cut" are none."""

    def takes(self, body: Body) -> bool: ...
    def send(self, body: Body) -> str: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class HttpRoad:
    """POST over one kept connection. An `extra` header makes it go the ordinary way."""

    port: int
    key: str
    path: str = "/v1/telemetry"
    extra: str = ""
    is_chunked: bool = False
    _open: socket.socket | None = None

    def takes(self, body: Body) -> bool:
        return True

    def send(self, body: Body) -> str:
        if self._open is None:
            self._open = socket.create_connection(("127.0.0.1", self.port), WAIT_S)
            self._open.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sent = _chunked(body.wire) if self.is_chunked else body.wire
            self._open.sendall(self._head(body) + sent)
        except TimeoutError:
            self.close()
            return "hung"
        except OSError:
            pass  # it was refused early: the answer is there all the same
        return self._answer()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _head(self, body: Body) -> bytes:
        lines = [
            f"POST {self.path} HTTP/1.1",
            "host: localhost",
            f"authorization: Bearer {self.key}",
            f"content-type: {TYPES[body.encoding]}",
        ]
        if body.content_encoding != "identity":
            lines.append(f"content-encoding: {body.content_encoding}")
        sized = f"content-length: {len(body.wire)}"
        lines.append("transfer-encoding: chunked" if self.is_chunked else sized)
        if self.extra:
            lines.append(self.extra)
        return "\r\n".join([*lines, "", ""]).encode()

    def _answer(self) -> str:
        got = b""
        assert self._open is not None, "it has just been sent over"  # noqa: S101
        try:
            while True:
                head, end, rest = got.partition(b"\r\n\r\n")
                lower = head.lower()
                if end and len(rest) >= int(
                    lower.partition(b"content-length: ")[2].split(b"\r")[0]
                ):
                    break
                if not (piece := self._open.recv(65_536)):
                    self.close()
                    return "cut"
                got += piece
        except TimeoutError:
            self.close()
            return "hung"
        except OSError:
            self.close()
            return "cut"
        if b"connection: close" in lower:
            self.close()
        return got[9:12].decode("latin-1")


def _chunked(body: bytes) -> bytes:
    pieces = [body[at : at + _CHUNK_BYTES] for at in range(0, len(body), _CHUNK_BYTES)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


@dataclass(slots=True)
class GrpcRoad:
    """Raw messages over one channel: one call each, or in a stream between two good ones."""

    port: int
    key: str
    good: bytes = b""  # set: a stream, and each of its messages must have a receipt
    compression: grpc.Compression = grpc.Compression.NoCompression
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    _channel: grpc.Channel = field(init=False)

    def __post_init__(self) -> None:
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{self.port}", options)

    def takes(self, body: Body) -> bool:
        return body.encoding is Encoding.PROTOBUF and body.content_encoding != "zstd"

    def send(self, body: Body) -> str:
        settings = {
            "timeout": WAIT_S,
            "metadata": (("authorization", f"Bearer {self.key}"), *self.metadata),
            "compression": self.compression,
        }
        try:
            if not self.good:
                self._channel.unary_unary(_UPLOAD)(body.wire, **settings)
                return "OK"
            messages = iter([self.good, body.wire, self.good])
            receipts = sum(1 for _ in self._channel.stream_stream(_STREAM)(messages, **settings))
        except grpc.RpcError as error:
            status = error.code()
            return "hung" if status is grpc.StatusCode.DEADLINE_EXCEEDED else str(status.name)
        return "OK" if receipts == 3 else "a receipt is missing"

    def close(self) -> None:
        self._channel.close()


def all_roads(ports: dict[str, int], key: str, good: bytes) -> Iterator[tuple[str, Road]]:
    """Each once. `good` is an upload in protobuf that is taken."""
    http, rpc = ports["http_port"], ports["grpc_port"]
    yield "HTTP, short way", HttpRoad(http, key)
    yield "HTTP, ordinary way", HttpRoad(http, key, extra="te: trailers")
    yield "HTTP, chunked", HttpRoad(http, key, is_chunked=True)
    yield ":validate", HttpRoad(http, key, path="/v1/telemetry:validate")
    yield "gRPC", GrpcRoad(rpc, key)
    yield "gRPC stream", GrpcRoad(rpc, key, good=good)


def is_planned(status: str) -> bool:
    """Whether the server may answer so, whatever was sent."""
    return status in _PLANNED or status == "503" or (len(status) == 3 and status[0] in "24")
