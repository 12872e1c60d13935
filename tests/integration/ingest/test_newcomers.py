"""Whoever nobody serves yet leaves nothing behind, however it ends."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import uvloop

from ingest.acceptor import Acceptor, Crowd, Door, Look, Newcomer, crowd_of
from ingest.connections import ConnectionLimits
from ingest.turns import Turns

_MANY = 40


class Clock:
    """The door's time."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _never_served(_newcomer: Newcomer, _look: Look) -> asyncio.Protocol:
    raise AssertionError("strangers have had their share")


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.002)


def _empty(crowd: Crowd) -> bool:
    return not len(crowd.turns) and not crowd.newcomers.count


@pytest.mark.parametrize("look", [Look.STRANGER, Look.LATER, Look.LONG, Look.HOPELESS])
@pytest.mark.parametrize("how", ["expired", "evicted", "closed"])
def test_a_newcomer_that_ends_waits_for_no_turn(look: Look, how: str) -> None:
    """A flood of connections that are reset at once took 5 MB a second while strangers waited."""

    async def main() -> None:
        loop, clock = asyncio.get_running_loop(), Clock()
        turns = Turns(lambda: 0.0, lambda: 0.0)  # no time goes by, so nobody has a turn
        turns.charge(1.0)
        crowd = crowd_of(ConnectionLimits(), clock, turns)
        door = Door(lambda _said, _address, _has_turn: look, _never_served, 100)
        with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as opened:
            acceptor = Acceptor(listener, door, crowd)
            acceptor.start()
            for _ in range(_MANY):
                one = opened.enter_context(socket.socket())
                one.setblocking(False)
                await loop.sock_connect(one, listener.getsockname())
                await loop.sock_sendall(one, b"hello")
            await _until(lambda: len(turns) == _MANY)
            if how == "expired":
                clock.now_s += 1e6
                crowd.newcomers.sweep()
            elif how == "evicted":
                for newcomer in acceptor.waiting:
                    newcomer.evict()
            if how != "closed":
                await _until(lambda: _empty(crowd))
            acceptor.close()
            await _until(lambda: _empty(crowd))

    uvloop.run(main())
