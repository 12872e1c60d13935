"""Overload, a full log, slow bodies and an ending: phones come back, and nothing is lost."""

import socket
import threading
import time
from pathlib import Path

import httpx

from ingest.http_body import RequestLimits
from ingest.receive import ReceiveSettings
from ingest.serve import ServeSettings
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import APP, Declared, StallingLog, desired, running, tallied, upload
from tests.fakes.phone_http import CLIENT, PROTOBUF, post
from wire.errors import TransientError


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
