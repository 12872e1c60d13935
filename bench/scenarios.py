"""What happens to a cluster besides accidents: workers come and go, brokers restart, clocks err."""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from typing import Final

from bench.cluster import ScaledOut, Shape
from bench.faults import STUCK_S, Course
from holdfast.clock import now_ms
from holdfast.kafka_settings import kafka_settings
from streams.kafka.acceptance import accept
from streams.kafka.broker import KafkaSettings, admin
from streams.kafka.topics import TELEMETRY, make_missing

Tell = Callable[[str], None]
Scenario = Callable[[ScaledOut, Course, Tell], None]

_STEADY_S: Final = 10.0
_AWAY_S: Final = 4.0
_WRONG_S: Final = 60.0
_APART_MS: Final = -30_000
_IN_2099_MS: Final = 4_080_000_000_000
_LOOK_S: Final = 0.1
_NAMED: Final = 2  # exit code of what will fail again


def rescale(world: ScaledOut, course: Course, tell: Tell) -> None:
    """Summarise workers 1 -> 3 -> 1 under load."""
    time.sleep(_STEADY_S)
    added = ("summarise-1", "summarise-2")
    for name in added:
        world.add(name)
    _go_on(world, course, "3 workers", tell)
    time.sleep(_STEADY_S)
    _go_on(world, course, "3 workers, settled", tell)
    for name in added:
        began_s = time.monotonic()
        course.drains_unclean += world.remove(name) != 0
        course.drain_seconds_max = max(course.drain_seconds_max, time.monotonic() - began_s)
    _go_on(world, course, "1 worker", tell)
    time.sleep(_STEADY_S)
    _go_on(world, course, "1 worker, settled", tell)


def broker_restart(world: ScaledOut, course: Course, tell: Tell) -> None:
    """A broker is told to end, another time killed; it is away for seconds each time."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        time.sleep(_STEADY_S)
        broker = world.brokers.brokers[0]
        broker.signal(number)
        broker.wait_ended()
        time.sleep(_AWAY_S)
        world.revive()
        _go_on(world, course, f"the broker came back after {number.name}", tell)


def clocks_apart(world: ScaledOut, course: Course, tell: Tell) -> None:
    """Two doors whose clocks are 30 s apart."""
    world.restart("ingest-1", clock_offset_ms=_APART_MS)
    _go_on(world, course, "a door's clock is 30 s behind", tell)
    time.sleep(_WRONG_S)
    _go_on(world, course, "and still is", tell)


def clock_in_2099(world: ScaledOut, course: Course, tell: Tell) -> None:
    """One door believes for a minute that it is 2099."""
    world.restart("ingest-1", clock_offset_ms=_IN_2099_MS - now_ms())
    _go_on(world, course, "a door is in 2099", tell)
    time.sleep(_WRONG_S)
    _go_on(world, course, "and still is", tell)
    world.restart("ingest-1")
    _go_on(world, course, "it has come back", tell)


def topic_anew(world: ScaledOut, course: Course, tell: Tell) -> None:
    """Somebody deletes `telemetry` and makes it again; the workers say so until it is accepted."""
    time.sleep(_STEADY_S)
    _go_on(world, course, "before", tell)
    kafka = kafka_settings(world.settings)
    asyncio.run(make_anew(kafka, TELEMETRY))
    workers = [part for part in world.parts.values() if part.stage == "summarise"]
    began_s = time.monotonic()
    while not all(part.popen is not None and part.popen.poll() == _NAMED for part in workers):
        if time.monotonic() - began_s > STUCK_S:
            course.stuck += 1
            tell("the workers do not say that their log was replaced")
            break
        time.sleep(_LOOK_S)
    tell(f"all summarise workers have ended with {_NAMED}; log_replaced is named")
    asyncio.run(accept(kafka, [TELEMETRY], now_s=now_ms() // 1000))
    world.revive()
    # all workers start at once, and two of them meet in a new group
    _go_on(world, course, "the new log was accepted", tell, within_s=2 * STUCK_S)
    time.sleep(_STEADY_S)
    _go_on(world, course, "and goes on", tell)


async def make_anew(kafka: KafkaSettings, topic: str) -> None:
    """Delete a topic and make it again as it was."""
    client = admin(kafka, "bench-topics")
    await client.start()
    try:
        name = kafka.topic(topic)
        await client.delete_topics([name])
        while name in await client.list_topics():  # noqa: ASYNC110  # the broker tells nobody
            await asyncio.sleep(_LOOK_S)
        await make_missing(client, kafka)
    finally:
        await client.close()


SCENARIOS: Final[Mapping[str, tuple[Scenario, Shape]]] = {
    "rescale": (rescale, Shape(summarise=1)),
    "broker-restart": (broker_restart, Shape()),
    "clocks-apart": (clocks_apart, Shape()),
    "clock-2099": (clock_in_2099, Shape()),
    "topic-anew": (topic_anew, Shape()),
}


def _go_on(
    world: ScaledOut, course: Course, what: str, tell: Tell, *, within_s: float = STUCK_S
) -> None:
    """Windows that end from now on must be decided and stored."""
    mark, began_s = world.mark(), time.monotonic()
    while (took_s := time.monotonic() - began_s) < within_s and not world.is_past(mark):
        time.sleep(_LOOK_S)
    course.faults[what] += 1
    course.stuck += took_s >= within_s
    course.live_seconds_max = max(course.live_seconds_max, took_s)
    tell(f"{what}: decided on after {took_s:.1f} s")
