"""gRPC: unary `Upload` and bidirectional `UploadStream`, over raw bytes.

The handlers see the message's bytes, because the committer decodes a whole group at once. gRPC's
own decompression has no cap on what a message unfolds to, so it is switched off and gzip is
unfolded here, within the same caps as over HTTP. (A protobuf message never begins like gzip.)

In a stream each upload gets its receipt, in order. A refused upload, malformed ones included, gets
a receipt with `accepted_rows` 0 and the reason in `refused`, and the stream goes on; "come back"
(UNAVAILABLE with RetryInfo) ends it: what has no receipt is to be sent again.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from ingest.bodies import SMALL_FOLDED_BYTES, BodyLimits, decompress
from ingest.ports import Keys
from ingest.receipt import Outcome, UploadRefused, refused_as_receipt, to_protobuf
from ingest.receive import Receiver
from ingest.status import retry_after_s, status_of
from wire.decode import Encoding
from wire.errors import PermanentError, TransientError

_GZIP_MAGIC: Final = b"\x1f\x8b"
_SERVICE: Final = "holdfast.v1.Telemetry"
_IDENTITY_AND_GZIP: Final = 0b101  # bit per algorithm: none, deflate, gzip
_STREAM_AHEAD: Final = 64


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """Caps of one message, and of one connection."""

    body: BodyLimits = field(default_factory=BodyLimits)
    streams_max: int = 256


async def start_grpc(
    receiver: Receiver, keys: Keys, address: str, limits: GrpcLimits
) -> tuple[grpc.aio.Server, int]:
    """A started server and its port."""
    service = _Service(receiver, keys, limits)
    server = grpc.aio.server(options=_options(limits))
    server.add_generic_rpc_handlers((service.handlers(),))
    port = server.add_insecure_port(address)
    await server.start()
    return server, port


class _Service:
    def __init__(self, receiver: Receiver, keys: Keys, limits: GrpcLimits) -> None:
        self._receiver = receiver
        self._keys = keys
        self._limits = limits
        self._unfolding = asyncio.Semaphore(1)  # one large body unfolds at a time

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            _SERVICE,
            {
                "Upload": grpc.unary_unary_rpc_method_handler(self.upload),
                "UploadStream": grpc.stream_stream_rpc_method_handler(self.upload_stream),
            },
        )

    async def upload(self, message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        try:
            app_id = self._app_of(context)
            outcome = await self._receive(message, app_id)
        except (PermanentError, TransientError) as error:
            await _abort(context, error)
        if isinstance(outcome, UploadRefused):
            await _abort(context, outcome.error)
        return to_protobuf(outcome)

    async def upload_stream(
        self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        try:
            app_id = self._app_of(context)
        except PermanentError as error:
            await _abort(context, error)
        answers: asyncio.Queue[asyncio.Task[Outcome] | None] = asyncio.Queue(_STREAM_AHEAD)
        reading = asyncio.create_task(self._read(messages, app_id, answers))
        try:
            while (answer := await answers.get()) is not None:
                outcome = await answer
                if isinstance(outcome, UploadRefused):
                    outcome = refused_as_receipt(outcome)
                yield to_protobuf(outcome)
        except TransientError as error:
            await _abort(context, error)
        finally:
            reading.cancel()

    async def _read(
        self,
        messages: AsyncIterator[bytes],
        app_id: str,
        answers: asyncio.Queue[asyncio.Task[Outcome] | None],
    ) -> None:
        """Receive ahead of the answers, so that uploads of one stream share commit groups."""
        async for message in messages:
            await answers.put(asyncio.create_task(self._receive_in_stream(message, app_id)))
        await answers.put(None)

    async def _receive_in_stream(self, message: bytes, app_id: str) -> Outcome:
        try:
            return await self._receive(message, app_id)
        except PermanentError as error:
            return UploadRefused(error)

    async def _receive(self, message: bytes, app_id: str) -> Outcome:
        try:
            body = await self._unfolded(message)
        except PermanentError as error:
            self._receiver.count_refused(error.code)
            raise
        return await self._receiver.receive(Encoding.PROTOBUF, body, app_id)

    async def _unfolded(self, message: bytes) -> bytes:
        if not message.startswith(_GZIP_MAGIC):
            return decompress(message, "", self._limits.body)
        if len(message) < SMALL_FOLDED_BYTES:
            return decompress(message, "gzip", self._limits.body)
        self._receiver.admission.take(len(message))
        try:
            async with self._unfolding:
                return await asyncio.to_thread(decompress, message, "gzip", self._limits.body)
        finally:
            self._receiver.admission.give_back(len(message))

    def _app_of(self, context: grpc.aio.ServicerContext) -> str:
        token = ""
        for name, value in context.invocation_metadata() or ():
            if name == "authorization":
                scheme, _, rest = str(value).partition(" ")
                token = rest.strip() if scheme.lower() == "bearer" else ""
        try:
            return self._keys.app_of(token)
        except PermanentError as error:
            self._receiver.count_refused(error.code)
            raise


async def _abort(
    context: grpc.aio.ServicerContext, error: PermanentError | TransientError
) -> NoReturn:
    """End the call with a rich status: BadRequest names the field, RetryInfo the wait."""
    code = status_of(error).grpc
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
        code=code.value[0], message=f"{error.code}: {error.detail}", details=packed
    )
    rich = rpc_status.to_status(status)
    await context.abort(rich.code, rich.details, rich.trailing_metadata)
    raise AssertionError("abort returned")


def _options(limits: GrpcLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.body.wire_bytes_max),
        ("grpc.per_message_decompression", 0),
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
        ("grpc.max_concurrent_streams", limits.streams_max),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    ]
