"""The proxy's faults, seen from both ends of real connections on loopback."""

import contextlib
import gc
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from bench.fault_proxy import FaultProxy, Mode


@dataclass
class Echo:
    """A server that answers every chunk with itself, and remembers what it got."""

    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    received: list[bytes] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # until the listener is closed
            while True:
                peer, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self.listener.close()

    def _answer(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            while chunk := peer.recv(65536):
                self.received.append(chunk)
                peer.sendall(chunk)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo(socket.create_server(("127.0.0.1", 0)))
    threading.Thread(target=server.serve, daemon=True).start()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    running = FaultProxy(echo.port)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5.0) as connection:
        connection.sendall(b"first")
        assert connection.recv(64) == b"first"
        yield connection


def test_latency_delays_both_directions(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.switch(Mode.LATENCY, latency_s=0.1)

    began_s = time.monotonic()
    client.sendall(b"x")
    answer = client.recv(64)

    assert answer == b"x"
    assert time.monotonic() - began_s >= 0.2


def test_reset_ends_connections_that_stand_and_those_that_come(
    proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.switch(Mode.RESET)

    with pytest.raises(ConnectionResetError):
        client.recv(64)
    with pytest.raises(ConnectionError):
        _exchange(proxy.port)


def test_half_open_delivers_the_request_and_loses_the_answer(
    proxy: FaultProxy, client: socket.socket, echo: Echo
) -> None:
    proxy.switch(Mode.HALF_OPEN)
    client.sendall(b"lost")
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.recv(64)
    client.settimeout(5.0)

    proxy.switch(Mode.PASS)

    assert b"lost" in echo.received
    with pytest.raises(ConnectionResetError):  # bytes are missing: it cannot go on
        client.recv(64)


def test_a_blackhole_holds_everything_back_until_it_ends(
    proxy: FaultProxy, client: socket.socket, echo: Echo
) -> None:
    proxy.switch(Mode.BLACKHOLE)
    client.sendall(b"held")
    time.sleep(0.2)
    assert b"held" not in echo.received

    proxy.switch(Mode.PASS)

    assert client.recv(64) == b"held"


@pytest.mark.parametrize("mode", [Mode.BLACKHOLE, Mode.HALF_OPEN, Mode.LATENCY])
def test_stopping_in_a_fault_leaves_no_connection_behind(echo: Echo, mode: Mode) -> None:
    running = FaultProxy(echo.port)
    running.start()
    with socket.create_connection(("127.0.0.1", running.port), timeout=5.0) as old:
        old.sendall(b"x")
        assert old.recv(64) == b"x"
        running.switch(mode, latency_s=5.0)
        with socket.create_connection(("127.0.0.1", running.port), timeout=5.0) as new:
            for connection in (old, new):
                connection.sendall(bytes(1 << 20))
            time.sleep(0.2)

            running.stop()

            del running
            gc.collect()  # what was left open is told now, and is an error
            for connection in (old, new):
                assert ended(connection)


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(64) == b""
    except ConnectionError:
        return True


def test_a_server_that_is_away_refuses_through_the_proxy(proxy: FaultProxy, echo: Echo) -> None:
    echo.close()

    with pytest.raises(ConnectionError):
        _exchange(proxy.port)


def _exchange(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
        connection.sendall(b"x")
        assert connection.recv(64) == b"x"
