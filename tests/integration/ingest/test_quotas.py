"""Quotas at the doors: 429 that phones keep, other apps and other networks go on.

The quotas hold a handful of uploads and refill within hours, so no test waits or races.
"""

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from ingest.quota import RETRY_AFTER_MAX_S, QuotaLimits
from ingest.serve import ServeSettings
from sdk_stub.transport import GrpcTransport, HttpTransport
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import Running, running, tallied, upload
from tests.fakes.phone_http import CLIENT
from tests.fakes.raw_http import request
from wire.errors import TransientError
from wire.pb import telemetry_pb2

_HOUR_S = 3600.0
FEW = {
    "uploads": QuotaLimits(uploads_s=0.001, burst_s=5 * _HOUR_S),
    "bytes": QuotaLimits(bytes_s=0.1, burst_s=10 * _HOUR_S),
}
HERE, ELSEWHERE = "127.0.0.1", "127.1.0.1"  # two /24 of loopback


@contextmanager
def limited(folder: Path, limits: QuotaLimits, log: MemoryLog | None = None) -> Iterator[Running]:
    settings = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0, quota=limits)
    with running(folder, log or MemoryLog(1), settings=settings) as up:
        yield up


def whole(server: Running, key: str) -> bytes:
    return request(server, _body(server, key), key=key)


def ordinary(server: Running, key: str) -> bytes:
    return request(server, _body(server, key), "X.Odd: 1", key=key)


def chunked(server: Running, key: str) -> bytes:
    body = _body(server, key)
    head = request(server, b"", key=key)
    head = head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def _body(server: Running, key: str) -> bytes:
    made = upload(rollout=not key)
    if key and key != server.key:
        made.context.app_id, made.context.model_id = "camera", "scene"
        made.context.app_version, made.context.model_version = "9.0.0", "5"
    return made.SerializeToString()


def ask(server: Running, sent: bytes, address: str = HERE) -> tuple[int, int, str]:
    """Status, Retry-After (0: none) and code of the answer to a connection of its own."""
    url = urlsplit(server.http)
    to = url.hostname or "", url.port or 0
    with socket.create_connection(to, timeout=60, source_address=(address, 0)) as one:
        one.sendall(sent)
        answer = http.client.HTTPResponse(one)
        answer.begin()
        body = answer.read()
        code = "" if answer.status == 200 else json.loads(body)["code"]
        return answer.status, int(answer.getheader("retry-after", "0")), code


@pytest.mark.parametrize("what", FEW)
@pytest.mark.parametrize("way", [whole, ordinary, chunked])
def test_beyond_the_quota_it_is_429_and_others_go_on(
    tmp_path: Path, way: Callable[[Running, str], bytes], what: str
) -> None:
    log = MemoryLog(1)
    with limited(tmp_path, FEW[what], log) as server:
        other_app = server.keys.create("camera")

        assert ask(server, way(server, ""))[0] == 200
        for _ in range(3):
            status, after_s, code = ask(server, way(server, ""))
            assert (status, code) == (429, "quota_exceeded")
            assert 1 <= after_s <= RETRY_AFTER_MAX_S
        assert ask(server, way(server, ""), ELSEWHERE)[0] == 200
        assert ask(server, way(server, ""), ELSEWHERE)[0] == 429
        assert ask(server, way(server, other_app))[0] == 200
        assert (
            "holdfast_ingest_quota_refused_total 4.0" in CLIENT.get(server.health + "/metrics").text
        )

    assert tallied(log)["uploads:received"] == 3


def test_a_body_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    with limited(tmp_path, FEW["uploads"]) as server:
        assert ask(server, whole(server, ""))[0] == 200

        assert ask(server, request(server, b"", length=4 << 20))[0] == 429


