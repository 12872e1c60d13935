"""gRPC: unary `Upload` and bidirectional `UploadStream`, over raw bytes.

The handlers see the message's bytes, because the committer decodes a whole group at once. gRPC's
own decompression has no cap on what a message unfolds to, so it is switched off and gzip is
unfolded here, within the same caps as over HTTP. (A protobuf message never begins like gzip.)

In a stream each upload gets its receipt, in order. A refused upload, malformed ones included, gets
a receipt with `accepted_rows` 0 and the reason in `refused`, and the stream goes on; "come back"
(UNAVAILABLE, or RESOURCE_EXHAUSTED of a quota, with RetryInfo) ends it: what has no receipt is to
be sent again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import Final, NoReturn

import grpc

from ingest.bodies import SMALL_FOLDED_BYTES, BodyLimits, decompress
from ingest.connections import ConnectionLimits
from ingest.grpc_answer import rich_status
from ingest.grpc_relay import Relay
from ingest.keys import bearer
from ingest.ports import Keys
from ingest.quota import Quotas
from ingest.receipt import Outcome, UploadRefused, refused_as_receipt, to_protobuf
from ingest.receive import Receiver
from wire.decode import Encoding
from wire.errors import PermanentError, TransientError, as_value

_log = logging.getLogger("holdfast.ingest")
_LOOK_S: Final = 0.5  # a server that died says so when somebody waits for its end no longer
_GZIP_MAGIC: Final = b"\x1f\x8b"
_SERVICE: Final = "holdfast.v1.Telemetry"
_IDENTITY_AND_GZIP: Final = 0b101  # bit per algorithm: none, deflate, gzip
_STREAM_AHEAD: Final = 64


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """Caps of one message, of one connection, of all connections, and of one app. In seconds.

    A message is read only after its key, so unread ones never lie here. `reading_max` bounds the
    messages of one app that are half read: others wait their turn, unread.
    """

    body: BodyLimits = field(default_factory=BodyLimits)
    streams_max: int = 100
    connections_max: int = 500
    metadata_bytes_max: int = 8 * 1024
    handshake_s: float = 10.0
    message_s: float = 15.0  # for one message to come whole
    idle_s: float = 60.0  # of a connection without calls or key, and between a stream's messages
    age_s: float = 900.0
    age_grace_s: float = 30.0
    reading_max: int = 32
    streams_of_app_max: int = 64


class GrpcServer:
    """grpcio's server on a port of loopback, to which a relay leads; begun anew if it ends."""

    def __init__(
        self, receiver: Receiver, keys: Keys, quotas: Quotas, limits: GrpcLimits, relay: Relay
    ) -> None:
        self._handlers = _Service(receiver, keys, quotas, limits, relay).handlers()
        self._options = _options(limits)
        self._relay = relay
        self._is_stopping = False

    async def start(self) -> None:
        """Serve from now on."""
        self._server = grpc.aio.server(options=self._options)
        self._server.add_generic_rpc_handlers((self._handlers,))
        self._relay.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def keep(self) -> None:
        """Begin anew whenever it has ended by itself, for ever."""
        while not self._is_stopping:
            try:
                await self._server.wait_for_termination(_LOOK_S)
            except Exception as error:  # noqa: BLE001  # whatever it died of
                _log.error("grpc_server_ended", extra={"error": type(error).__name__})
                await self.start()
                self._relay.evict_all()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and wait so long for those under way."""
        self._is_stopping = True
        await self._server.stop(grace_s)


def connection_limits(limits: GrpcLimits) -> ConnectionLimits:
    """What the door in front of it allows."""
    return ConnectionLimits(
        connections_max=limits.connections_max,
        per_address_max=(limits.connections_max + 1) // 2,
        head_s=limits.handshake_s,
    )


class _Service:
    def __init__(
        self, receiver: Receiver, keys: Keys, quotas: Quotas, limits: GrpcLimits, relay: Relay
    ) -> None:
        self._receiver = receiver
        self._relay = relay
        self._keys = keys
        self._quotas = quotas
        self._limits = limits
        self._unfolding = asyncio.Semaphore(1)  # one large body unfolds at a time
        self._turns: dict[str, asyncio.Semaphore] = {}  # by app: only known keys come so far
        self._streams: Counter[str] = Counter()

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            _SERVICE,
            {
                # one message, but taken from a stream: the key is looked at before it is read
                "Upload": grpc.stream_unary_rpc_method_handler(self.upload),
                "UploadStream": grpc.stream_stream_rpc_method_handler(self.upload_stream),
            },
        )

    async def upload(
        self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> bytes:
        try:
            outcome = await self._received(messages, context)
        except PermanentError as error:
            outcome = UploadRefused(as_value(error))  # gRPC keeps what `_abort` raises for a while
        except TransientError as error:
            await _abort(context, as_value(error))
        if isinstance(outcome, UploadRefused):
            await _abort(context, outcome.error)
        return to_protobuf(outcome)

    async def _received(
        self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> Outcome:
        app_id, slot = self._app_of(context), self._slot_of(context)
        self._quotas.spend(app_id, slot, 0)  # used up: the message is not read
        message = await self._message(messages, app_id)
        self._quotas.spend(app_id, slot, len(message), uploads=0)
        return await self._receive(message, app_id)

    async def upload_stream(
        self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        try:
            app_id = self._app_of(context)
            if self._streams[app_id] >= self._limits.streams_of_app_max:
                raise self._receiver.admission.come_back("overloaded", "too many streams")
        except (PermanentError, TransientError) as error:
            await _abort(context, error)
        self._streams[app_id] += 1
        answers: asyncio.Queue[asyncio.Task[Outcome] | None] = asyncio.Queue(_STREAM_AHEAD)
        reading = asyncio.create_task(self._read(messages, context, answers))
        try:
            while (answer := await answers.get()) is not None:
                outcome = await answer
                if isinstance(outcome, UploadRefused):
                    outcome = refused_as_receipt(outcome)
                yield to_protobuf(outcome)
            await reading
        except (PermanentError, TransientError) as error:
            await _abort(context, error)
        finally:
            reading.cancel()
            self._streams[app_id] -= 1

    async def _message(self, messages: AsyncIterator[bytes], app_id: str) -> bytes:
        """The only message of a call, in its turn and in time."""
        turn = self._turns.setdefault(app_id, asyncio.Semaphore(self._limits.reading_max))
        try:
            async with (
                _closing(messages) as received,
                asyncio.timeout(self._limits.message_s),
                turn,
            ):
                return await anext(received)
        except StopAsyncIteration as error:
            raise PermanentError("empty_body", "there is no message", field="body") from error
        except TimeoutError as error:
            raise _too_slow(self._limits.message_s) from error

    async def _read(
        self,
        messages: AsyncIterator[bytes],
        context: grpc.aio.ServicerContext,
        answers: asyncio.Queue[asyncio.Task[Outcome] | None],
    ) -> None:
        """Receive ahead of the answers, so that uploads of one stream share commit groups.

        What ends the stream is raised after the answers that are owed. The key is looked at again
        for each message: a revoked one ends the stream.
        """
        try:
            slot = self._slot_of(context)
            async with _closing(messages) as received:
                while True:
                    async with asyncio.timeout(self._limits.idle_s):
                        message = await anext(received)
                    app_id = self._app_of(context)
                    receiving = self._receive_in_stream(message, app_id, slot)
                    await answers.put(asyncio.create_task(receiving))
        except StopAsyncIteration:
            pass
        except TimeoutError as error:
            raise _too_slow(self._limits.idle_s) from error
        finally:
            await answers.put(None)

    async def _receive_in_stream(self, message: bytes, app_id: str, slot: int) -> Outcome:
        self._quotas.spend(app_id, slot, len(message))
        try:
            return await self._receive(message, app_id)
        except PermanentError as error:
            return UploadRefused(as_value(error))

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
        authorization = ""
        for name, value in context.invocation_metadata() or ():
            if name == "authorization":
                authorization = str(value)
        try:
            return self._keys.app_of(bearer(authorization))
        except PermanentError as error:
            self._receiver.count_refused(error.code)
            raise

    def _slot_of(self, context: grpc.aio.ServicerContext) -> int:
        """Where the quota counts the caller. Whoever came past the relay is not served."""
        client = self._relay.client_of(context.peer())
        if client is None:
            raise self._receiver.admission.come_back("overloaded", "the connection is gone")
        return client.slot


def _closing(messages: AsyncIterator[bytes]) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
    """Close gRPC's generator at the end: it and its owner are a cycle that holds the last message,
    and a hundred calls of 4 MiB would lie here until somebody collects.
    """
    return aclosing(aiter(messages))  # type: ignore[type-var]  # an AsyncGenerator, untyped


def _too_slow(seconds: float) -> PermanentError:
    return PermanentError(
        "body_too_slow",
        "the message did not come in time",
        field="body",
        accepted=f"within {seconds:g} s",
    )


async def _abort(
    context: grpc.aio.ServicerContext, error: PermanentError | TransientError
) -> NoReturn:
    rich = rich_status(error)
    await context.abort(rich.code, rich.details, rich.trailing_metadata)
    raise AssertionError("abort returned")


def _options(limits: GrpcLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.body.wire_bytes_max),
        ("grpc.per_message_decompression", 0),
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
        ("grpc.max_concurrent_streams", limits.streams_max),
        ("grpc.max_metadata_size", limits.metadata_bytes_max),
        ("grpc.absolute_max_metadata_size", 2 * limits.metadata_bytes_max),
        ("grpc.max_allowed_incoming_connections", 2 * limits.connections_max),
        ("grpc.server_handshake_timeout_ms", int(limits.handshake_s * 1000)),
        ("grpc.max_connection_idle_ms", int(limits.idle_s * 1000)),
        ("grpc.max_connection_age_ms", int(limits.age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", int(limits.age_grace_s * 1000)),
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
        # no larger window than what is being read needs: unread bytes stay with their sender
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 16 * 1024),
    ]
