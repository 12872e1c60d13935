"""What a stranger on the machine can do to the store's endpoint: nothing to the others."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from bench.door_shapes import Door, End, shapes
from store import process
from store.budgets import ConnectionBudgets, StoreProtocol, keep
from store.client import StoreSettings, connect
from store.endpoint import listener_on
from store.http_app import Receive, Send
from tests.fakes.raw_http import ended
from tests.fakes.strangers import failed, play
from tests.integration.store_fixtures import WRITER_PASSWORD, StoreEndpoint

_PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"


def test_idle_connections_never_keep_others_out(store_endpoint: StoreEndpoint) -> None:
    with ExitStack() as opened:
        idle = [
            opened.enter_context(
                socket.create_connection((store_endpoint.host, store_endpoint.port), timeout=20)
            )
            for _ in range(ConnectionBudgets().connections_max + 20)
        ]

        client = store_endpoint.writer()
        assert client.rows("SELECT 1") == [(1,)]
        client.close()
        assert ended(idle[0])


def test_a_head_without_end_ends_its_connection(store_endpoint: StoreEndpoint) -> None:
    where = (store_endpoint.host, store_endpoint.port)
    endless = b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * (1 << 22)
    with socket.create_connection(where, timeout=20) as one, pytest.raises(ConnectionError):
        one.sendall(endless)


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /ping HTTP/1.1\r\nX: ",
        _PING,
        _PING + b"GET /",
        b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
    ],
)
def test_what_does_not_come_in_time_is_closed(begun: bytes) -> None:
    asyncio.run(_left_waiting(begun))


async def _left_waiting(begun: bytes) -> None:
    """The protocol in a server of its own, with short times."""
    budgets = ConnectionBudgets(head_s=0.1, keep_alive_s=0.1, body_stalled_s=0.1, sweep_s=0.02)
    protocol = partial(StoreProtocol, budgets=budgets)
    config = uvicorn.Config(_echo, http=protocol, ws="none", lifespan="off", log_config=None)  # type: ignore[arg-type]
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.startup([listener])
        keeping = asyncio.create_task(keep(server.server_state.connections, budgets))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(begun)
        with suppress(ConnectionError):
            while await asyncio.wait_for(reader.read(1000), 20):
                pass
        writer.close()
        keeping.cancel()
        server.should_exit = True
        await server.shutdown([listener])


async def _echo(_scope: object, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"Ok"})


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head() -> None:
    with (
        listener_on("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_it_listens_on_ipv6_too(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials.json"
    process.write_credentials(
        credentials, writer_password=WRITER_PASSWORD, analyst_password="analyst"
    )
    running = process.start(tmp_path / "chdb", credentials, host="::1")
    try:
        client = connect(StoreSettings(host="::1", port=running.port, password=WRITER_PASSWORD))
        assert client.rows("SELECT 1") == [(1,)]
        client.close()
    finally:
        running.stop()


def test_no_shape_fails_or_hangs_the_store(store_endpoint: StoreEndpoint) -> None:
    made = shapes(np.random.default_rng(21), 60, (Door.STORE,))
    # those that would wait for the real times of the endpoint send no more instead
    made = [replace(one, end=End.HALF) if one.end is End.READ else one for one in made]
    with ThreadPoolExecutor(20) as strangers:
        answers = strangers.map(lambda shape: play(shape, store_endpoint.port), made)
        for shape, answer in zip(made, answers, strict=True):
            assert not failed(answer), (shape.kind, answer[:200])
    client = store_endpoint.writer()
    assert client.rows("SELECT 1") == [(1,)]
    client.close()
