"""Ingest over HTTP, with a real uvicorn on loopback."""

import base64
import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ingest.bodies import BodyLimits
from ingest.http_body import RequestLimits
from ingest.receive import ReceiveSettings
from ingest.serve import ServeSettings
from streams.log.memory import MemoryLog
from streams.log.sqlite import SqliteLog
from tests.fakes.ingest_world import (
    APP,
    Declared,
    Running,
    StallingLog,
    bytes_of,
    clock_ms,
    desired,
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
PROTOBUF = "application/x-protobuf"
CLIENT = httpx.Client(trust_env=False, verify=False, timeout=20)  # noqa: S501  # loopback


@pytest.fixture(scope="module", autouse=True)
def _client() -> Iterator[None]:
    with CLIENT:
        yield


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return MemoryLog(2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, log: MemoryLog) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("ingest"), log) as up:
        yield up


def post(
    server: Running, body: bytes | Upload, path: str = "/v1/telemetry", **headers: str
) -> httpx.Response:
    content = body.SerializeToString() if isinstance(body, Upload) else body
    base = {"authorization": f"Bearer {server.key}", "content-type": PROTOBUF}
    sent = base | {name.replace("_", "-"): value for name, value in headers.items()}
    return CLIENT.post(server.http + path, content=content, headers=sent)


def changed(change: Callable[[Upload], object]) -> bytes:
    made = upload()
    change(made)
    return made.SerializeToString()


def json_upload(**over: object) -> bytes:
    names = {
        "app_id": APP, "app_version": "1.0.0", "platform": "android", "os_major": 14,
        "device_tier": "mid", "region": "DE", "network": "wifi", "model_id": "next-word",
        "model_version": "1.0", "runtime": "tflite", "placement": "device", "sdk_version": "0.1.0",
    }  # fmt: skip
    body: dict[str, object] = {
        "batch_id": "ab" * 16,
        "created_ms": clock_ms() - 1_000,
        "context": names,
        "columns": {"latency_ms": [1.0, None, 3.0]},
    }
    return json.dumps(body | over).encode()


def test_a_receipt_comes_after_the_rows_are_in_the_log(server: Running, log: MemoryLog) -> None:
    sent = upload(5)

    answer = post(server, sent)

    receipt = telemetry_pb2.Receipt.FromString(answer.content)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == PROTOBUF
    assert (receipt.batch_id, receipt.received_rows, receipt.accepted_rows) == (sent.batch_id, 5, 5)
    (mine,) = [s for s in segments(log) if s.uploads and kept_id(sent) in bytes_ids(s)]
    assert mine.rows["latency_ms"].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert mine.uploads["enrolled_ms"][0] % 3_600_000 == 0


