"""What would happen to an upload: for people who write clients. Nothing is stored."""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from ingest.commit import Committer, Sent
from ingest.receipt import Refusal, UploadRefused
from ingest.receive import Receiver
from wire.decode import Encoding, decode_group
from wire.json_upload import unknown_keys
from wire.pb import telemetry_pb2

_NAMED_MAX: Final = 50
_WAITING_MAX: Final = 16
"""Uploads that wait to be explained; more are told to come back: people ask, phones do not."""


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


class Explainer:
    """Explains beside the event loop and the committer's thread, one upload at a time."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    async def explain(self, sent: Sent) -> Report:
        """What would come of it. Raises TransientError if too many ask."""
        receiver = self._receiver
        if self._waiting >= _WAITING_MAX:
            raise receiver.admission.come_back("overloaded", "too many ask what would happen")
        receiver.admission.take(len(sent.body))
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(explain, receiver.committer, sent, receiver.now_ms())
        finally:
            self._waiting -= 1
            receiver.admission.give_back(len(sent.body))


def explain(committer: Committer, sent: Sent, arrived_ms: int) -> Report:
    """Decode and check one upload by the same code as `/v1/telemetry`, and say what came of it."""
    (outcome,) = committer.judge([sent], arrived_ms, {}).outcomes
    unknown = sorted(set(islice(_unknown(sent), _NAMED_MAX)))
    if isinstance(outcome, UploadRefused):
        e = outcome.error
        refusal = Refusal(e.code, e.field, outcome.rows, e.accepted)
        return Report(False, outcome.rows, 0, [refusal._asdict()], unknown)
    refused = [refusal._asdict() for refusal in outcome.refused]
    return Report(True, outcome.received_rows, outcome.accepted_rows, refused, unknown)


def _unknown(sent: Sent) -> Iterator[str]:
    if decode_group([(sent.encoding, sent.body)]).errors:
        return  # too much, or not readable: the outcome says so
    if sent.encoding is Encoding.PROTOBUF:
        yield from _unknown_numbers("", telemetry_pb2.UploadRequest.FromString(sent.body))
    else:
        yield from unknown_keys(sent.body)


def _unknown_numbers(path: str, message: Message) -> Iterator[str]:
    unknown = UnknownFieldSet(message)
    yield from (f"{path}field {unknown[i].field_number}" for i in range(len(unknown)))
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from _unknown_numbers(f"{path}{field.name}.", part)
