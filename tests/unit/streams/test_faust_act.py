"""The act agent over topics in memory: what is acknowledged, and who acts when."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
import pytest

from analytics.types import Verdict
from streams.faust_act import Acting
from streams.ports import NoMeter
from tests.fakes.stage_topics import MemoryState, until, windows_topic
from wire.errors import PermanentError


class MemoryActor:
    """Counts what it was given; its state is the list of it."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.steps = 0

    def restore(self, parts: Mapping[str, bytes]) -> None:
        body = parts.get("taken")
        self.taken = msgspec.json.decode(body, type=list[str]) if body else []

    def receive(self, verdicts: Sequence[Verdict]) -> None:
        self.taken += [v.verdict_id for v in verdicts]

    def step(self) -> None:
        self.steps += 1

    def parts(self) -> dict[str, bytes]:
        return {"taken": msgspec.json.encode(self.taken)}


def test_a_verdict_is_acknowledged_when_the_state_that_holds_it_is_durable() -> None:
    effects = windows_topic()[2]
    topics, actor = MemoryState([msgspec.msgpack.encode(v) for v in effects]), MemoryActor()
    acked: list[tuple[int, int]] = []

    def finished(offset: int) -> None:
        acked.append((offset, topics.positions[-1]))

    async def act() -> None:
        stage = Acting(topics, actor, NoMeter())
        await stage.assigned({0})
        for o, body in enumerate(topics.log):
            await stage.take(0, o, body, partial(finished, o))
        await stage.close()

    asyncio.run(act())

    assert effects
    assert acked == [(o, o + 1) for o in range(len(effects))]
    assert actor.taken == [v.verdict_id for v in effects]


def test_an_actor_that_takes_over_knows_what_was_taken_and_reads_what_was_passed_over() -> None:
    effects = windows_topic(seconds=8)[2]
    bodies = [msgspec.msgpack.encode(v) for v in effects * 3]
    topics, second = MemoryState(bodies), MemoryActor()
    last = len(bodies) - 1

    async def act(actor: MemoryActor, offset: int) -> None:
        stage = Acting(topics, actor, NoMeter())
        await stage.assigned({0})
        await stage.take(0, offset, bodies[offset], lambda: None)
        await stage.close()

    asyncio.run(act(MemoryActor(), 0))
    asyncio.run(act(second, last))

    assert second.taken == [v.verdict_id for v in effects * 3]


def test_who_stands_by_does_not_act() -> None:
    actor = MemoryActor()

    async def stand_by() -> None:
        stage = Acting(MemoryState(), actor, NoMeter())
        await stage.assigned(set())
        await asyncio.sleep(0.05)
        await stage.close()

    asyncio.run(stand_by())

    assert actor.steps == 0


class BrokenActor(MemoryActor):
    def step(self) -> None:
        raise PermanentError("gitops_refused", "no such branch")


def test_effects_that_cannot_go_on_end_the_worker() -> None:
    async def act() -> None:
        stage = Acting(MemoryState(), BrokenActor(), NoMeter())
        await stage.assigned({0})
        while True:
            await asyncio.sleep(0.01)
            stage.check()

    with pytest.raises(PermanentError, match="gitops_refused"):
        asyncio.run(asyncio.wait_for(act(), 60))


class SlowActor(MemoryActor):
    """Its step lasts until it is let go; writes down what began while it lasted."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stepping = False
        self.meanwhile: list[str] = []
        self.go_on = threading.Event()

    def _begin(self, what: str) -> None:
        if self.is_stepping:
            self.meanwhile.append(what)

    def restore(self, parts: Mapping[str, bytes]) -> None:
        self._begin("restore")
        super().restore(parts)

    def receive(self, verdicts: Sequence[Verdict]) -> None:
        self._begin("receive")
        super().receive(verdicts)

    def step(self) -> None:
        self._begin("step")
        self.is_stepping = True
        self.go_on.wait(60)
        self.is_stepping = False
        super().step()


def test_a_partition_that_comes_back_during_a_push_waits_for_its_end() -> None:
    (body, *_) = [msgspec.msgpack.encode(v) for v in windows_topic()[2]]
    topics, actor = MemoryState([body]), SlowActor()

    async def act() -> None:
        stage = Acting(topics, actor, NoMeter())
        await stage.assigned({0})
        await until(lambda: actor.is_stepping)
        await stage.assigned(set())
        await stage.assigned({0})
        taking = asyncio.create_task(stage.take(0, 0, body, lambda: None))
        await asyncio.sleep(0.2)
        assert actor.meanwhile == []
        actor.go_on.set()
        await taking
        await until(lambda: actor.steps == 2)
        await stage.close()

    asyncio.run(act())

    assert len(actor.taken) == 1
    assert topics.calls.count("state") == 2


def test_a_partition_that_is_lost_during_a_push_is_not_acted_for_after_it() -> None:
    actor = SlowActor()

    async def act() -> None:
        stage = Acting(MemoryState(), actor, NoMeter())
        await stage.assigned({0})
        await until(lambda: actor.is_stepping)
        await stage.assigned(set())
        actor.go_on.set()
        await asyncio.sleep(1.2)
        await stage.close()

    asyncio.run(act())

    assert actor.steps == 1


def test_an_effect_that_lasts_longer_than_the_drain_holds_up_no_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streams.faust_act._DRAIN_S", 0.1)
    actor = SlowActor()

    async def act() -> None:
        stage = Acting(MemoryState(), actor, NoMeter())
        await stage.assigned({0})
        await until(lambda: actor.is_stepping)
        await stage.assigned(set())
        await stage.close()
        assert actor.is_stepping
        actor.go_on.set()

    asyncio.run(act())

    assert "effect_cut_short" in caplog.text
