"""What is refused over HTTP: by name, with what would be accepted, and nothing else is lost."""

import gzip
import http.client
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import zstandard

from ingest.bodies import BodyLimits
from ingest.http_body import RequestLimits
from ingest.serve import ServeSettings
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import Running, changed, clock_ms, running, segments, tallied, upload
from tests.fakes.phone_http import CLIENT, PROTOBUF, Upload, json_upload, many_columns, post
from wire.pb import telemetry_pb2
from wire.times import DAY_MS

ENROLLED_WITHOUT_TIME = b"\x28\x01\x31" + bytes(8)  # enrolled: true, enrolled_ms: 0
BAD: dict[str, tuple[Callable[[], bytes], dict[str, str], int, str, str]] = {
    "column of another length": (
        lambda: changed(lambda u: u.latency_ms.append(1)), {}, 400, "column_length", "latency_ms"),
    "a million columns": (
        lambda: many_columns(1_000_000), {}, 413, "decoded_too_large", "body"),
    "a hundred thousand columns": (
        lambda: many_columns(100_000), {}, 413, "unknown_fields_max", ""),
    "10 years old": (
        lambda: changed(lambda u: setattr(u, "created_ms", clock_ms() - 3650 * DAY_MS)),
        {}, 422, "created_too_old", "created_ms"),
    "in the future": (
        lambda: changed(lambda u: setattr(u, "created_ms", clock_ms() + 120_000)),
        {}, 422, "created_in_future", "created_ms"),
    "unknown model": (
        lambda: changed(lambda u: setattr(u.context, "model_id", "other")),
        {}, 422, "unknown_model", "context.model_id"),
    "free text for a model's version": (
        lambda: changed(lambda u: setattr(u.context, "model_version", "my home is 52.5,13.4")),
        {}, 422, "unknown_model_version", "context.model_version"),
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


def test_small_caps_can_be_set(tmp_path: Path) -> None:
    request = RequestLimits(body=BodyLimits(wire_bytes_max=100))
    settings = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0, request=request)
    with running(tmp_path, MemoryLog(), settings=settings) as server:
        answer = post(server, upload(20))

        assert (answer.status_code, answer.json()["accepted"]) == (413, "at most 100 bytes")


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


@pytest.mark.parametrize("path", ["/v1/releases/keyboard/", "/v1/releases/%2e%2e%2f", "/v1/tuf/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_nobody_is_sent_to_the_host_that_a_client_names(
    server: Running, method: str, path: str
) -> None:
    answer = CLIENT.request(method, server.http + path, headers={"Host": "evil.example"})

    assert answer.status_code == 404
    assert "location" not in answer.headers
    if method != "HEAD":
        assert answer.json()["code"] == "path_unknown"


@pytest.mark.parametrize(
    ("path", "accepted"),
    [("/livez", "GET"), ("/v1/releases/keyboard", "GET"), ("/v1/grants", "POST")],
)
def test_a_method_that_a_path_does_not_take_is_named(
    server: Running, path: str, accepted: str
) -> None:
    answer = CLIENT.request("DELETE", server.http + path)

    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["allow"] == accepted
    assert (answer.json()["code"], answer.json()["accepted"]) == ("method_not_allowed", accepted)
