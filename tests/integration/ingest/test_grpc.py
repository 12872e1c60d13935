"""Ingest over gRPC, with a real grpc.aio server on loopback and stock clients."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from ingest.bodies import BodyLimits
from ingest.grpc import GrpcLimits
from ingest.receive import ReceiveSettings
from ingest.serve import ServeSettings
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import (
    Running,
    StallingLog,
    changed,
    clock_ms,
    kept_id,
    running,
    segments,
    tallied,
    upload,
)
from wire.errors import TransientError
from wire.pb import telemetry_pb2
from wire.times import DAY_MS

Upload = telemetry_pb2.UploadRequest
FEW = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0)
UPLOAD = "/holdfast.v1.Telemetry/Upload"
STREAM = "/holdfast.v1.Telemetry/UploadStream"


def call(
    server: Running,
    body: bytes | Upload,
    *,
    key: str | None = None,
    compression: grpc.Compression = grpc.Compression.NoCompression,
) -> telemetry_pb2.Receipt:
    content = body.SerializeToString() if isinstance(body, Upload) else body
    with grpc.insecure_channel(server.grpc, options=[("grpc.max_send_message_length", -1)]) as c:
        receipt: telemetry_pb2.Receipt = c.unary_unary(
            UPLOAD, response_deserializer=telemetry_pb2.Receipt.FromString
        )(content, metadata=metadata(server, key), compression=compression, timeout=60)
    return receipt


def stream(server: Running, bodies: list[bytes], **how: object) -> Iterator[telemetry_pb2.Receipt]:
    with grpc.insecure_channel(server.grpc) as c:
        yield from c.stream_stream(STREAM, response_deserializer=telemetry_pb2.Receipt.FromString)(
            iter(bodies), metadata=metadata(server, None), timeout=60, **how
        )


def metadata(server: Running, key: str | None) -> list[tuple[str, str]]:
    token = server.key if key is None else key
    return [("authorization", f"Bearer {token}")] if token else []


def refusal(error: grpc.RpcError) -> tuple[grpc.StatusCode, str, str]:
    """Status, code and field of a rich refusal."""
    status = rpc_status.from_call(error)
    assert status is not None
    detail = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(detail)
    (violation,) = detail.field_violations
    return error.code(), violation.reason, violation.field


def test_a_unary_upload_gets_its_receipt_after_the_append(server: Running, log: MemoryLog) -> None:
    sent = upload(4)

    receipt = call(server, sent)

    assert (receipt.batch_id, receipt.accepted_rows) == (sent.batch_id, 4)
    stored = b"".join(s.uploads["batch_id"].tobytes() for s in segments(log) if s.uploads)
    assert kept_id(sent) in stored


def test_gzip_is_unfolded_and_deflate_is_refused(server: Running) -> None:
    assert call(server, upload(9), compression=grpc.Compression.Gzip).accepted_rows == 9
    with pytest.raises(grpc.RpcError) as refused:
        call(server, upload(500), compression=grpc.Compression.Deflate)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


BAD: dict[str, tuple[Callable[[], bytes], grpc.StatusCode, str, str]] = {
    "column of another length": (
        lambda: changed(lambda u: u.latency_ms.append(1)),
        grpc.StatusCode.INVALID_ARGUMENT, "column_length", "latency_ms"),
    "10 years old": (
        lambda: changed(lambda u: setattr(u, "created_ms", clock_ms() - 3650 * DAY_MS)),
        grpc.StatusCode.INVALID_ARGUMENT, "created_too_old", "created_ms"),
    "in the future": (
        lambda: changed(lambda u: setattr(u, "created_ms", clock_ms() + 120_000)),
        grpc.StatusCode.INVALID_ARGUMENT, "created_in_future", "created_ms"),
    "unknown model": (
        lambda: changed(lambda u: setattr(u.context, "model_id", "other")),
        grpc.StatusCode.INVALID_ARGUMENT, "unknown_model", "context.model_id"),
    "free text for a model's version": (
        lambda: changed(lambda u: setattr(u.context, "model_version", "my home")),
        grpc.StatusCode.INVALID_ARGUMENT, "unknown_model_version", "context.model_version"),
    "another app than the key's": (
        lambda: changed(lambda u: setattr(u.context, "app_id", "camera")),
        grpc.StatusCode.PERMISSION_DENIED, "key_other_app", "context.app_id"),
    "empty body": (lambda: b"", grpc.StatusCode.INVALID_ARGUMENT, "empty_body", ""),
    "invalid UTF-8": (
        lambda: upload().SerializeToString().replace(b"keyboard", b"keyb\xff\xfe\xfd\xfc"),
        grpc.StatusCode.INVALID_ARGUMENT, "malformed_protobuf", "context"),
    "invalid protobuf": (
        lambda: b"\xff" * 40, grpc.StatusCode.INVALID_ARGUMENT, "malformed_protobuf", ""),
    "truncated gzip": (
        lambda: b"\x1f\x8b\x08\x00" + bytes(20),
        grpc.StatusCode.INVALID_ARGUMENT, "malformed_encoding", "content-encoding"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_with_its_field(server: Running, what: str) -> None:
    make, status, code, field = BAD[what]

    with pytest.raises(grpc.RpcError) as refused:
        call(server, make())

    assert refusal(refused.value) == (status, code, field)
    assert call(server, upload(1)).accepted_rows == 1


@pytest.mark.parametrize(
    ("key", "code"), [("", "key_missing"), ("hfk_00000000_" + "x" * 43, "key_unknown")]
)
def test_without_a_valid_key_nothing_is_read(server: Running, key: str, code: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        call(server, upload(1), key=key)

    assert refusal(refused.value)[:2] == (grpc.StatusCode.UNAUTHENTICATED, code)


def test_too_large_is_resource_exhausted_without_a_wait(server: Running) -> None:
    with pytest.raises(grpc.RpcError) as large:
        call(server, bytes(17 << 20))
    with pytest.raises(grpc.RpcError) as bomb:
        call(server, bytes(64 << 20), compression=grpc.Compression.Gzip)

    assert large.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal(bomb.value)[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ratio_too_high")


def test_a_bad_value_costs_its_row(server: Running) -> None:
    sent = upload(3)
    sent.latency_ms[1] = float("nan")

    receipt = call(server, sent)

    assert receipt.accepted_rows == 2
    assert [(r.code, r.field, r.rows) for r in receipt.refused] == [
        ("metric_not_finite", "latency_ms", 1)
    ]


def test_a_stream_answers_in_order_and_survives_refusals(server: Running) -> None:
    good = [upload(i + 1) for i in range(6)]
    bodies = [u.SerializeToString() for u in good]
    bodies[2] = b"\xff" * 9
    bodies[4] = BAD["unknown model"][0]()

    receipts = list(stream(server, bodies))

    assert [r.accepted_rows for r in receipts] == [1, 2, 0, 4, 0, 6]
    assert [r.batch_id == u.batch_id for r, u in zip(receipts, good, strict=True)] == [
        True, True, False, True, False, True
    ]  # fmt: skip
    assert receipts[2].refused[0].code == "malformed_protobuf"
    assert (receipts[4].refused[0].code, receipts[4].refused[0].rows) == ("unknown_model", 3)


def test_uploads_of_one_stream_share_commit_groups(tmp_path: Path) -> None:
    log = StallingLog()
    log.gate.clear()
    with running(tmp_path, log) as server:
        threading.Timer(0.3, log.gate.set).start()  # the first append is slow; the others wait
        receipts = list(stream(server, [upload(1).SerializeToString() for _ in range(200)]))

    assert len(receipts) == 200
    assert len([s for s in segments(log) if s.uploads]) < 100


def test_overload_is_unavailable_with_a_wait(tmp_path: Path) -> None:
    log = StallingLog()
    with running(tmp_path, log, receive=ReceiveSettings(waiting_uploads_max=1)) as server:
        log.gate.clear()
        accepted: list[telemetry_pb2.Receipt] = []
        waiting = threading.Thread(target=lambda: accepted.append(call(server, upload(1))))
        waiting.start()
        while not server.receiver.admission.in_flight:
            time.sleep(0.01)
        with pytest.raises(grpc.RpcError) as refused:
            call(server, upload(1))
        with pytest.raises(grpc.RpcError) as ended:
            list(stream(server, [upload(1).SerializeToString()]))
        log.gate.set()
        waiting.join()

    assert_come_back(refused.value)
    assert_come_back(ended.value)
    assert [r.accepted_rows for r in accepted] == [1]
    assert tallied(log)["uploads:received"] == 1


def assert_come_back(error: grpc.RpcError) -> None:
    status = rpc_status.from_call(error)
    assert status is not None
    wait = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(wait)
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert 1 <= wait.retry_delay.seconds <= 5


def test_a_log_that_cannot_write_is_unavailable(tmp_path: Path) -> None:
    log = StallingLog()
    log.refusal = TransientError("log_full", "the disk's reserve is touched")
    with running(tmp_path, log) as server, pytest.raises(grpc.RpcError) as refused:
        call(server, upload(1))

    assert_come_back(refused.value)


def test_the_message_cap_can_be_set(tmp_path: Path) -> None:
    grpc_limits = GrpcLimits(body=BodyLimits(wire_bytes_max=200))
    settings = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0, grpc=grpc_limits)
    with (
        running(tmp_path, MemoryLog(), settings=settings) as server,
        pytest.raises(grpc.RpcError) as refused,
    ):
        call(server, upload(50))

    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("path", [UPLOAD, STREAM])
@pytest.mark.parametrize("key", ["", "hfk_00000000_" + "x" * 43])
def test_the_key_is_judged_before_a_message_is_read(server: Running, path: str, key: str) -> None:
    """The client never sends one, so a server that waited for it would not answer."""
    never = threading.Event()

    def nothing() -> Iterator[bytes]:
        never.wait(60)
        yield from ()

    with grpc.insecure_channel(server.grpc) as channel:
        calls = channel.stream_stream(path)(nothing(), metadata=metadata(server, key), timeout=60)
        try:
            with pytest.raises(grpc.RpcError) as refused:
                next(calls)
        finally:
            never.set()

    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_revoked_key_ends_an_open_stream(tmp_path: Path) -> None:
    sent = [upload(1), upload(2)]
    is_revoked = threading.Event()
    with running(tmp_path, MemoryLog()) as server, grpc.insecure_channel(server.grpc) as channel:

        def bodies() -> Iterator[bytes]:
            yield sent[0].SerializeToString()
            is_revoked.wait(60)
            yield sent[1].SerializeToString()

        receipts = channel.stream_stream(
            STREAM, response_deserializer=telemetry_pb2.Receipt.FromString
        )(bodies(), metadata=metadata(server, None), timeout=60)
        assert next(receipts).accepted_rows == 1
        server.keys.revoke(server.keys.listed()[0].key_id)
        is_revoked.set()
        with pytest.raises(grpc.RpcError) as refused:
            next(receipts)

    assert refusal(refused.value)[:2] == (grpc.StatusCode.UNAUTHENTICATED, "key_unknown")


@pytest.mark.parametrize("path", [UPLOAD, STREAM])
def test_a_message_that_does_not_come_ends_the_call(tmp_path: Path, path: str) -> None:
    settings = ServeSettings(
        http_port=0, grpc_port=0, unready_s=0.0, grpc=GrpcLimits(message_s=0.1, idle_s=0.1)
    )
    never = threading.Event()

    def nothing() -> Iterator[bytes]:
        never.wait(60)
        yield from ()

    with (
        running(tmp_path, MemoryLog(), settings=settings) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        calls = channel.stream_stream(path)(nothing(), metadata=metadata(server, None), timeout=60)
        try:
            with pytest.raises(grpc.RpcError) as refused:
                next(calls)
        finally:
            never.set()

    assert refusal(refused.value)[1] == "body_too_slow"


def test_metadata_without_end_is_refused(server: Running) -> None:
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(UPLOAD)(
            b"", metadata=[*metadata(server, None), ("x-a", "a" * 40_000)], timeout=60
        )

    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_connections_without_a_call_do_not_pile_up(tmp_path: Path) -> None:
    limits = GrpcLimits(connections_max=5, handshake_s=0.2)
    settings = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0, grpc=limits)
    with running(tmp_path, MemoryLog(), settings=settings) as server, ExitStack() as opened:
        host, _, port = server.grpc.partition(":")
        silent = [
            opened.enter_context(socket.create_connection((host, int(port)), timeout=60))
            for _ in range(10)
        ]
        for one in silent:
            with contextlib.suppress(ConnectionError):
                while one.recv(4096):
                    pass

        assert call(server, upload(1)).accepted_rows == 1
