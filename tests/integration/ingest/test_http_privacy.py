"""Nothing that names a person or a moment reaches the log or the metrics."""

import logging
from pathlib import Path

import pytest

from streams.log.memory import MemoryLog
from streams.log.sqlite import SqliteLog
from tests.fakes.canaries import databases
from tests.fakes.ingest_world import bytes_of, clock_ms, kept_id, running, segments, upload
from tests.fakes.phone_http import CLIENT, json_upload, post
from wire.pb import telemetry_pb2

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
    caplog.set_level(logging.DEBUG)
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
        seen = CLIENT.get(server.health + "/metrics").content
    log.close()

    places = [part for _, part in databases(tmp_path)]  # unpacked
    places += [f.read_bytes() for f in (tmp_path / "log").iterdir()]
    stored = b"\n".join(places)
    assert kept_id(control) in stored  # the search finds what is there
    assert b"next-word" in stored
    ours = [r for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))]  # the phone
    said = "\n".join(f"{r.getMessage()} {vars(r)}" for r in ours)
    for canary in CANARIES.values():
        assert canary not in stored
        assert canary not in seen
        assert canary.decode() not in said


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
