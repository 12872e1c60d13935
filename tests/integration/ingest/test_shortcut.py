"""The short way of a whole upload and the ordinary way give the same answers, in order."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.connections import ConnectionLimits
from ingest.serve import ServeSettings
from ingest.shortcut import plain_request
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import Running, StallingLog, running, upload
from tests.fakes.node_world import until
from tests.fakes.raw_http import answer, batch_of, connect, request

LIMITS = ConnectionLimits()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("ingest"), MemoryLog(1)) as up:
        yield up


def test_an_upload_in_pieces_gets_the_answer_of_a_whole_one(server: Running) -> None:
    made = upload()
    whole = request(server, made.SerializeToString())
    for pieces in ([whole], [whole[:9], whole[9:]], [whole[:-1], whole[-1:]]):
        with connect(server) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                connection.sendall(piece)
            assert answer(connection)[0] == 200


def test_both_ways_take_turns_on_one_connection(server: Running) -> None:
    odd = "X.Odd: 1"  # a legal name that the short way leaves to the parser
    with connect(server) as connection:
        for more in ((), (odd,), (), (odd,), (odd,), ()):
            made = upload()
            connection.sendall(request(server, made.SerializeToString(), *more))
            status, body = answer(connection)
            assert (status, batch_of(body)) == (200, made.batch_id)


def test_pipelined_uploads_are_answered_in_order(server: Running) -> None:
    made = [upload() for _ in range(5)]
    with connect(server) as connection:
        for one in made:
            connection.sendall(request(server, one.SerializeToString()))
        got = [batch_of(answer(connection)[1]) for _ in made]

    assert got == [one.batch_id for one in made]


def test_a_refusal_leaves_the_connection_usable(server: Running) -> None:
    with connect(server) as connection:
        connection.sendall(request(server, b"junk"))
        refused = answer(connection)
        connection.sendall(request(server, b"junk", key="hfk_00000000_" + "x" * 43))
        keyless = answer(connection)
        connection.sendall(request(server, upload().SerializeToString()))
        taken = answer(connection)

    assert (refused[0], keyless[0], taken[0]) == (400, 401, 200)
    assert b"malformed_protobuf" in refused[1]


def test_an_upload_whose_phone_hung_up_is_kept_all_the_same(tmp_path: Path) -> None:
    log = StallingLog()
    with running(tmp_path, log) as server:
        log.gate.clear()
        with connect(server) as connection:
            connection.sendall(request(server, upload().SerializeToString()))
        log.gate.set()
        with connect(server) as other:
            other.sendall(request(server, upload().SerializeToString()))
            assert answer(other)[0] == 200

    assert server.receiver.totals()["uploads:received"] == 2


def test_an_answer_that_is_owed_is_given_before_the_server_goes(tmp_path: Path) -> None:
    log = StallingLog()
    with running(tmp_path, log) as server, connect(server) as connection:
        log.gate.clear()
        connection.sendall(request(server, upload().SerializeToString()))
        until(lambda: server.receiver.admission.in_flight == 1, "an upload under way")
        server.stop()
        until(lambda: not takes_connections(server), "a closed door")
        log.gate.set()

        assert answer(connection)[0] == 200
        assert connection.recv(1) == b""


def test_a_log_that_hangs_does_not_hold_up_the_drain(tmp_path: Path) -> None:
    log = StallingLog()
    brief = ServeSettings(http_port=0, grpc_port=0, unready_s=0.05, drain_s=1.0)
    with running(tmp_path, log, settings=brief) as server, connect(server) as connection:
        log.gate.clear()
        connection.sendall(request(server, upload().SerializeToString()))
        until(lambda: server.receiver.admission.in_flight == 1, "an upload under way")
        began_s = time.monotonic()
        server.stop()
        until(lambda: connection_ended(connection), "the end")
    took_s = time.monotonic() - began_s
    log.gate.set()

    assert took_s < 10


def test_who_pipelines_while_an_answer_is_owed_is_not_read_without_end(tmp_path: Path) -> None:
    log = StallingLog()
    with running(tmp_path, log) as server, connect(server) as connection:
        log.gate.clear()
        one = upload()
        connection.sendall(request(server, one.SerializeToString()))
        until(lambda: server.receiver.admission.in_flight == 1, "an upload under way")
        connection.settimeout(5.0)
        with pytest.raises(TimeoutError):  # the buffers of the kernel are full, ours is not
            connection.sendall(bytes(32 << 20))
        log.gate.set()
        connection.settimeout(10)

        assert batch_of(answer(connection)[1]) == one.batch_id


def test_a_body_that_follows_an_early_answer_is_no_request(server: Running) -> None:
    """A proxy that pipelines sees the body of the second request where a request might be seen."""
    smuggled = request(server, upload().SerializeToString())
    head = f"POST /v1/releases/x HTTP/1.1\r\nHost: h\r\nContent-Length: {len(smuggled)}\r\n\r\n"
    last = upload()
    with connect(server) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n" + head.encode())
        assert [answer(connection)[0] for _ in range(2)] == [200, 405]
        connection.sendall(smuggled)
        connection.sendall(request(server, last.SerializeToString()))

        assert batch_of(answer(connection)[1]) == last.batch_id


def takes_connections(server: Running) -> bool:
    try:
        connect(server).close()
    except OSError:
        return False
    return True


def connection_ended(connection: socket.socket) -> bool:
    connection.settimeout(0.1)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


HEAD = b"POST /v1/telemetry HTTP/1.1\r\nHost: h\r\n"


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
        HEAD + b"Content-Length: 1\r\n\r\nab",
        HEAD + b"Content-Length: 3\r\n\r\nab",
        HEAD + b"Content-Length: +2\r\n\r\nab",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab",
        HEAD + b"Content-Length : 2\r\n\r\nab",
        HEAD + b"X: 1\nContent-Length: 2\r\n\r\nab",
        HEAD + b"X: \0\r\nContent-Length: 2\r\n\r\nab",
        HEAD + b"Content-Length: 2\r\n folded\r\n\r\nab",
        HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\nab",
        HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\nab",
        HEAD + b"\r\nab",
        HEAD.replace(b"1.1", b"1.0") + b"Content-Length: 2\r\n\r\nab",
        HEAD.replace(b"POST", b"PUT") + b"Content-Length: 2\r\n\r\nab",
        HEAD.replace(b"telemetry", b"telemetry?x=1") + b"Content-Length: 2\r\n\r\nab",
    ],
)
def test_what_is_not_plain_goes_the_ordinary_way(data: bytes) -> None:
    assert plain_request(data, LIMITS) is None


@given(st.binary(max_size=50), st.binary(max_size=200))
def test_no_bytes_upset_the_short_way(junk: bytes, body: bytes) -> None:
    plain_request(junk, LIMITS)
    found = plain_request(HEAD + junk + b"Content-Length: %d\r\n\r\n" % len(body) + body, LIMITS)

    if found is not None:
        assert found[0].length == len(found[1])


def test_a_connection_is_closed_when_it_idles_and_not_while_it_is_used(
    tmp_path: Path,
) -> None:
    brief = ServeSettings(
        http_port=0, grpc_port=0, connections=ConnectionLimits(keep_alive_s=1.0, sweep_s=0.1)
    )
    with running(tmp_path, MemoryLog(1), settings=brief) as up, connect(up) as connection:
        began_s = time.monotonic()
        while time.monotonic() - began_s < 2.0:
            connection.sendall(request(up, upload().SerializeToString()))
            assert answer(connection)[0] == 200
            time.sleep(0.3)

        assert connection.recv(1) == b""
