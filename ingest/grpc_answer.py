"""How gRPC is told of an error: a rich status, from grpcio or in frames of our own.

Its details say what HTTP's problem document says: BadRequest names the field, RetryInfo the wait.
"""

import string
from binascii import b2a_base64
from functools import lru_cache
from typing import Final
from urllib.parse import quote

import grpc
import hpack
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from ingest.http2 import END_HEADERS, END_STREAM, HEADERS, frame
from ingest.status import retry_after_s, status_of
from wire.errors import PermanentError, TransientError

_AS_IT_IS: Final = (string.digits + string.ascii_letters + string.punctuation + " ").replace(
    "%", ""
)


def rich_status(error: PermanentError | TransientError) -> grpc.Status:
    """Code, message and trailing metadata of `error`."""
    details: list[Message] = []
    if isinstance(error, PermanentError):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field,
            description=f"{error.detail}; accepted: {error.accepted}",
            reason=error.code,
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if (seconds := retry_after_s(error)) is not None:
        delay = duration_pb2.Duration(seconds=seconds)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = [any_pb2.Any() for _ in details]
    for place, detail in zip(packed, details, strict=True):
        place.Pack(detail)
    status = status_pb2.Status(
        code=status_of(error).grpc.value[0], message=f"{error.code}: {error.detail}", details=packed
    )
    return rpc_status.to_status(status)


def refusal(stream: int, error: PermanentError | TransientError) -> bytes:
    """A whole answer to a call: headers alone, which end it."""
    if isinstance(error, PermanentError):
        block = _permanent(error.code, error.detail, error.field, error.accepted)
    else:
        block = _transient(error.code, error.detail, error.retry_after_s)
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block)


@lru_cache(64)
def _permanent(code: str, detail: str, field: str, accepted: str) -> bytes:
    """The same few texts for every stranger: each would cost 0.25 ms."""
    return _block(PermanentError(code, detail, field=field, accepted=accepted))


@lru_cache(512)
def _transient(code: str, detail: str, retry_after_s: int) -> bytes:
    return _block(TransientError(code, detail, retry_after_s=retry_after_s))


def _block(error: PermanentError | TransientError) -> bytes:
    """Of a fresh encoder: it points at nothing but the table that both sides always have."""
    rich = rich_status(error)
    fields = [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", str(rich.code.value[0])),
        ("grpc-message", quote(rich.details, safe=_AS_IT_IS)),
    ]
    fields += [(name, _text(value)) for name, value in rich.trailing_metadata]
    return hpack.Encoder().encode(fields)


def _text(value: str | bytes) -> str:
    """Binary metadata is sent in base64, without its padding."""
    return (
        value if isinstance(value, str) else b2a_base64(value, newline=False).decode().rstrip("=")
    )
