"""While strangers wait for turns that never come, phones with a key are served."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from bench import door_frames as h2
from ingest.quota import QuotaLimits
from ingest.serve import ServeSettings
from ingest.turns import Turns
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import Running, running, upload
from tests.fakes.raw_http import answer, connect, request

PLAIN = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0)


@pytest.fixture
def no_turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(Turns, "_serve", lambda _self: None)
        yield


def silent(connection: socket.socket) -> bool:
    connection.settimeout(0.3)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(60)
    return False


@pytest.mark.usefixtures("no_turns")
def test_a_key_in_the_first_bytes_needs_no_turn(tmp_path: Path) -> None:
    with running(tmp_path, MemoryLog(1), settings=PLAIN) as server:
        with connect(server) as stranger:
            stranger.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            assert silent(stranger)
        with connect(server) as phone:
            for _ in range(3):
                phone.sendall(request(server, upload().SerializeToString()))
                assert answer(phone)[0] == 200


@pytest.mark.usefixtures("no_turns")
def test_a_key_in_a_head_that_has_no_end_yet_needs_no_turn(tmp_path: Path) -> None:
    with running(tmp_path, MemoryLog(1), settings=PLAIN) as server, connect(server) as phone:
        whole = request(server, upload().SerializeToString())
        at = whole.index(b"\r\n\r\n") + 2
        phone.sendall(whole[:at])
        assert silent(phone)
        phone.sendall(whole[at:])
        assert answer(phone)[0] == 200


@pytest.mark.usefixtures("no_turns")
@pytest.mark.parametrize("odd", [b"", b"Expect: x\r\n", b"X: " + b"a" * 3_000 + b"\r\n"])
def test_a_body_behind_a_key_needs_no_turn_in_any_pieces(tmp_path: Path, odd: bytes) -> None:
    with running(tmp_path, MemoryLog(1), settings=PLAIN) as server, connect(server) as phone:
        whole = request(server, upload().SerializeToString())
        start, _, rest = whole.partition(b"\r\n")
        head, _, body = (start + b"\r\n" + odd + rest).partition(b"\r\n\r\n")
        phone.sendall(head + b"\r\n\r\n")
        for at in range(0, len(body), 100):
            phone.sendall(body[at : at + 100])
        assert answer(phone)[0] == 200


@pytest.mark.usefixtures("no_turns")
@pytest.mark.parametrize("key", ["", "hfk_00000000_" + "A" * 43, "used up"])
def test_whoever_shows_no_key_that_may_send_waits(tmp_path: Path, key: str) -> None:
    quota = QuotaLimits(uploads_s=1.0, burst_s=1.0)
    with running(tmp_path, MemoryLog(1), settings=replace(PLAIN, quota=quota)) as server:
        sent = request(server, upload().SerializeToString())
        if key == "used up":
            with connect(server) as phone:
                phone.sendall(sent)
                assert answer(phone)[0] == 200
        else:
            sent = sent.replace(server.key.encode(), key.encode())
        with connect(server) as stranger:
            stranger.sendall(sent)
            assert silent(stranger)


ONE = QuotaLimits(uploads_s=0.001, burst_s=5 * 3600.0)  # upload or ask, and none for minutes


def asked(server: Running) -> bytes:
    return request(server, b"").replace(b"POST /v1/telemetry", b"GET /v1/releases/keyboard", 1)


@pytest.mark.usefixtures("no_turns")
def test_whoever_asks_too_much_with_a_key_waits(tmp_path: Path) -> None:
    with running(tmp_path, MemoryLog(1), settings=replace(PLAIN, quota=ONE)) as server:
        with connect(server) as greedy:
            greedy.sendall(asked(server))
            assert answer(greedy)[0] != 429
            greedy.sendall(asked(server))
            assert silent(greedy)
        with connect(server) as greedy:
            greedy.sendall(asked(server))
            assert silent(greedy)
        other_app = server.keys.create("camera")
        with connect(server) as phone:
            phone.sendall(asked(server).replace(server.key.encode(), other_app.encode()))
            assert answer(phone)[0] < 500


@pytest.mark.usefixtures("no_turns")
def test_calls_beyond_the_share_wait(tmp_path: Path) -> None:
    with running(tmp_path, MemoryLog(1), settings=replace(PLAIN, quota=ONE)) as server:
        host, _, port = server.grpc.partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as greedy:
            first = h2.call(1, "None", key=server.key)
            greedy.sendall(h2.PREFACE + h2.settings() + first)
            while 1 not in streams(received(greedy)):
                pass
            greedy.sendall(h2.call(3, "None", key=server.key))
            greedy.settimeout(0.3)
            with suppress(TimeoutError):
                while True:
                    assert 3 not in streams(received(greedy))
        with socket.create_connection((host, int(port)), timeout=60) as greedy:
            greedy.sendall(h2.PREFACE + h2.settings() + first)
            assert silent(greedy)


def received(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 16)
    assert data, "the server hung up"
    return data


def streams(frames: bytes) -> set[int]:
    """Which streams whole frames belong to."""
    found = set()
    while frames:
        found.add(int.from_bytes(frames[5:9]))
        frames = frames[9 + int.from_bytes(frames[:3]) :]
    return found


def test_whoever_asks_too_much_with_a_key_has_its_answers_in_turns(tmp_path: Path) -> None:
    with running(tmp_path, MemoryLog(1), settings=replace(PLAIN, quota=ONE)) as server:
        for _ in range(3):
            with connect(server) as greedy:
                greedy.sendall(asked(server))
                assert answer(greedy)[0] in (200, 404)
        metadata = [("authorization", f"Bearer {server.key}")]
        for _ in range(3):
            with grpc.insecure_channel(server.grpc) as channel:
                call = channel.unary_unary("/holdfast.v1.Telemetry/None")
                for _ in range(3):
                    with pytest.raises(grpc.RpcError) as refused:
                        call(b"", metadata=metadata, timeout=60)
                    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with grpc.insecure_channel(server.grpc) as channel:
            send = channel.unary_unary("/holdfast.v1.Telemetry/Upload")
            assert send(upload().SerializeToString(), metadata=metadata, timeout=60)


def test_with_turns_everybody_is_answered(tmp_path: Path) -> None:
    with running(tmp_path, MemoryLog(1), settings=PLAIN) as server:
        strangers = [connect(server) for _ in range(200)]
        for one in strangers:
            one.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert {answer(one)[0] for one in strangers} == {200}
        for one in strangers:
            one.close()