def bytes_ids(segment: object) -> list[bytes]:
    ids = segment.uploads["batch_id"].tobytes()  # type: ignore[attr-defined]
    return [ids[i : i + 16] for i in range(0, len(ids), 16)]


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
        ("gzip", lambda b: gzip.compress(b[:7]) + gzip.compress(b[7:])),
        ("zstd", lambda b: zstandard.compress(b[:7]) + zstandard.compress(b[7:])),
        ("identity", bytes),
    ],
)
def test_every_encoding_is_read(
    server: Running, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    answer = post(server, compress(upload(2).SerializeToString()), content_encoding=encoding)

    assert telemetry_pb2.Receipt.FromString(answer.content).accepted_rows == 2


def test_json_gets_a_json_receipt(server: Running) -> None:
    answer = post(server, json_upload(extra=1), content_type="application/json; charset=utf-8")

    assert answer.json() == {
        "batch_id": "ab" * 16,
        "received_rows": 3,
        "accepted_rows": 3,
        "refused": [],
        "unknown_fields": 1,
    }


def test_a_chunked_body_without_a_length_is_read(server: Running) -> None:
    body = upload(4).SerializeToString()

    def pieces() -> Iterator[bytes]:
        yield body[:50]
        time.sleep(0.05)
        yield body[50:]

    headers = {"authorization": f"Bearer {server.key}", "content-type": PROTOBUF}
    answer = CLIENT.post(server.http + "/v1/telemetry", content=pieces(), headers=headers)

    assert telemetry_pb2.Receipt.FromString(answer.content).accepted_rows == 4


def many_columns(count: int) -> bytes:
    return upload().SerializeToString() + b"\xc2\x3e\x00" * count  # field 1000, empty


ENROLLED_WITHOUT_TIME = b"\x28\x01\x31" + bytes(8)  # enrolled: true, enrolled_ms: 0
BAD: dict[str, tuple[Callable[[], bytes], dict[str, str], int, str, str]] = {
    "column of another length": (
        lambda: changed(lambda u: u.latency_ms.append(1)), {}, 400, "column_length", "latency_ms"),
    "a million columns": (
        lambda: many_columns(1_000_000), {}, 413, "unknown_fields_max", ""),
    "10 years old": (
        lambda: changed(lambda u: setattr(u, "created_ms", clock_ms() - 3650 * DAY_MS)),
        {}, 422, "created_too_old", "created_ms"),
    "in the future": (
        lambda: changed(lambda u: setattr(u, "created_ms", clock_ms() + 120_000)),
        {}, 422, "created_in_future", "created_ms"),
    "unknown model": (
        lambda: changed(lambda u: setattr(u.context, "model_id", "other")),
        {}, 422, "unknown_model", "context.model_id"),
    "free text for a region": (
        lambda: changed(lambda u: setattr(u.context, "region", "my home is 52.5,13.4")),
        {}, 422, "unknown_region", "context.region"),
    "another app than the key's": (
        lambda: changed(lambda u: setattr(u.context, "app_id", "camera")),
        {}, 403, "key_other_app", "context.app_id"),
    "platform not given": (
        lambda: changed(lambda u: setattr(u.context, "platform", 0)),
        {}, 422, "unknown_platform", "context.platform"),
    "enrolled without a time": (
        lambda: changed(lambda u: u.MergeFromString(ENROLLED_WITHOUT_TIME)),
        {}, 422, "enrolled_ms_missing", "enrolled_ms"),
    "an IMEI for an enrolment time": (
        lambda: changed(lambda u: setattr(u, "enrolled_ms", 356938035643809)),
        {}, 422, "enrolled_ms_out_of_bounds", "enrolled_ms"),
    "missing key": (
        lambda: changed(lambda u: None), {"authorization": ""},
        401, "key_missing", "authorization"),
    "wrong key": (
        lambda: changed(lambda u: None), {"authorization": "Bearer hfk_00000000_" + "x" * 43},
        401, "key_unknown", "authorization"),
    "wrong content type": (
        lambda: changed(lambda u: None), {"content_type": "text/plain"},
        415, "content_type_unknown", "content-type"),
    "unknown content encoding": (
        lambda: changed(lambda u: None), {"content_encoding": "br"},
        415, "content_encoding_unknown", "content-encoding"),
    "truncated gzip": (
        lambda: gzip.compress(upload().SerializeToString())[:-9], {"content_encoding": "gzip"},
        400, "malformed_encoding", "content-encoding"),
    "truncated zstd": (
        lambda: zstandard.compress(upload(200).SerializeToString())[:-9],
        {"content_encoding": "zstd"}, 400, "malformed_encoding", "content-encoding"),
    "a gzip bomb": (
        lambda: gzip.compress(bytes(64 << 20)), {"content_encoding": "gzip"},
        413, "ratio_too_high", "body"),
    "a zstd bomb": (
        lambda: zstandard.compress(bytes(64 << 20)), {"content_encoding": "zstd"},
        413, "ratio_too_high", "body"),
    "17 MiB": (lambda: bytes(17 << 20), {}, 413, "body_too_large", "body"),
    "empty body": (lambda: b"", {}, 400, "empty_body", ""),
    "invalid UTF-8": (
        lambda: upload().SerializeToString().replace(b"keyboard", b"keyb\xff\xfe\xfd\xfc"),
        {}, 400, "malformed_protobuf", "context"),
    "invalid UTF-8 in JSON": (
        lambda: json_upload().replace(b"keyboard", b"keyb\xff\xfe\xfd\xfc"),
        {"content_type": "application/json"}, 400, "malformed_json", ""),
    "invalid protobuf": (lambda: b"\xff" * 40, {}, 400, "malformed_protobuf", ""),
    "deep JSON": (
        lambda: b"[" * 100_000, {"content_type": "application/json"}, 400, "malformed_json", ""),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_by_name_and_its_neighbours_commit(
    server: Running, log: MemoryLog, what: str
) -> None:
    make, headers, status, code, field = BAD[what]
    before = server.receiver.totals().get(f"uploads:rejected:{code}", 0)
    neighbours = [upload(1) for _ in range(3)]
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda u=u: answers.append(post(server, u))) for u in neighbours
    ]
    for thread in threads:
        thread.start()

    answer = post(server, make(), **headers)

    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (status, code, field)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.keys() == {"type", "title", "status", "detail", "code", "field", "accepted"}
    assert problem["status"] == status
    assert problem["accepted"]
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for thread in threads:
        thread.join()
    assert [a.status_code for a in answers] == [200] * 3
    assert server.receiver.totals()[f"uploads:rejected:{code}"] == before + 1


