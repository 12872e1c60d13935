"""What would happen to an upload: for people who write clients. Nothing is stored."""

from collections.abc import Iterator
from typing import Final

import msgspec
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from ingest.commit import Committer, Sent
from ingest.receipt import Refusal, UploadRefused
from wire.context import Context
from wire.decode import Encoding
from wire.pb import telemetry_pb2
from wire.pb.registry import METRICS

_NAMED_MAX: Final = 50
_ROW: Final = ("event_offset_ms", "unit_bet", *(m.column for m in METRICS))


class Report(msgspec.Struct, frozen=True):
    """The answer of ``/v1/telemetry:validate``. `accepted`: the upload as a whole."""

    accepted: bool
    received_rows: int
    accepted_rows: int
    refused: list[dict[str, str | int]]
    unknown_fields: list[str]

    def to_json(self) -> bytes:
        """The report as JSON."""
        return msgspec.json.encode(self)


def explain(committer: Committer, sent: Sent, arrived_ms: int) -> Report:
    """Decode and check one upload by the same code as `/v1/telemetry`, and say what came of it."""
    (outcome,) = committer.judge([sent], arrived_ms, {}).outcomes
    unknown = sorted(set(_unknown(sent)))[:_NAMED_MAX]
    if isinstance(outcome, UploadRefused):
        e = outcome.error
        refusal = Refusal(e.code, e.field, outcome.rows, e.accepted)
        return Report(False, outcome.rows, 0, [refusal._asdict()], unknown)
    refused = [refusal._asdict() for refusal in outcome.refused]
    return Report(True, outcome.received_rows, outcome.accepted_rows, refused, unknown)


def _unknown(sent: Sent) -> Iterator[str]:
    try:
        if sent.encoding is Encoding.PROTOBUF:
            yield from _unknown_numbers("", telemetry_pb2.UploadRequest.FromString(sent.body))
        else:
            yield from _unknown_keys(msgspec.json.decode(sent.body))
    except (DecodeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return  # the outcome says so


def _unknown_numbers(path: str, message: Message) -> Iterator[str]:
    unknown = UnknownFieldSet(message)
    yield from (f"{path}field {unknown[i].field_number}" for i in range(len(unknown)))
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from _unknown_numbers(f"{path}{field.name}.", part)


def _unknown_keys(upload: object) -> Iterator[str]:
    top = {f.name for f in telemetry_pb2.UploadRequest.DESCRIPTOR.fields} - set(_ROW)
    yield from _strange("", upload, top | {"columns", "rows"})
    if isinstance(upload, dict):
        yield from _strange("context.", upload.get("context"), set(Context.__dataclass_fields__))
        yield from _strange("columns.", upload.get("columns"), set(_ROW))
        for part, known in (
            ("rows", set(_ROW)),
            ("unit_days", {f.name for f in telemetry_pb2.UnitDay.DESCRIPTOR.fields}),
            ("outcomes", {f.name for f in telemetry_pb2.OutcomeFeedback.DESCRIPTOR.fields}),
        ):
            items = upload.get(part)
            for item in items if isinstance(items, list) else ():
                yield from _strange(f"{part}.", item, known)


def _strange(path: str, given: object, known: set[str]) -> Iterator[str]:
    if isinstance(given, dict):
        yield from (f"{path}{key}" for key in given if key not in known)
