"""Where a server listens, and the port that tells how it is."""

import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ingest.listen import listeners, local, prefix_of
from ingest.serve import ServeSettings
from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import APP, Running, running
from tests.fakes.node_world import until
from tests.fakes.phone_http import CLIENT
from tests.fakes.raw_http import ended
from wire.errors import PermanentError


def test_health_and_metrics_have_a_port_of_their_own(server: Running) -> None:
    for path in ("/metrics", "/openapi.json", "/docs"):
        assert CLIENT.get(server.http + path).status_code == 404
    assert CLIENT.get(server.health + "/livez").json() == {"status": "alive"}
    assert CLIENT.get(server.health + "/readyz").json() == {"status": "ready"}
    assert CLIENT.get(server.health + "/nope").status_code == 404
    answered = CLIENT.get(server.http + "/v1/releases/nope").json()
    assert answered["code"] == "app_unknown"
    assert APP not in answered["accepted"]
    assert "camera" not in answered["accepted"]


def test_health_answers_while_the_event_loop_is_frozen(tmp_path: Path) -> None:
    """Frozen for as long as the test says; seconds of a frozen pulse are told by its clock."""
    thaw, is_frozen = threading.Event(), threading.Event()
    with running(tmp_path, MemoryLog(1)) as server:

        def freeze() -> None:
            is_frozen.set()
            thaw.wait(60)

        server.call_soon(freeze)
        assert is_frozen.wait(60)
        try:
            assert CLIENT.get(server.health + "/livez").status_code == 200
            assert CLIENT.get(server.health + "/metrics").status_code == 200
            until(
                lambda: CLIENT.get(server.health + "/readyz").json() == {"status": "frozen"},
                "a frozen loop",
            )
            assert CLIENT.get(server.health + "/livez").json() == {"status": "frozen"}
        finally:
            thaw.set()
        until(lambda: CLIENT.get(server.health + "/readyz").is_success, "a thawed loop")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("::1", ["::1"]),
        ("::", ["::1", "127.0.0.1"]),
        ("0.0.0.0", ["::1", "127.0.0.1"]),  # noqa: S104
        ("127.0.0.1", ["127.0.0.1"]),
    ],
)
def test_every_transport_listens_on_the_same_addresses(
    tmp_path: Path, host: str, reached: list[str]
) -> None:
    settings = ServeSettings(host=host, health_host=host, http_port=0, grpc_port=0, unready_s=0.0)
    with running(tmp_path, MemoryLog(1), settings=settings) as server:
        ports = [int(address.rpartition(":")[2]) for address in (server.http, server.grpc)]
        ports.append(int(server.health.rpartition(":")[2]))
        for address in ("::1", "127.0.0.1"):
            for port in ports:
                assert takes(address, port) == (address in reached)


def takes(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=60).close()
    except OSError:
        return False
    return True


def test_an_address_that_cannot_be_used_is_one_error_with_its_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for which in ("http_port", "grpc_port", "health_port"):
            ports = {"http_port": 0, "grpc_port": 0, "health_port": 0} | {which: port}
            with (
                pytest.raises(PermanentError, match=f"127.0.0.1:{port}") as refused,
                running(tmp_path, MemoryLog(1), settings=ServeSettings(**ports)),
            ):
                pass
            assert (refused.value.code, refused.value.field) == (
                "address_unusable",
                f"HOLDFAST_{which.upper()}",
            )
    for host in ("no.such.host.invalid", "192.0.2.1", "300.1.1.1"):
        with pytest.raises(PermanentError) as unusable:
            listeners(host, 0, setting="HOLDFAST_HTTP_PORT")
        assert unusable.value.code == "address_unusable"


def test_neighbours_are_an_address_or_a_64() -> None:
    assert prefix_of("2001:db8:1:2::1") == prefix_of("2001:db8:1:2:ffff:1:2:3")
    assert prefix_of("2001:db8:1:2::1") != prefix_of("2001:db8:1:3::1")
    assert prefix_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert prefix_of("fe80::1%eth0") == prefix_of("fe80::2%eth0")
    assert local("::") == "127.0.0.1"


def test_idle_connections_do_not_silence_health(server: Running) -> None:
    """Who asks gets a thread at once: of those that hold one, the one that came first goes."""
    where = urlsplit(server.health)
    with ExitStack() as opened:
        idle = [
            opened.enter_context(socket.create_connection((where.hostname or "", where.port or 0)))
            for _ in range(100)
        ]
        for one in idle:
            one.sendall(b"GET /livez HTTP/1.1\r\nX: ")

        assert CLIENT.get(server.health + "/livez").status_code == 200
        idle[0].settimeout(60)
        assert ended(idle[0])