BAD_ROWS: dict[str, tuple[Callable[[Upload], object], str, str]] = {
    "NaN": (
        lambda u: u.latency_ms.__setitem__(1, float("nan")), "metric_not_finite", "latency_ms"),
    "infinite": (
        lambda u: u.latency_ms.__setitem__(1, float("inf")), "metric_not_finite", "latency_ms"),
    "negative": (lambda u: u.latency_ms.__setitem__(1, -1), "metric_out_of_bounds", "latency_ms"),
    "too large": (
        lambda u: u.bytes_sent.__setitem__(1, 1_000_000_001), "metric_out_of_bounds", "bytes_sent"),
    "no such class": (
        lambda u: u.prediction_class.__setitem__(1, 20),
        "class_not_registered", "prediction_class"),
    "an old event": (
        lambda u: u.event_offset_ms.__setitem__(1, 7 * DAY_MS), "event_too_old", "event_offset_ms"),
    "a bet that is no flag": (
        lambda u: u.unit_bet.__setitem__(1, 7), "unit_bet_not_a_flag", "unit_bet"),
    "a second bet": (lambda u: u.unit_bet.__setitem__(1, 1), "unit_bet_repeated", "unit_bet"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_bad_value_costs_its_row_and_is_named_in_the_receipt(server: Running, what: str) -> None:
    change, code, field = BAD_ROWS[what]

    answer = post(server, changed(change))

    receipt = telemetry_pb2.Receipt.FromString(answer.content)
    assert (answer.status_code, receipt.received_rows, receipt.accepted_rows) == (200, 3, 2)
    assert [(r.code, r.field, r.rows) for r in receipt.refused] == [(code, field, 1)]
    assert receipt.refused[0].accepted


def test_a_few_unknown_columns_are_counted_and_left_out(server: Running) -> None:
    answer = post(server, many_columns(1000))

    receipt = telemetry_pb2.Receipt.FromString(answer.content)
    assert (receipt.accepted_rows, receipt.unknown_fields) == (3, 1000)


def test_rows_of_a_rollout_that_does_not_stand_are_kept_outside_it(
    server: Running, log: MemoryLog
) -> None:
    late = upload(2)
    late.context.rollout_id = "me@example.org"
    late.unit_days.add(day=0, energy_mj=1.0)

    receipt = telemetry_pb2.Receipt.FromString(post(server, late).content)

    (mine,) = [s for s in segments(log) if s.uploads and kept_id(late) in bytes_ids(s)]
    context = mine.contexts[mine.uploads["context"][bytes_ids(mine).index(kept_id(late))]]
    assert receipt.accepted_rows == 2
    assert (context.rollout_id, context.step, context.arm) == ("", 0, "")
    assert [(r.code, r.field) for r in receipt.refused] == [("outside_rollout", "unit_days")]
    assert mine.tallies["fields:unknown_rollout"] >= 1


def test_everything_received_is_accepted_or_refused(tmp_path: Path) -> None:
    log = MemoryLog(2)
    with running(tmp_path, log) as server:
        for make, headers, *_ in BAD.values():
            post(server, make(), **headers)
        for change, *_ in BAD_ROWS.values():
            post(server, changed(change))
        post(server, upload(10))

    tallies = tallied(log)
    rows = sum(int(s.uploads["n"].sum()) for s in segments(log) if s.uploads)
    uploads = sum(len(s.uploads["n"]) for s in segments(log) if s.uploads)

    def rejected(what: str) -> int:
        return sum(c for name, c in tallies.items() if name.startswith(f"{what}:rejected:"))

    assert tallies["rows:received"] == rows + rejected("rows")
    assert tallies["uploads:received"] == uploads + rejected("uploads")
    assert tallies["uploads:received"] == len(BAD) + len(BAD_ROWS) + 1


CANARIES = {
    "mail": b"canary@example.org",
    "phone": b"+491701234567",
    "imei": b"356938035643809",
    "gps": b"52.520008,13.404954",
    "address": b"203.0.113.77",
    "advertising": b"38400000-8cf0-11bd-b23e-10b96e40000d",
}


def test_no_planted_identifier_reaches_the_log_or_the_metrics(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = SqliteLog(tmp_path / "log", partitions=1, now_ms=clock_ms)
    strings = [f.name for f in telemetry_pb2.Context.DESCRIPTOR.fields if f.type == f.TYPE_STRING]
    with running(tmp_path, log) as server:
        for canary in CANARIES.values():
            text = canary.decode()
            headers = {"user_agent": text, "x_forwarded_for": text, "cookie": text, "x_a": text}
            for name in strings:
                sent = upload(1)
                setattr(sent.context, name, text)
                post(server, sent, **headers)
            unknown = bytes([0xFA, 0x3E, len(canary)]) + canary  # field 1007
            sent = upload(1)
            sent.context.MergeFromString(unknown)
            answer = post(
                server, sent.SerializeToString() + unknown, f"/v1/telemetry?{text}", **headers
            )
            assert telemetry_pb2.Receipt.FromString(answer.content).unknown_fields == 2
            post(server, json_upload(note=text), content_type="application/json", **headers)
        control = upload(1)
        post(server, control)
        seen = CLIENT.get(server.http + "/metrics").content
    log.close()

    stored = b"".join(f.read_bytes() for f in (tmp_path / "log").iterdir())
    assert kept_id(control) in stored  # the search finds what is there
    assert b"next-word" in stored
    for canary in CANARIES.values():
        assert canary not in stored
        assert canary not in seen
        assert canary not in caplog.text.encode()


def test_a_full_queue_says_come_back_and_nothing_is_lost(tmp_path: Path) -> None:
    log = StallingLog()
    with running(tmp_path, log, receive=ReceiveSettings(waiting_uploads_max=4)) as server:
        log.gate.clear()
        answers: list[httpx.Response] = []
        threads = [
            threading.Thread(target=lambda: answers.append(post(server, upload(1))))
            for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        while len(answers) < 8:
            time.sleep(0.01)
        log.gate.set()
        for thread in threads:
            thread.join()

    refused = [a for a in answers if a.status_code == 503]
    assert sorted(a.status_code for a in answers) == [200] * 4 + [503] * 8
    assert {a.json()["code"] for a in refused} == {"overloaded"}
    assert all(1 <= int(a.headers["retry-after"]) <= 5 for a in refused)
    assert len({a.headers["retry-after"] for a in refused}) > 1
    assert tallied(log)["uploads:received"] == 4


def test_a_log_that_cannot_write_makes_everyone_come_back_and_is_not_ready(tmp_path: Path) -> None:
    log = StallingLog()
    with running(tmp_path, log) as server:
        log.refusal = TransientError("log_full", "the disk's reserve is touched")

        answer = post(server, upload(1))
        assert (answer.status_code, answer.json()["code"]) == (503, "log_full")
        assert CLIENT.get(server.http + "/readyz").status_code == 503

        log.refusal = None
        assert post(server, upload(1)).status_code == 200
        assert CLIENT.get(server.http + "/readyz").json() == {"status": "ready"}


def test_without_a_desired_state_uploads_come_back(tmp_path: Path) -> None:
    with running(tmp_path, MemoryLog(), declared=Declared(None)) as server:
        answer = post(server, upload(1))

        assert (answer.status_code, answer.json()["code"]) == (503, "desired_state_missing")
        assert CLIENT.get(server.http + "/readyz").status_code == 503
        assert CLIENT.get(server.http + f"/v1/releases/{APP}").status_code == 503
        server.declared.state = desired()
        assert post(server, upload(1)).status_code == 200


def test_a_body_that_trickles_is_cut_off(tmp_path: Path) -> None:
    request = RequestLimits(body_deadline_s=0.3)
    settings = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0, request=request)
    with running(tmp_path, MemoryLog(), settings=settings) as server:
        host, _, port = server.http.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as slow:
            slow.sendall(
                f"POST /v1/telemetry HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.key}\r\n"
                f"content-type: {PROTOBUF}\r\ncontent-length: 1000\r\n\r\nab".encode()
            )
            began = time.monotonic()
            answer = slow.recv(65_536)
            while more := slow.recv(65_536):
                answer += more

        assert answer.startswith(b"HTTP/1.1 408")
        assert b"body_too_slow" in answer
        assert time.monotonic() - began < 3


def test_a_refused_body_is_not_read_to_its_end(server: Running) -> None:
    connection = http.client.HTTPConnection(server.http.removeprefix("http://"), timeout=5)
    connection.putrequest("POST", "/v1/telemetry")
    connection.putheader("content-length", str(1 << 40))
    connection.putheader("authorization", f"Bearer {server.key}")
    connection.putheader("content-type", PROTOBUF)
    connection.endheaders()

    answer = connection.getresponse()

    assert (answer.status, answer.headers["connection"]) == (413, "close")
    answer.read()
    connection.close()


def test_another_method_is_refused(server: Running) -> None:
    answer = CLIENT.get(server.http + "/v1/telemetry")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_validation_says_what_would_happen_and_stores_nothing(
    server: Running, log: MemoryLog
) -> None:
    stored = len(segments(log))
    sent = upload(3)
    sent.latency_ms[0] = -1

    body = sent.SerializeToString() + b"\xc2\x3e\x00"
    report = post(server, body, "/v1/telemetry:validate").json()
    refused = post(
        server,
        json_upload(noise=1, columns={"latency": [1]}),
        "/v1/telemetry:validate",
        content_type="application/json",
    ).json()

    assert (report["accepted"], report["received_rows"], report["accepted_rows"]) == (True, 3, 2)
    assert report["refused"][0]["code"] == "metric_out_of_bounds"
    assert report["refused"][0]["accepted"] == "0 to 600000 ms"
    assert report["unknown_fields"] == ["field 1000"]
    assert refused["unknown_fields"] == ["columns.latency", "noise"]
    assert not [s for s in segments(log)[stored:] if s.uploads]
    assert post(server, sent, "/v1/telemetry:validate", authorization="").status_code == 401


def test_release_config_is_signed_and_cacheable(server: Running) -> None:
    url = f"{server.http}/v1/releases/{APP}"
    answer = CLIENT.get(url)
    key = CLIENT.get(server.http + "/v1/releases/keys").json()["keys"][0]["public_key"]
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key))
    signature = base64.b64decode(answer.headers["holdfast-signature"].removeprefix("ed25519="))

    public.verify(signature, answer.content)
    with pytest.raises(InvalidSignature):
        public.verify(signature, answer.content + b" ")
    assert answer.json()["models"][0]["rollout"]["rollout_id"] == "next-word-2"
    assert "max-age" in answer.headers["cache-control"]
    again = CLIENT.get(url, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert CLIENT.get(server.http + "/v1/releases/nothing").status_code == 404


@pytest.mark.parametrize("state", [{"share": 0.0}, {"hold_until_ms": 1 << 60}])
def test_a_withdrawn_candidate_leaves_the_config_and_changes_its_etag(
    tmp_path: Path, state: dict[str, float]
) -> None:
    with running(tmp_path, MemoryLog()) as server:
        url = f"{server.http}/v1/releases/{APP}"
        before = CLIENT.get(url)

        server.declared.state = desired(**state)  # type: ignore[arg-type]
        after = CLIENT.get(url, headers={"if-none-match": before.headers["etag"]})

        assert after.status_code == 200
        assert after.json()["models"][0]["rollout"] is None
        assert after.json()["models"][0]["stable"]["version"] == "1.0"


def test_a_rotated_key_overlaps_and_a_revoked_one_stops(server: Running) -> None:
    old_id = server.keys.create(APP)[4:12]
    new = server.keys.rotate(old_id, overlap_ms=60_000)

    assert post(server, upload(1), authorization=f"Bearer {new}").status_code == 200
    server.keys.revoke(new[4:12])
    answer = post(server, upload(1), authorization=f"Bearer {new}")
    assert (answer.status_code, answer.json()["code"]) == (401, "key_unknown")


def test_openapi_names_the_upload_path_and_the_metrics_count(server: Running) -> None:
    document = CLIENT.get(server.http + "/openapi.json").json()
    metrics = CLIENT.get(server.http + "/metrics").text

    assert {"/v1/telemetry", "/v1/telemetry:validate", "/v1/releases/{app_id}"} <= set(
        document["paths"]
    )
    assert 'holdfast_ingest_received_total{what="uploads"}' in metrics
    assert CLIENT.get(server.http + "/livez").status_code == 200


def test_a_stopped_server_is_unready_first_and_answers_what_it_took(tmp_path: Path) -> None:
    log = StallingLog()
    settings = ServeSettings(http_port=0, grpc_port=0, unready_s=0.3)
    answers: list[httpx.Response] = []
    with running(tmp_path, log, settings=settings) as server:
        log.gate.clear()
        waiting = threading.Thread(target=lambda: answers.append(post(server, upload(1))))
        waiting.start()
        while not server.receiver.admission.in_flight:
            time.sleep(0.01)
        threading.Timer(0.6, log.gate.set).start()
        began = time.monotonic()
    waiting.join()

    assert answers[0].status_code == 200
    assert tallied(log)["rows:received"] == 1
    assert time.monotonic() - began < 10


def test_ticks_go_to_every_partition(tmp_path: Path) -> None:
    log = MemoryLog(3)
    with running(tmp_path, log):
        time.sleep(1.2)

    assert all(log.end(p) >= 1 for p in range(3))
    assert {s.kind.value for s in segments(log)} == {"tick"}


def test_small_caps_can_be_set(tmp_path: Path) -> None:
    request = RequestLimits(body=BodyLimits(wire_bytes_max=100))
    settings = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0, request=request)
    with running(tmp_path, MemoryLog(), settings=settings) as server:
        answer = post(server, upload(20))

        assert (answer.status_code, answer.json()["accepted"]) == (413, "at most 100 bytes")


def test_the_log_holds_minutes_and_cohorts_not_moments(tmp_path: Path) -> None:
    log = MemoryLog(1)
    sent = upload(2)
    with running(tmp_path, log) as server:
        post(server, sent)

    (mine,) = [s for s in segments(log) if s.uploads]
    assert mine.rows["event_minute"].tolist() == [
        (sent.created_ms - offset) // 60_000 for offset in sent.event_offset_ms
    ]
    assert mine.uploads["enrolled_ms"].tolist() == [sent.enrolled_ms - sent.enrolled_ms % 3_600_000]
    assert sent.created_ms.to_bytes(8, "little") not in bytes_of(log)
    assert sent.enrolled_ms.to_bytes(8, "little") not in bytes_of(log)
