"""Ingest over HTTP, with a real uvicorn on loopback."""

import gzip
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import APP, Running, kept_id, running, segments, upload
from tests.fakes.phone_http import CLIENT, PROTOBUF, bytes_ids, json_upload, post
from wire.pb import telemetry_pb2


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


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
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


def test_a_rotated_key_overlaps_and_a_revoked_one_stops(server: Running) -> None:
    old_id = server.keys.create(APP)[4:12]
    new = server.keys.rotate(old_id, overlap_ms=60_000)

    assert post(server, upload(1), authorization=f"Bearer {new}").status_code == 200
    server.keys.revoke(new[4:12])
    answer = post(server, upload(1), authorization=f"Bearer {new}")
    assert (answer.status_code, answer.json()["code"]) == (401, "key_unknown")


def test_openapi_names_the_upload_path_and_the_metrics_count(server: Running) -> None:
    document = CLIENT.get(server.health + "/openapi.json").json()
    metrics = CLIENT.get(server.health + "/metrics").text

    assert {"/v1/telemetry", "/v1/telemetry:validate", "/v1/releases/{app_id}"} <= set(
        document["paths"]
    )
    assert 'holdfast_ingest_received_total{what="uploads"}' in metrics
    assert CLIENT.get(server.http + "/livez").status_code == 200


def test_ticks_go_to_every_partition(tmp_path: Path) -> None:
    log = MemoryLog(3)
    with running(tmp_path, log):
        time.sleep(1.2)

    assert all(log.end(p) >= 1 for p in range(3))
    assert {s.kind.value for s in segments(log)} == {"tick"}
