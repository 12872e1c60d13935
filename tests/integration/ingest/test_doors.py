"""What a client without a key, or without manners, can do to the door: nothing to the others."""

import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ingest.connections import ConnectionLimits
from ingest.http_body import RequestLimits
from ingest.receive import ReceiveSettings
from ingest.serve import ServeSettings
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import Running, StallingLog, running, upload
from tests.fakes.node_world import until
from tests.fakes.phone_http import CLIENT, post
from tests.fakes.raw_http import answer, batch_of, connect, ended, request

TIGHT = ServeSettings(
    http_port=0,
    grpc_port=0,
    unready_s=0.0,
    request=RequestLimits(body_deadline_s=1.0),
    connections=ConnectionLimits(
        connections_max=60, per_address_max=50, head_s=0.5, rest_s=1.0, sweep_s=0.05
    ),
)


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("tight"), MemoryLog(1), settings=TIGHT) as up:
        yield up


def test_a_half_closed_client_gets_its_receipt(tmp_path: Path) -> None:
    log = StallingLog()
    ways: tuple[list[str], ...] = ([], ["X.Odd: 1"], ["Connection: close"])
    with running(tmp_path, log) as server:
        for more in ways:
            log.gate.clear()
            sent = upload()
            with connect(server) as one:
                one.sendall(request(server, sent.SerializeToString(), *more))
                one.shutdown(socket.SHUT_WR)
                until(lambda: server.receiver.admission.in_flight == 1, "an upload under way")
                log.gate.set()
                status, body = answer(one)
                assert (status, batch_of(body)) == (200, sent.batch_id)
                assert one.recv(1) == b""


def test_a_client_that_half_closes_after_pipelining_gets_every_receipt(server: Running) -> None:
    sent = [upload() for _ in range(20)]
    with connect(server) as one:
        one.sendall(b"".join(request(server, made.SerializeToString()) for made in sent))
        one.shutdown(socket.SHUT_WR)

        assert [batch_of(answer(one)[1]) for _ in sent] == [made.batch_id for made in sent]
        assert one.recv(1) == b""


UPGRADES = {
    "h2c": ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"],
    "websocket": ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: eA=="],
    "unknown": ["Connection: keep-alive, upgrade", "Upgrade: foo/2"],
    "no connection header": ["Upgrade: h2c"],
    "odd case": ["CONNECTION: UPGRADE", "uPGRADE: H2C"],
}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("what", UPGRADES)
def test_upgrade_is_refused_and_its_body_is_no_request(
    server: Running, what: str, together: bool
) -> None:
    smuggled = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"
    whole = request(server, smuggled, *UPGRADES[what])
    with connect(server) as one:
        for piece in [whole] if together else [whole[: -len(smuggled)], smuggled]:
            one.sendall(piece)
        status, body = answer(one)

        assert (status, json.loads(body)["code"]) == (400, "upgrade_refused")
        one.sendall(smuggled)
        assert ended(one)


@pytest.mark.parametrize("chunk", [b"a" * 65_536, b"X-Some: 1\r\n" * 6000])
def test_a_head_without_end_is_refused(server: Running, chunk: bytes) -> None:
    with connect(server) as one:
        one.sendall(b"POST /v1/telemetry HTTP/1.1\r\nHost: x\r\nX-A: " + chunk)
        status, body = answer(one)

        assert (status, json.loads(body)["code"]) == (431, "head_too_large")
        assert ended(one)


def test_empty_lines_without_end_are_refused(server: Running) -> None:
    with connect(server) as one:
        one.sendall(b"\r\n" * 9000)
        assert answer(one)[0] == 431


@pytest.mark.parametrize("name", ["X{}.y", "X{}"], ids=["ordinary way", "short way"])
def test_too_many_headers_are_refused_and_many_are_not(server: Running, name: str) -> None:
    sent = upload().SerializeToString()
    for count, expected in ((80, 200), (120, 431)):
        with connect(server) as one:
            one.sendall(request(server, sent, *(name.format(i) + ": 1" for i in range(count))))
            assert answer(one)[0] == expected


@pytest.mark.parametrize("name", ["X.y", "X"], ids=["ordinary way", "short way"])
def test_a_whole_head_that_is_too_large_is_refused(server: Running, name: str) -> None:
    sent = upload().SerializeToString()
    for size, expected in ((12_000, 200), (17_000, 431), (100_000, 431)):
        with connect(server) as one:
            one.sendall(request(server, sent, f"{name}: {'a' * size}"))
            assert answer(one)[0] == expected


