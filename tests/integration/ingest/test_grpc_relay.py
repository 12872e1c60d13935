"""The relay between a phone that holds a key and a server that does as it is told here."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from bench import door_frames as h2
from ingest.acceptor import Acceptor, crowd_of
from ingest.connections import ConnectionLimits
from ingest.grpc_callers import Callers
from ingest.grpc_door import grpc_door
from ingest.grpc_relay import Client, Relay
from ingest.http2 import PREFACE
from ingest.keys import KeyFile
from ingest.quota import ASKS_PER_UPLOAD, QuotaLimits, Quotas
from ingest.turns import Turns
from tests.fakes.ingest_world import APP, clock_ms

STALLED_S = 0.1
UPLOADS = 10
MUCH = 16 << 20  # more than the kernel holds


@dataclass
class Between:
    """A relay that leads to `server`, and a phone whose first call was sent. `quotas` hold ten
    uploads of a prefix, and their clock stands still.
    """

    relay: Relay
    quotas: Quotas
    keys: KeyFile
    phone: socket.socket
    server: socket.socket

    def client(self) -> Client:
        (client,) = self.relay.open
        assert isinstance(client, Client)
        return client


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)


@asynccontextmanager
async def between(
    folder: Path, *, is_full: bool = False, held_bytes_max: int = MUCH
) -> AsyncIterator[Between]:
    """`is_full`: the kernel lets nobody in at the server, and refuses nobody."""
    loop = asyncio.get_running_loop()
    keys = KeyFile(folder / "keys.json", now_ms=clock_ms)
    quotas = Quotas(QuotaLimits(uploads_s=UPLOADS), lambda: 0.0)
    limits = ConnectionLimits(stalled_s=STALLED_S, held_bytes_max=held_bytes_max)
    crowd = crowd_of(limits, loop.time, Turns())
    relay = Relay(crowd, Callers(keys, quotas, lambda _code: None))
    door = grpc_door(relay, 20.0)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_server(("127.0.0.1", 0), backlog=0 if is_full else 8) as server,
        socket.socket() as phone,
        ExitStack() as opened,
    ):
        for _ in range(2 if is_full else 0):
            other = opened.enter_context(socket.socket())
            other.setblocking(False)
            with suppress(BlockingIOError):
                other.connect(server.getsockname())
        relay.port = server.getsockname()[1]
        server.setblocking(False)
        acceptor = Acceptor(listener, door, crowd)
        acceptor.start()
        phone.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        phone.setblocking(False)
        await loop.sock_connect(phone, listener.getsockname())
        said = PREFACE + h2.settings() + h2.call(1, "Upload", key=keys.create(APP))
        await loop.sock_sendall(phone, said)
        yield Between(relay, quotas, keys, phone, server)
        acceptor.close()
        relay.evict_all()
        await until(lambda: not relay.open)


def run(test: Coroutine[None, None, None]) -> None:
    uvloop.run(test)


def test_a_phone_is_not_read_while_nobody_takes_its_calls(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with between(tmp_path, is_full=True) as made:
            await until(lambda: bool(made.relay.open))
            sending = loop.sock_sendall(made.phone, bytes(MUCH))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sending, 1.0)

    run(main())


def test_what_is_too_much_for_one_turn_waits_with_the_strangers(tmp_path: Path) -> None:
    """Or hundreds of connections with one key would have 2 ms each of every turn of the loop."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with between(tmp_path) as made:
            taken, _ = await loop.sock_accept(made.server)
            turns, received = made.relay.crowd.turns, b""
            said = b"".join(h2.body_frame(n, b"") for n in range(3, 6_003, 2))
            with taken:
                turns.charge(1.0)  # strangers have had their share
                await loop.sock_sendall(made.phone, said)
                await until(lambda: len(turns) == 1)
                while not received.endswith(said):
                    received += await loop.sock_recv(taken, 1 << 20)

    run(main())


