"""The two ways to the server. Each tells permanent refusals from those to try again."""

import gzip
from typing import Final

import grpc
import httpx
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sdk_stub.releases import SIGNATURE_HEADER
from wire.errors import PermanentError, TransientError
from wire.pb import telemetry_pb2 as pb

_PROTOBUF: Final = "application/x-protobuf"
_RETRY_AFTER_UNREADABLE_S: Final = 5
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_GRPC_TRY_AGAIN: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


class HttpTransport:
    """Uploads and release configs over HTTP, gzip on."""

    def __init__(self, base_url: str, key: str, *, timeout_s: float = 10.0) -> None:
        self._client = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {key}", "User-Agent": ""},
            timeout=timeout_s,
        )

    def send(self, upload: bytes) -> pb.Receipt:
        headers = {"Content-Type": _PROTOBUF, "Content-Encoding": "gzip", "Accept": _PROTOBUF}
        body = gzip.compress(upload, 6, mtime=0)
        try:
            answer = self._client.post("/v1/telemetry", content=body, headers=headers)
        except httpx.TransportError as error:
            raise TransientError("unreachable", type(error).__name__, retry_after_s=0) from error
        _raise_for(answer)
        try:
            return pb.Receipt.FromString(answer.content)
        except DecodeError as error:
            raise TransientError("receipt_unreadable", "no receipt", retry_after_s=0) from error

    def fetch(self, app_id: str, etag: str) -> tuple[bytes, str, str] | None:
        try:
            answer = self._client.get(
                f"/v1/releases/{app_id}", headers={"If-None-Match": etag} if etag else {}
            )
        except httpx.TransportError as error:
            raise TransientError("unreachable", type(error).__name__, retry_after_s=0) from error
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return None
        _raise_for(answer)
        headers = answer.headers
        return answer.content, headers.get(SIGNATURE_HEADER, ""), headers.get("ETag", "")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _raise_for(answer: httpx.Response) -> None:
    if answer.status_code == httpx.codes.OK:
        return
    if answer.status_code in _TRY_AGAIN or answer.is_server_error:
        after = retry_after_s(answer.headers.get("Retry-After", ""))
        raise TransientError("try_again", f"HTTP {answer.status_code}", retry_after_s=after)
    raise PermanentError("refused", f"HTTP {answer.status_code}")


def retry_after_s(header: str) -> int:
    """Seconds that the server asks for; 0 if it asks for nothing."""
    if not header:
        return 0
    return int(header) if header.isascii() and header.isdigit() else _RETRY_AFTER_UNREADABLE_S


class GrpcTransport:
    """Uploads over gRPC, unary or as a bidirectional stream of one; bytes go out as they are."""

    def __init__(
        self, channel: grpc.Channel, key: str, *, stream: bool = False, timeout_s: float = 10.0
    ) -> None:
        service = "/holdfast.v1.Telemetry/"
        self._unary = channel.unary_unary(
            f"{service}Upload", response_deserializer=pb.Receipt.FromString
        )
        self._stream = channel.stream_stream(
            f"{service}UploadStream", response_deserializer=pb.Receipt.FromString
        )
        self._is_stream = stream
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._timeout_s = timeout_s

    def send(self, upload: bytes) -> pb.Receipt:
        options = {
            "metadata": self._metadata,
            "timeout": self._timeout_s,
            "compression": grpc.Compression.Gzip,
        }
        try:
            if not self._is_stream:
                receipt: pb.Receipt = self._unary(upload, **options)
                return receipt
            receipts: list[pb.Receipt] = list(self._stream(iter([upload]), **options))
        except grpc.RpcError as error:
            raise _from_grpc(error) from error
        if not receipts:
            raise TransientError("receipt_unreadable", "no receipt", retry_after_s=0)
        return receipts[0]


def _from_grpc(error: grpc.RpcError) -> PermanentError | TransientError:
    code = error.code()
    if code not in _GRPC_TRY_AGAIN:
        return PermanentError("refused", f"gRPC {code.name}")
    return TransientError("try_again", f"gRPC {code.name}", retry_after_s=retry_info_s(error))


def retry_info_s(error: grpc.RpcError) -> int:
    """Seconds that a gRPC server asks for; 0 if it asks for nothing."""
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return int(info.retry_delay.seconds + (info.retry_delay.nanos > 0))
    return 0
