"""The client and the fleet against real servers on loopback: HTTP, gRPC, retries, replay."""

import base64
import gzip
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from sdk_stub.buffer import UploadQueue
from sdk_stub.faults import FaultTarget
from sdk_stub.fleet import FleetSettings
from sdk_stub.fleet_runner import RunSettings, run_fleet
from sdk_stub.outbox import Outbox
from sdk_stub.releases import ReleaseConfig
from sdk_stub.retry import Backoff
from sdk_stub.sender import SendCounts
from sdk_stub.transport import GrpcTransport, HttpTransport
from tests.fakes.phone_world import config, rng, rollout
from wire.errors import PermanentError, TransientError
from wire.pb import telemetry_pb2 as pb

KEY = "hfk_test_secret"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Receiver:
    """What a server saw, and how it is told to answer: (status, Retry-After) before it accepts."""

    answers: list[tuple[int, str]] = field(default_factory=list)
    uploads: list[pb.UploadRequest] = field(default_factory=list)
    arrivals_ms: list[int] = field(default_factory=list)
    refused_every: int = 0
    serves: ReleaseConfig | None = None
    signing: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: bytes) -> tuple[int, str, bytes]:
        with self.lock:
            self.arrivals_ms.append(now_ms())
            if self.answers:
                return (*self.answers.pop(0), b"")
            if self.refused_every and len(self.arrivals_ms) % self.refused_every == 0:
                return 503, "0", b""
            upload = pb.UploadRequest.FromString(body)
            self.uploads.append(upload)
            receipt = pb.Receipt(
                batch_id=upload.batch_id, received_rows=upload.n, accepted_rows=upload.n
            )
            return 200, "", receipt.SerializeToString()


def _http_handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet per answer

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Authorization"] == f"Bearer {KEY}"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            status, retry_after, answer = receiver.take(body)
            self._answer(status, answer, {"Retry-After": retry_after} if retry_after else {})

        def do_GET(self) -> None:
            body = msgspec.json.encode(receiver.serves)
            etag = f'"{hash(body)}"'
            if self.headers["If-None-Match"] == etag:
                self._answer(304, b"", {"ETag": etag})
                return
            signature = base64.b64encode(receiver.signing.sign(body)).decode()
            headers = {"ETag": etag, "Holdfast-Signature": f"ed25519={signature}"}
            self._answer(200, body, headers)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    return Handler


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def base_url(receiver: Receiver) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _http_handler(receiver))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def _grpc_answer(receiver: Receiver, body: bytes, context: grpc.ServicerContext) -> bytes:
    status, retry_after, receipt = receiver.take(body)
    if status == 503:
        detail = any_pb2.Any()
        delay = duration_pb2.Duration(seconds=int(retry_after or 0))
        detail.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        said = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="later", details=[detail])
        context.abort_with_status(rpc_status.to_status(said))
    if status != 200:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")
    return receipt