def test_an_endless_chunked_body_is_refused_while_it_comes(tmp_path: Path) -> None:
    limits = QuotaLimits(bytes_s=1.0, burst_s=100_000.0)
    with limited(tmp_path, limits) as server:
        head = request(server, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")

        assert ask(server, head + b"%x\r\n" % 200_000 + bytes(150_000))[::2] == (
            429,
            "quota_exceeded",
        )


def test_a_refused_connection_goes_on_and_no_key_spends_nothing(tmp_path: Path) -> None:
    with limited(tmp_path, FEW["uploads"]) as server:
        for _ in range(3):
            assert ask(server, whole(server, "hfk_00000000_" + "x" * 43))[0] == 401
        assert ask(server, whole(server, ""))[0] == 200
        url = urlsplit(server.http)
        with socket.create_connection((url.hostname or "", url.port or 0), timeout=60) as one:
            for key, expected in (("", 429), (server.keys.create("camera"), 200), ("", 429)):
                one.sendall(whole(server, key))
                answer = http.client.HTTPResponse(one)
                answer.begin()
                answer.read()
                assert answer.status == expected


@pytest.mark.parametrize("what", FEW)
@pytest.mark.parametrize("is_stream", [False, True])
def test_grpc_says_it_with_retry_info_and_shares_the_quota(
    tmp_path: Path, *, is_stream: bool, what: str
) -> None:
    kind = "UploadStream" if is_stream else "Upload"
    with limited(tmp_path, FEW[what]) as server, grpc.insecure_channel(server.grpc) as channel:
        make = channel.stream_stream if is_stream else channel.unary_unary
        call = make(f"/holdfast.v1.Telemetry/{kind}")

        def send(key: str) -> None:
            metadata = [("authorization", f"Bearer {key or server.key}")]
            body = _body(server, key)
            if is_stream:
                assert len(list(call(iter([body]), metadata=metadata, timeout=60))) == 1
            else:
                call(body, metadata=metadata, timeout=60)

        send("")
        with pytest.raises(grpc.RpcError) as refused:
            send("")
        send(server.keys.create("camera"))

        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = rpc_status.from_call(refused.value)
        asked = error_details_pb2.RetryInfo()
        assert status is not None
        assert status.details[0].Unpack(asked)
        assert 1 <= asked.retry_delay.seconds <= RETRY_AFTER_MAX_S
        assert ask(server, whole(server, ""))[0] == 429  # one quota for both ways
        assert ask(server, whole(server, ""), ELSEWHERE)[0] == 200


def test_a_stream_gives_the_receipts_that_it_owes_first(tmp_path: Path) -> None:
    with limited(tmp_path, FEW["uploads"]) as server, grpc.insecure_channel(server.grpc) as channel:
        call = channel.stream_stream("/holdfast.v1.Telemetry/UploadStream")
        bodies = [upload().SerializeToString() for _ in range(3)]
        metadata = [("authorization", f"Bearer {server.key}")]
        answers = call(iter(bodies), metadata=metadata, timeout=60)

        assert telemetry_pb2.Receipt.FromString(next(answers)).accepted_rows == 3
        with pytest.raises(grpc.RpcError) as refused:
            next(answers)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("by", ["http", "unary", "stream"])
def test_the_sdk_keeps_the_upload_and_waits_as_long_as_it_is_asked(tmp_path: Path, by: str) -> None:
    with ExitStack() as opened:
        server = opened.enter_context(limited(tmp_path, FEW["uploads"]))
        transport: HttpTransport | GrpcTransport
        if by == "http":
            transport = opened.enter_context(closing(HttpTransport(server.http, server.key)))
        else:
            channel = opened.enter_context(grpc.insecure_channel(server.grpc))
            transport = GrpcTransport(channel, server.key, stream=by == "stream")
        made = upload()
        assert transport.send(made.SerializeToString()).batch_id == made.batch_id

        with pytest.raises(TransientError) as told:
            transport.send(upload().SerializeToString())

        assert told.value.code == "try_again"
        assert told.value.retry_after_s >= 1
