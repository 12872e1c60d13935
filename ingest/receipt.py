"""What came of an upload, and how it is written in each encoding."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from wire.errors import PermanentError
from wire.pb import telemetry_pb2

_ID_BYTES: Final = 16
_ID_FIELD: Final = b"\n\x10"  # tag and length of `batch_id`


class Refusal(NamedTuple):
    """Observations that were refused for one reason."""

    code: str
    field: str
    rows: int
    accepted: str


@dataclass(slots=True)
class Receipt:
    """The upload's rows are durable. `accepted_rows` + refused rows = `received_rows`.

    Refusals of ``unit_days`` and ``outcomes`` stand in `refused` too, with that field, and are not
    rows.
    """

    batch_id: bytes
    received_rows: int
    accepted_rows: int
    refused: tuple[Refusal, ...]
    unknown_fields: int


@dataclass(slots=True)
class UploadRefused:
    """The whole upload was refused; nothing of it is stored."""

    error: PermanentError
    batch_id: bytes = b""
    rows: int = 0


Outcome = Receipt | UploadRefused


def to_protobuf(receipt: Receipt) -> bytes:
    """`holdfast.v1.Receipt`. Nearly all say two counts and nothing else: those are put together."""
    if not receipt.refused and not receipt.unknown_fields and len(receipt.batch_id) == _ID_BYTES:
        counts = _counts(receipt.received_rows, receipt.accepted_rows)
        return _ID_FIELD + receipt.batch_id + counts
    refused = [
        telemetry_pb2.Refusal(code=r.code, field=r.field, rows=r.rows, accepted=r.accepted)
        for r in receipt.refused
    ]
    return telemetry_pb2.Receipt(
        batch_id=receipt.batch_id,
        received_rows=receipt.received_rows,
        accepted_rows=receipt.accepted_rows,
        refused=refused,
        unknown_fields=receipt.unknown_fields,
    ).SerializeToString()


@lru_cache(maxsize=4096)
def _counts(received_rows: int, accepted_rows: int) -> bytes:
    """The fields of a plain receipt that follow its id."""
    counts = telemetry_pb2.Receipt(received_rows=received_rows, accepted_rows=accepted_rows)
    return counts.SerializeToString()


def to_json(receipt: Receipt) -> bytes:
    """The same as JSON, the batch id in hex."""
    return msgspec.json.encode(
        {
            "batch_id": receipt.batch_id.hex(),
            "received_rows": receipt.received_rows,
            "accepted_rows": receipt.accepted_rows,
            "refused": [r._asdict() for r in receipt.refused],
            "unknown_fields": receipt.unknown_fields,
        }
    )


def refused_as_receipt(refused: UploadRefused) -> Receipt:
    """A whole refusal as a receipt, for a stream that goes on."""
    error = refused.error
    reason = Refusal(error.code, error.field, refused.rows, error.accepted or error.detail)
    return Receipt(refused.batch_id, refused.rows, 0, (reason,), 0)
