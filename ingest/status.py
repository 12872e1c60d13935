"""The one table from an error's code to HTTP and gRPC."""

from dataclasses import dataclass
from typing import Final

import grpc

from wire.errors import PermanentError, TransientError


@dataclass(frozen=True, slots=True)
class Status:
    """How one kind of error is answered."""

    http: int
    grpc: grpc.StatusCode
    title: str


_MALFORMED: Final = Status(400, grpc.StatusCode.INVALID_ARGUMENT, "The upload cannot be decoded")
_NOT_REGISTERED: Final = Status(
    422, grpc.StatusCode.INVALID_ARGUMENT, "The upload says something that is not registered"
)
_TOO_LARGE: Final = Status(413, grpc.StatusCode.RESOURCE_EXHAUSTED, "The upload is too large")
_NO_KEY: Final = Status(401, grpc.StatusCode.UNAUTHENTICATED, "A valid key is needed")
_COME_BACK: Final = Status(503, grpc.StatusCode.UNAVAILABLE, "Not now; nothing was lost")
_TOO_MUCH: Final = Status(
    429, grpc.StatusCode.RESOURCE_EXHAUSTED, "Too much was sent; nothing was lost"
)

_USED_UP: Final = frozenset({"quota_exceeded", "grants_exhausted"})

STATUS: Final[dict[str, Status]] = {
    "key_missing": _NO_KEY,
    "key_unknown": _NO_KEY,
    "key_expired": _NO_KEY,
    "key_other_app": Status(403, grpc.StatusCode.PERMISSION_DENIED, "The key is of another app"),
    "attestation_refused": Status(403, grpc.StatusCode.PERMISSION_DENIED, "Nobody vouches for it"),
    "grant_ask_malformed": _MALFORMED,
    "app_unknown": Status(404, grpc.StatusCode.NOT_FOUND, "No such app"),
    "path_unknown": Status(404, grpc.StatusCode.UNIMPLEMENTED, "Nothing is here"),
    "tuf_file_unknown": Status(404, grpc.StatusCode.NOT_FOUND, "No such file"),
    "method_not_allowed": Status(405, grpc.StatusCode.UNIMPLEMENTED, "This method is not taken"),
    "head_too_large": Status(431, grpc.StatusCode.RESOURCE_EXHAUSTED, "The head is too large"),
    "head_too_slow": Status(408, grpc.StatusCode.DEADLINE_EXCEEDED, "The head came too slowly"),
    "malformed_http": _MALFORMED,
    "upgrade_refused": _MALFORMED,
    "body_too_slow": Status(408, grpc.StatusCode.DEADLINE_EXCEEDED, "The body came too slowly"),
    "body_too_large": _TOO_LARGE,
    "decoded_too_large": _TOO_LARGE,
    "ratio_too_high": _TOO_LARGE,
    "rows_max": _TOO_LARGE,
    "reports_max": _TOO_LARGE,
    "unknown_fields_max": _TOO_LARGE,
    "elements_max": _TOO_LARGE,
    "content_type_unknown": Status(415, grpc.StatusCode.INVALID_ARGUMENT, "Unknown content type"),
    "content_encoding_unknown": Status(
        415, grpc.StatusCode.INVALID_ARGUMENT, "Unknown content encoding"
    ),
    "malformed_encoding": _MALFORMED,
    "malformed_protobuf": _MALFORMED,
    "malformed_json": _MALFORMED,
    "column_length": _MALFORMED,
    "batch_id_length": _MALFORMED,
    "context_missing": _MALFORMED,
    "context_too_long": _MALFORMED,
    "empty_body": _MALFORMED,
    "undecodable": _MALFORMED,
}
"""Codes that stand here are answered so; every other PermanentError is a 422."""


KEPT: Final = frozenset(
    {
        # a key may be rotated, a folder restored: nobody has said anything about the upload
        "key_missing",
        "key_unknown",
        "key_expired",
        "key_other_app",
        # what ships today is registered tomorrow
        "unknown_app",
        "unknown_model",
        "unknown_model_version",
    }
)
"""Refusals that a person will undo: phones keep the upload, and come back after `LATER_S`."""
LATER_S: Final = 3600


def retry_after_s(error: PermanentError | TransientError) -> int | None:
    """When to come back with this upload, until it is too old; None: never, delete it."""
    if isinstance(error, TransientError):
        return error.retry_after_s
    return LATER_S if error.code in KEPT else None


def status_of(error: PermanentError | TransientError) -> Status:
    """How to answer `error`, on either transport."""
    if isinstance(error, TransientError):
        return _TOO_MUCH if error.code in _USED_UP else _COME_BACK
    return STATUS.get(error.code, _NOT_REGISTERED)