def test_a_head_that_trickles_is_cut_off(tight: Running) -> None:
    with connect(tight) as one:
        one.sendall(b"POST /v1/telemetry HTTP/1.1\r\nHost: x\r\nX: ")
        status, body = answer(one)

        assert (status, json.loads(body)["code"]) == (408, "head_too_slow")


def test_a_connection_that_says_nothing_is_closed(tight: Running) -> None:
    with connect(tight) as one:
        assert one.recv(1) == b""


def test_idle_connections_never_make_an_upload_fail(tmp_path: Path) -> None:
    limits = ConnectionLimits(connections_max=60, per_address_max=50)
    settings = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0, connections=limits)
    with running(tmp_path, MemoryLog(1), settings=settings) as server, ExitStack() as opened:
        known = opened.enter_context(connect(server))
        known.sendall(request(server, upload().SerializeToString()))
        assert answer(known)[0] == 200
        for _ in range(3):
            for begun in (b"", b"POST /v1/tel", b"GET /livez HTTP/1.1\r\nX: "):
                for _ in range(30):
                    opened.enter_context(connect(server)).sendall(begun)
            known.sendall(request(server, upload().SerializeToString()))
            assert answer(known)[0] == 200
            assert post(server, upload()).status_code == 200
            assert CLIENT.get(server.http + "/livez").status_code == 200
            assert CLIENT.get(server.http + "/readyz").status_code == 200
        open_now = CLIENT.get(server.health + "/metrics").text

    assert "holdfast_ingest_connections 50.0" in open_now


def test_half_sent_bodies_make_room_too(tmp_path: Path) -> None:
    limits = ConnectionLimits(connections_max=20, per_address_max=20, grace_s=0.0)
    settings = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0, connections=limits)
    with running(tmp_path, MemoryLog(1), settings=settings) as server, ExitStack() as opened:
        half = request(server, bytes(10), length=100_000)
        parts = [opened.enter_context(connect(server)) for _ in range(20)]
        for one in parts:
            one.sendall(half)
        until(lambda: server.receiver.admission.part_bytes == 200, "20 bodies under way")

        assert post(server, upload()).status_code == 200
        evicted = [reply for one in parts if (reply := said(one))]
        assert len(evicted) == 1
        assert evicted[0].startswith(b"HTTP/1.1 503")
        assert b"retry-after: " in evicted[0]
        assert b"application/problem+json" in evicted[0]


def said(connection: socket.socket) -> bytes:
    """What came so far, without waiting."""
    connection.setblocking(False)
    try:
        return connection.recv(65_536)
    except BlockingIOError:
        return b""


def test_what_is_announced_takes_no_room(tmp_path: Path) -> None:
    with running(tmp_path, MemoryLog(1)) as server, ExitStack() as opened:
        for _ in range(40):
            one = opened.enter_context(connect(server))
            one.sendall(request(server, b"{", length=4 << 20))
        until(lambda: server.receiver.admission.part_bytes == 40, "40 bodies under way")

        assert post(server, upload()).status_code == 200


def chunked(server: Running, size: int) -> bytes:
    head = request(server, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    return head + b"%x\r\n" % size + bytes(size) + b"\r\n"


def test_chunks_count_as_they_come_and_whole_uploads_find_room(tmp_path: Path) -> None:
    few = ReceiveSettings(waiting_bytes_max=4 << 20)
    with running(tmp_path, MemoryLog(1), receive=few) as server, ExitStack() as opened:
        for _ in range(3):
            opened.enter_context(connect(server)).sendall(chunked(server, 600_000))
        until(lambda: server.receiver.admission.part_bytes == 1_800_000, "three bodies")
        last = opened.enter_context(connect(server))
        last.sendall(chunked(server, 600_000))
        status, body = answer(last)

        assert (status, json.loads(body)["code"]) == (503, "overloaded")
        assert post(server, upload()).status_code == 200


def test_a_body_below_the_rate_is_cut_off_before_its_deadline(tmp_path: Path) -> None:
    request_limits = RequestLimits(body_deadline_s=0.4, body_bytes_s_min=1e6)
    settings = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0, request=request_limits)
    with running(tmp_path, MemoryLog(1), settings=settings) as server, connect(server) as one:
        one.sendall(request(server, b"{", length=1000))
        status, body = answer(one)

    assert (status, json.loads(body)["code"]) == (408, "body_too_slow")


REFUSED: dict[str, tuple[int, dict[str, str], int]] = {
    "too large": (5 << 20, {}, 413),
    "far too large": (24 << 20, {}, 413),
    "unknown type": (2 << 20, {"Content-Type": "text/csv"}, 415),
    "unknown key": (2 << 20, {"Authorization": "Bearer hfk_00000000_" + "x" * 43}, 401),
    "no key": (3 << 20, {"Authorization": ""}, 401),
    "no such path": (3 << 20, {"path": "/nope"}, 404),
}


