"""The two ways to the server. Each tells permanent refusals from those to try again."""

import gzip
from collections.abc import Iterator
from typing import Final

import grpc
import httpx
import msgspec
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sdk_stub.etags import is_one_tag
from sdk_stub.refusals import KEPT_CODES, is_about_everyone, is_final, retry_after_s
from sdk_stub.releases import SIGNATURE_HEADER
from sdk_stub.unit_grants import Given
from wire.errors import PermanentError, TransientError
from wire.pb import telemetry_pb2 as pb

_PROTOBUF: Final = "application/x-protobuf"
_ANSWER_BYTES_MAX: Final = 1 << 20
_GRPC_ABOUT_UPLOAD: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.FAILED_PRECONDITION,
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
        answer = self._ask("POST", "/v1/telemetry", headers, body)
        _raise_for(answer)
        try:
            return pb.Receipt.FromString(answer.content)
        except DecodeError as error:
            raise TransientError("receipt_unreadable", "no receipt", retry_after_s=0) from error

    def fetch(self, app_id: str, etag: str) -> tuple[bytes, str, str] | None:
        known = {"If-None-Match": etag} if is_one_tag(etag) else {}
        answer = self._ask("GET", f"/v1/releases/{app_id}", known)
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return None
        _raise_for(answer)
        headers = answer.headers
        return answer.content, headers.get(SIGNATURE_HEADER, ""), headers.get("ETag", "")

    def ask_grants(self, count: int, attestation: str) -> Given:
        """Ids under which units count."""
        said = msgspec.json.encode({"count": count, "attestation": attestation})
        answer = self._ask("POST", "/v1/grants", {"Content-Type": "application/json"}, said)
        _raise_for(answer)
        try:
            return msgspec.json.decode(answer.content, type=Given)
        except (ValueError, RecursionError) as error:
            raise TransientError("grants_unreadable", "no grants", retry_after_s=0) from error

    def open(self, path: str) -> Iterator[bytes]:
        """A file of a TUF repository."""
        try:
            with self._client.stream("GET", path) as answer:
                if answer.status_code == httpx.codes.NOT_FOUND:
                    raise PermanentError("file_missing", "HTTP 404")
                if answer.status_code != httpx.codes.OK:
                    code = answer.status_code
                    raise TransientError("try_again", f"HTTP {code}", retry_after_s=0)
                yield from answer.iter_bytes()
        except httpx.RequestError as error:
            raise TransientError("unreachable", type(error).__name__, retry_after_s=0) from error

    def _ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> httpx.Response:
        """One request; an answer without end is cut off."""
        try:
            with self._client.stream(method, path, headers=headers, content=body) as answer:
                content = b""
                for part in answer.iter_bytes():
                    content += part
                    if len(content) > _ANSWER_BYTES_MAX:
                        raise TransientError("answer_too_long", "", retry_after_s=0)
        except httpx.RequestError as error:
            raise TransientError("unreachable", type(error).__name__, retry_after_s=0) from error
        return httpx.Response(answer.status_code, headers=_plain(answer.headers), content=content)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _plain(headers: httpx.Headers) -> list[tuple[str, str]]:
    """Without what was true of the bytes on the wire alone."""
    return [(name, value) for name, value in headers.items() if name != "content-encoding"]


def _raise_for(answer: httpx.Response) -> None:
    status, after = answer.status_code, answer.headers.get("Retry-After", "")
    if status == httpx.codes.OK:
        return
    if is_final(status, after):
        raise PermanentError("refused", f"HTTP {status}")
    after_s = retry_after_s(after)
    if is_about_everyone(status):
        raise TransientError("try_again", f"HTTP {status}", retry_after_s=after_s)
    raise TransientError("upload_waits", f"HTTP {status}", retry_after_s=after_s)


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
        return _of_stream(receipts[0])


def _of_stream(receipt: pb.Receipt) -> pb.Receipt:
    """A stream goes on after a refusal, so it comes as a receipt in which nothing was accepted."""
    if any(refusal.code in KEPT_CODES for refusal in receipt.refused):
        raise TransientError("upload_waits", "refused in a stream", retry_after_s=0)
    if receipt.refused and not receipt.batch_id:
        raise PermanentError("refused", receipt.refused[0].code)
    return receipt


def _from_grpc(error: grpc.RpcError) -> PermanentError | TransientError:
    """Only a plain "invalid" is for good; what comes with RetryInfo or of a proxy is kept."""
    code, after_s = error.code(), retry_info_s(error)
    if code is grpc.StatusCode.INVALID_ARGUMENT and after_s == 0:
        return PermanentError("refused", f"gRPC {code.name}")
    if code in _GRPC_ABOUT_UPLOAD:
        return TransientError("upload_waits", f"gRPC {code.name}", retry_after_s=after_s)
    return TransientError("try_again", f"gRPC {code.name}", retry_after_s=after_s)


def retry_info_s(error: grpc.RpcError) -> int:
    """Seconds that a gRPC server asks for; 0 if it asks for nothing."""
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        asked = error_details_pb2.RetryInfo()
        if detail.Unpack(asked):
            return max(int(asked.retry_delay.seconds + (asked.retry_delay.nanos > 0)), 0)
    return 0