def test_a_phone_that_reads_nothing_does_not_outlive_the_farewell(tmp_path: Path) -> None:
    """A few bytes that it does not take are no reason to hold its place for ever."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with between(tmp_path) as made:
            taken, _ = await loop.sock_accept(made.server)
            with taken:
                await until(lambda: bool(made.relay.open))
                transport = made.client().transport
                while not transport.get_write_buffer_size():
                    await loop.sock_sendall(taken, bytes(8_192))
                    await asyncio.sleep(0.001)
            await until(transport.is_closing)
            assert made.relay.open

            def is_gone() -> bool:
                made.relay.crowd.connections.sweep()
                return not made.relay.open

            await until(is_gone)

    run(main())


def stand_still(turns: Turns) -> None:
    """No stranger has a turn any more."""
    turns._serve = lambda: None  # type: ignore[method-assign]


async def first_call(made: Between) -> socket.socket:
    """The server's side, once the call that the phone came with has arrived there."""
    taken, _ = await asyncio.get_running_loop().sock_accept(made.server)
    await asyncio.get_running_loop().sock_recv(taken, 1 << 20)
    stand_still(made.relay.crowd.turns)
    return taken


def use_up_the_quota(made: Between) -> None:
    for _ in range(UPLOADS):
        made.quotas.spend(APP, made.client().slot, 1)


def ask_too_much(made: Between) -> None:
    """As another connection of the same network does."""
    made.quotas.goes_first(APP, made.client().slot, ASKS_PER_UPLOAD * UPLOADS)


def revoke(made: Between) -> None:
    for key in made.keys.listed():
        made.keys.revoke(key.key_id)


@pytest.mark.parametrize("lose", [use_up_the_quota, ask_too_much, revoke])
def test_a_connection_that_was_let_in_waits_once_its_share_is_used_up(
    tmp_path: Path, lose: Callable[[Between], None]
) -> None:
    async def main() -> None:
        async with between(tmp_path) as made:
            with await first_call(made) as taken:
                lose(made)
                said = h2.body_frame(1, bytes(10))
                await asyncio.get_running_loop().sock_sendall(made.phone, said)
                await until(lambda: len(made.relay.crowd.turns) == 1)
                with pytest.raises(BlockingIOError):
                    taken.recv(1)

    run(main())


@pytest.mark.parametrize("last", ["without a key", "a wrong key", "another app's key"])
def test_whoever_let_a_crowd_of_calls_loose_pays_for_it(tmp_path: Path, last: str) -> None:
    async def main() -> None:
        async with between(tmp_path) as made:
            other = made.keys.create("camera")
            with await first_call(made) as taken:
                slot = made.client().slot
                key = made.client()._authorization.removeprefix(b"Bearer ").decode()
                shown = {"without a key": "", "a wrong key": key[:-1] + "-"}.get(last, other)
                streams = range(3, 3 + 2 * ASKS_PER_UPLOAD * UPLOADS, 2)
                said = b"".join(h2.call(n, "None", key=key) for n in streams)
                said += h2.call(9_001, "None", key=shown)
                await asyncio.get_running_loop().sock_sendall(made.phone, said)
                received = b""
                while len(received) < len(said):
                    received += await asyncio.get_running_loop().sock_recv(taken, 1 << 20)

                assert not made.quotas.goes_first(APP, slot, 0)
                assert made.quotas.goes_first("camera", slot, 0)

    run(main())


def test_frames_that_are_no_calls_are_paid_for(tmp_path: Path) -> None:
    async def main() -> None:
        loop, sent = asyncio.get_running_loop(), 0
        async with between(tmp_path) as made:
            with await first_call(made) as taken:
                slot = made.client().slot
                said = b"".join(h2.body_frame(1, b"") for _ in range(100))
                while made.quotas.goes_first(APP, slot, 0):
                    await loop.sock_sendall(made.phone, said)
                    received = 0
                    while received < len(said):
                        received += len(await loop.sock_recv(taken, 1 << 20))
                    sent += 100
        assert sent <= ASKS_PER_UPLOAD * UPLOADS * 40

    run(main())


def test_what_waits_is_bounded_and_given_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with between(tmp_path, held_bytes_max=1024) as made:
            connections = made.relay.crowd.connections
            with await first_call(made):
                ask_too_much(made)
                await asyncio.get_running_loop().sock_sendall(made.phone, bytes(900))
                await until(lambda: len(made.relay.crowd.turns) == 1)
                assert not connections.hold(200)
                assert not made.client().transport.is_reading()
                made.relay.evict_all()
                await until(lambda: not made.relay.open)
            assert connections.hold(1024)

    run(main())


def test_whoever_says_more_than_may_wait_is_hung_up_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with between(tmp_path, held_bytes_max=1024) as made:
            with await first_call(made):
                ask_too_much(made)
                await asyncio.get_running_loop().sock_sendall(made.phone, bytes(2000))
                await until(lambda: not made.relay.open)

    run(main())
