"""gRPC's door beside strangers: nobody is kept out, and nobody ends it for others."""

import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_status import rpc_status

from bench import door_frames as h2
from ingest.grpc import GrpcLimits
from ingest.http2 import PREFACE
from ingest.http2_guard import HeaderGuard
from ingest.serve import ServeSettings
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import Running, running, upload
from tests.fakes.node_world import until
from wire.pb import telemetry_pb2

FEW = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0)
DETAILS = ["google.rpc.BadRequest", "google.rpc.RetryInfo"]
UPLOAD = "/holdfast.v1.Telemetry/Upload"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"PRI * HT",
        PREFACE + h2.settings(),
        PREFACE + h2.settings() + h2.call(1, "Upload"),
        PREFACE + h2.settings() + h2.call(1, "Upload") + h2.body_frame(1, bytes(1_000)),
    ],
)
def test_whoever_holds_connections_keeps_nobody_out(tmp_path: Path, said: bytes) -> None:
    settings = replace(FEW, grpc=GrpcLimits(connections_max=20))
    with (
        running(tmp_path, MemoryLog(), settings=settings) as server,
        grpc.insecure_channel(server.grpc) as known,
        ExitStack() as opened,
    ):
        assert called(known, server).accepted_rows == 1
        for _ in range(60):
            opened.enter_context(connected(server)).sendall(said)
        assert call(server).accepted_rows == 1
        assert called(known, server).accepted_rows == 1, "a known one keeps its connection"


def test_a_stranger_has_so_many_bytes_and_no_more(tmp_path: Path) -> None:
    with running(tmp_path, MemoryLog(), settings=FEW) as server, connected(server) as stranger:
        stranger.settimeout(1.0)
        stranger.sendall(PREFACE + h2.settings())
        ignored, sent = h2.frame(0xBE, 0, 0, bytes(100)) * 1_000, 0
        with contextlib.suppress(OSError):
            while sent < 64 << 20:
                sent += stranger.send(ignored)
        assert sent < 64 << 20
        assert call(server).accepted_rows == 1


def test_what_does_not_begin_as_http2_never_reaches_grpc(tmp_path: Path) -> None:
    with running(tmp_path, MemoryLog(), settings=FEW) as server, connected(server) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert stranger.recv(4096) == b""


def call(server: Running) -> telemetry_pb2.Receipt:
    with grpc.insecure_channel(server.grpc) as channel:
        return called(channel, server)


def connected(server: Running) -> socket.socket:
    host, _, port = server.grpc.partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def test_many_calls_at_a_time_are_nobodys_fault(tmp_path: Path) -> None:
    """A stock client opens the next call before the server has forgotten the last."""
    with (
        running(tmp_path, MemoryLog(), settings=FEW) as server,
        grpc.insecure_channel(server.grpc) as channel,
        ThreadPoolExecutor(32) as phones,
    ):
        receipts = list(phones.map(lambda _: called(channel, server), range(600)))
    assert {receipt.accepted_rows for receipt in receipts} == {1}


def called(channel: grpc.Channel, server: Running) -> telemetry_pb2.Receipt:
    metadata = [("authorization", f"Bearer {server.key}")]
    receipt: telemetry_pb2.Receipt = channel.unary_unary(
        UPLOAD, response_deserializer=telemetry_pb2.Receipt.FromString
    )(
        upload(1).SerializeToString(),
        metadata=metadata,
        timeout=20,
    )
    return receipt


def test_a_wrong_key_is_refused_every_time_and_nothing_hangs(tmp_path: Path) -> None:
    """More calls of one stock client than a connection may have without a key."""
    with (
        running(tmp_path, MemoryLog(), settings=FEW) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        for _ in range(100):
            with pytest.raises(grpc.RpcError) as refused:
                called(channel, replace(server, key="hfk_none"))
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert refused.value.details() == "key_unknown: this is not a key"
            status = rpc_status.from_call(refused.value)
            assert [detail.TypeName() for detail in status.details] == DETAILS
        assert called(channel, server).accepted_rows == 1, "its next call has a key"
        with pytest.raises(grpc.RpcError) as refused:
            called(channel, replace(server, key="hfk_none"))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert [one.TypeName() for one in rpc_status.from_call(refused.value).details] == DETAILS


@pytest.mark.parametrize("cuts", [1, 7, 9, 24, 33, 100, 10_000])
@pytest.mark.parametrize("is_patient", [True, False])
def test_a_call_is_served_in_whatever_pieces_and_order_it_comes(
    tmp_path: Path, cuts: int, is_patient: bool
) -> None:
    """Some clients open calls before they have seen the server's first frame, others after."""
    body = upload(1).SerializeToString()
    with running(tmp_path, MemoryLog(), settings=FEW) as server, connected(server) as phone:
        first, ack = PREFACE + h2.settings(), h2.frame(4, 1, 0, b"")
        opened = h2.call(1, "Upload", key=server.key)
        message = h2.body_frame(1, b"\0" + len(body).to_bytes(4) + body, ends=True)
        phone.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        if is_patient:
            phone.sendall(first)
            received = phone.recv(9)
            rest = ack + opened + message
        else:
            rest = first + opened + message
        for at in range(0, min(len(rest), 14 * cuts), cuts):
            phone.sendall(rest[at : at + cuts])
            time.sleep(0.002)  # so that the pieces come as such, mostly
        phone.sendall(rest[14 * cuts :])
        if not is_patient:
            phone.sendall(ack)
        while b"grpc-status" not in received:
            piece = phone.recv(4096)
            assert piece, received
            received += piece
        assert b"\x0bgrpc-status\x010" in received


def ending(server: Running) -> None:
    """Call a path that is no UTF-8: grpcio's own server does not survive it."""
    block = h2.literal(":method", "POST") + h2.literal(":scheme", "http")
    block += h2.literal(":authority", "a") + b"\x00\x05:path\x04/a\xc0b"
    block += h2.literal("te", "trailers") + h2.literal("content-type", "application/grpc")
    with connected(server) as stranger:
        stranger.settimeout(2.0)
        stranger.sendall(PREFACE + h2.settings() + h2.frame(1, 4, 1, block))
        with contextlib.suppress(OSError):
            while stranger.recv(4096):
                pass


def test_a_path_that_is_no_text_ends_its_own_connection_alone(tmp_path: Path) -> None:
    with (
        running(tmp_path, MemoryLog(), settings=FEW) as server,
        grpc.insecure_channel(server.grpc) as known,
    ):
        assert called(known, server).accepted_rows == 1
        for _ in range(3):
            ending(server)
            assert called(known, server).accepted_rows == 1
            assert call(server).accepted_rows == 1


def test_a_server_that_ended_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The second wall, with the first one away."""
    settings = replace(FEW, grpc=GrpcLimits(handshake_s=1.0, idle_s=1.0))
    with running(tmp_path, MemoryLog(), settings=settings) as server:
        with monkeypatch.context() as gone:
            gone.setattr(HeaderGuard, "_read", lambda *_: f"Bearer {server.key}".encode())
            ending(server)
        until(lambda: "grpc_server_ended" in caplog.text, "the server has ended")
        with grpc.insecure_channel(server.grpc) as channel:
            receipt = channel.unary_unary(
                UPLOAD, response_deserializer=telemetry_pb2.Receipt.FromString
            )(
                upload(1).SerializeToString(),
                metadata=[("authorization", f"Bearer {server.key}")],
                timeout=20,
                wait_for_ready=True,
            )
        assert receipt.accepted_rows == 1
