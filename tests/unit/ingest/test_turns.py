"""Strangers have a share of the loop's time, in order, and nobody waits on an idle loop."""

import asyncio
from collections.abc import Callable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from ingest.turns import SHARE, Turns


class Clock:
    """The loop's time, of which work takes what it says."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.idle_s = 0.0

    def now_s(self) -> float:
        return self.cpu_s + self.idle_s

    def work(self, seconds: float, done: Callable[[], object]) -> Callable[[], None]:
        def work() -> None:
            self.cpu_s += seconds
            done()

        return work


def soon(_delay_s: float, work: Callable[[], None]) -> asyncio.Handle:
    return asyncio.get_running_loop().call_soon(work)


async def all_served(clock: Clock, turns: Turns, count: Callable[[], int], wanted: int) -> None:
    while count() < wanted:
        await asyncio.sleep(0)
        clock.idle_s += 0.002  # the loop turns, and has time for others


def test_nobody_waits_while_there_is_time_left() -> None:
    async def main() -> None:
        clock, served = Clock(), list[int]()
        turns = Turns(lambda: clock.cpu_s, clock.now_s)
        turns.wait(0, clock.work(0.001, lambda: served.append(1)))
        assert served == [1]

    asyncio.run(main())


@given(costs=st.lists(st.sampled_from([0.0001, 0.001, 0.02]), min_size=50, max_size=200))
def test_strangers_have_a_share_and_keep_their_order(costs: list[float]) -> None:
    async def main() -> None:
        clock, served = Clock(), list[int]()
        turns = Turns(lambda: clock.cpu_s, clock.now_s)
        asyncio.get_running_loop().call_later = soon  # type: ignore[assignment]
        for number, cost in enumerate(costs):
            turns.wait(number, clock.work(cost, partial(served.append, number)))
        await all_served(clock, turns, lambda: len(served), len(costs))

        assert served == list(range(len(costs)))
        burst_s, largest_s = 0.05, max(costs)
        assert clock.cpu_s <= burst_s + clock.now_s() * SHARE + 2 * largest_s + 0.001

    asyncio.run(main())


def test_a_turn_that_fails_holds_up_nobody() -> None:
    async def main() -> None:
        said, served = list[object](), list[int]()
        asyncio.get_running_loop().set_exception_handler(lambda _, what: said.append(what))
        turns = Turns()
        turns.wait(0, lambda: 1 // 0)  # type: ignore[arg-type]
        turns.wait(1, lambda: served.append(1))
        await all_served(Clock(), turns, lambda: len(served), 1)
        assert len(said) == 1

    asyncio.run(main())


def test_what_waits_is_bounded() -> None:
    turns = Turns()
    assert turns.hold(16 << 20)
    assert not turns.hold(1)
    turns.hold(-1)
    assert turns.hold(1)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=100))
def test_whoever_left_waits_no_more(steps: list[tuple[int, bool]]) -> None:
    async def main() -> None:
        clock, served, waiting = Clock(), list[int](), list[int]()
        turns = Turns(lambda: clock.cpu_s, clock.now_s)
        asyncio.get_running_loop().call_later = soon  # type: ignore[assignment]
        turns.charge(1.0)
        for who, comes in steps:
            if comes and who not in waiting:
                turns.wait(who, partial(served.append, who))
                waiting.append(who)
            elif not comes and who in waiting:
                turns.leave(who)
                waiting.remove(who)
            assert len(turns) == len(waiting)
        await all_served(clock, turns, lambda: len(served), len(waiting))
        assert served == waiting

    asyncio.run(main())