@pytest.fixture
def grpc_target(receiver: Receiver) -> Iterator[str]:
    def unary(body: bytes, context: grpc.ServicerContext) -> bytes:
        assert ("authorization", f"Bearer {KEY}") in [
            tuple(m) for m in context.invocation_metadata()
        ]
        return _grpc_answer(receiver, body, context)

    def stream(bodies: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for body in bodies:
            yield _grpc_answer(receiver, body, context)

    server = grpc.server(ThreadPoolExecutor(4))
    methods = {
        "Upload": grpc.unary_unary_rpc_method_handler(unary),
        "UploadStream": grpc.stream_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("holdfast.v1.Telemetry", methods),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


def _upload(number: int) -> bytes:
    return pb.UploadRequest(batch_id=bytes([number]) * 16, created_ms=5, n=0).SerializeToString()


def test_a_retry_waits_at_least_as_long_as_the_server_asked(
    receiver: Receiver, base_url: str, tmp_path: Path
) -> None:
    receiver.answers = [(503, "1"), (429, "1")]
    transport = HttpTransport(base_url, KEY)
    outbox = Outbox(
        UploadQueue(tmp_path, bytes_max=10_000), transport, Backoff(50, 200), now_ms, rng()
    )
    outbox.queue.put(_upload(1))
    outbox.queue.put(_upload(2))

    while (wait_ms := outbox.send_due()) is not None:
        time.sleep(wait_ms / 1000)
    transport.close()

    first, second, third, _ = receiver.arrivals_ms
    assert second - first >= 999
    assert third - second >= 999
    assert [u.batch_id[0] for u in receiver.uploads] == [1, 2]
    assert (outbox.acknowledged_count, outbox.retry_count) == (2, 2)


@pytest.mark.parametrize(("status", "kind"), [(400, PermanentError), (413, PermanentError)])
def test_a_refusal_over_http_is_permanent(
    receiver: Receiver, base_url: str, status: int, kind: type[Exception]
) -> None:
    receiver.answers = [(status, "")]
    transport = HttpTransport(base_url, KEY)

    with pytest.raises(kind):
        transport.send(_upload(1))
    transport.close()


def test_a_server_that_is_away_is_tried_again() -> None:
    transport = HttpTransport("http://127.0.0.1:9", KEY, timeout_s=1)

    with pytest.raises(TransientError, match="unreachable"):
        transport.send(_upload(1))
    transport.close()


def test_the_http_source_gives_body_signature_and_not_modified(
    receiver: Receiver, base_url: str
) -> None:
    receiver.serves = config(rollout())
    transport = HttpTransport(base_url, KEY)

    answer = transport.fetch("app", "")

    assert answer is not None
    assert answer[1].startswith("ed25519=")
    assert transport.fetch("app", answer[2]) is None
    transport.close()


@pytest.mark.parametrize("stream", [False, True])
def test_grpc_gives_receipts_retry_delays_and_refusals(
    receiver: Receiver, grpc_target: str, stream: bool
) -> None:
    receiver.answers = [(503, "3"), (400, "")]
    with grpc.insecure_channel(grpc_target) as channel:
        transport = GrpcTransport(channel, KEY, stream=stream)

        with pytest.raises(TransientError) as later:
            transport.send(_upload(1))
        with pytest.raises(PermanentError):
            transport.send(_upload(1))
        receipt = transport.send(_upload(1))

    assert later.value.retry_after_s == 3
    assert receipt.batch_id == bytes([1]) * 16


def _run(receiver: Receiver, base_url: str, **changes: object) -> SendCounts:
    end = time.monotonic() + 3.0
    receiver.serves = config(rollout(), models=2)
    settings = RunSettings(
        base_url=base_url,
        keys={"app": KEY},
        seed=3,
        fault="latency",
        target=FaultTarget("m0", "1.1.0"),
        fleet=FleetSettings(phones=150, adoption_ms=300, download_ms=100),
        public_key=receiver.signing.public_key().public_bytes_raw(),
        connections=8,
        **changes,  # type: ignore[arg-type] # each test names real settings
    )
    stop: Callable[[], bool] = lambda: time.monotonic() > end  # noqa: E731
    return run_fleet(settings, now_ms=now_ms, sleep=time.sleep, stop=stop)


def test_a_fleet_is_acknowledged_once_per_upload_over_both_transports(
    receiver: Receiver, base_url: str, grpc_target: str
) -> None:
    receiver.refused_every = 150

    counts = _run(receiver, base_url, grpc_target=grpc_target, grpc_share=0.3, send_times=3)

    ids = [u.batch_id for u in receiver.uploads]
    assert counts.sent == counts.acknowledged == len(set(ids)) > 300
    assert counts.duplicates == 2 * counts.sent
    assert counts.retries >= 5
    assert counts.refused == 0
    assert sum(u.n for u in {u.batch_id: u for u in receiver.uploads}.values()) == counts.rows_sent


def test_a_fleet_gives_up_what_is_refused(receiver: Receiver, base_url: str) -> None:
    receiver.answers = [(400, "")] * 5

    counts = _run(receiver, base_url)

    assert (counts.refused, counts.refused_statuses) == (5, {400: 5})
    assert counts.acknowledged == counts.sent - 5