def _by_http_client(server: Running, path: str, body: bytes, headers: dict[str, str]) -> int:
    url = urlsplit(server.http)
    one = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
    one.request("POST", path, body, headers)
    status = one.getresponse().status
    one.close()
    return status


def _by_http_client_chunked(
    server: Running, path: str, body: bytes, headers: dict[str, str]
) -> int:
    url = urlsplit(server.http)
    one = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
    pieces = (body[at : at + 65_536] for at in range(0, len(body), 65_536))
    one.request("POST", path, pieces, headers, encode_chunked=True)
    status = one.getresponse().status
    one.close()
    return status


def _by_urllib(server: Running, path: str, body: bytes, headers: dict[str, str]) -> int:
    asked = urllib.request.Request(server.http + path, body, headers)  # loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(asked, timeout=60)
    with refused.value as response:
        return response.status or 0


def _by_httpx(server: Running, path: str, body: bytes, headers: dict[str, str]) -> int:
    return CLIENT.post(server.http + path, content=body, headers=headers).status_code


@pytest.mark.parametrize("way", [_by_http_client, _by_http_client_chunked, _by_urllib, _by_httpx])
@pytest.mark.parametrize("what", REFUSED)
def test_plain_clients_can_read_an_early_refusal(
    server: Running, what: str, way: Callable[[Running, str, bytes, dict[str, str]], int]
) -> None:
    size, over, expected = REFUSED[what]
    base = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/x-protobuf"}
    path = over.get("path", "/v1/telemetry")
    headers = base | {name: value for name, value in over.items() if name != "path"}

    assert way(server, path, bytes(size), headers) == expected
    assert post(server, upload()).status_code == 200


def test_a_refusal_waits_for_the_receipt_before_it(tmp_path: Path) -> None:
    log = StallingLog()
    junk = {
        b"NONSENSE\r\n\r\n": 400,
        b"GET /livez HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n": 400,
        b"POST /v1/telemetry HTTP/1.1\r\n" + b"X: " + b"a" * 30_000: 431,
    }
    with running(tmp_path, log) as server:
        for bytes_after, expected in junk.items():
            log.gate.clear()
            sent = upload()
            with connect(server) as one:
                one.sendall(request(server, sent.SerializeToString()))
                until(lambda: server.receiver.admission.in_flight == 1, "an upload under way")
                one.sendall(bytes_after)
                log.gate.set()
                assert batch_of(answer(one)[1]) == sent.batch_id
                assert answer(one)[0] == expected
                assert ended(one)


def test_answers_that_nobody_reads_end_the_connection(tmp_path: Path) -> None:
    limits = ConnectionLimits(stalled_s=0.3, sweep_s=0.05)
    settings = ServeSettings(http_port=0, grpc_port=0, unready_s=0.0, connections=limits)
    with running(tmp_path, MemoryLog(1), settings=settings) as server, connect(server) as one:
        asked = b"GET /v1/releases/nope HTTP/1.1\r\nHost: h\r\n\r\n" * 50
        with pytest.raises(ConnectionError):
            one.sendall(asked * 20_000)


def test_unknown_paths_end_their_connection(server: Running) -> None:
    with connect(server) as one:
        one.sendall(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n" * 1000)
        status, body = answer(one)

        assert (status, json.loads(body)["code"]) == (404, "path_unknown")
        assert ended(one)


@pytest.mark.parametrize("way", ["short", "ordinary"])
def test_a_connection_without_a_key_is_told_no_so_often_and_not_more(
    server: Running, way: str
) -> None:
    asked = request(server, b"x", key="hfk_no") if way == "short" else _LIVEZ
    with connect(server) as one:
        for _ in range(ConnectionLimits().keyless_max):
            one.sendall(asked)
            assert answer(one)[0] == (401 if way == "short" else 200)
        assert ended(one)


def test_a_proxy_of_phones_keeps_its_connection(server: Running) -> None:
    """Chunked uploads go the ordinary way; their key counts all the same."""
    with connect(server) as one:
        for _ in range(ConnectionLimits().keyless_max + 5):
            sent = upload().SerializeToString()
            whole = request(server, b"").replace(
                b"Content-Length: 0", b"Transfer-Encoding: chunked"
            )
            one.sendall(whole + b"%x\r\n%b\r\n0\r\n\r\n" % (len(sent), sent))
            assert answer(one)[0] == 200


_LIVEZ = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"
