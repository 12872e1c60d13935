"""What happens to topics behind our back: each history has a name, and nothing is lost in silence.

A worker counts a first run. Then the history, a second run, and a worker again: either all is
counted once, or the worker says what is wrong; and after a person has accepted what stands, all
that the log holds is counted once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import pytest

from streams.kafka.acceptance import accept, look
from streams.kafka.broker import KafkaSettings
from streams.kafka.identity import IDENTITY
from streams.kafka.topics import (
    ACT_STATE,
    DEAD_LETTERS,
    DECIDE_STATE,
    SEEN,
    TELEMETRY,
    TOPICS,
    VERDICTS,
    WINDOWS,
)
from streams.log.base import Append
from tests.fakes import kafka_history as history
from tests.fakes.segments import START_MS
from wire.errors import PermanentError

SECONDS: Final = 4
FIRST = history.run_of(1, seconds=SECONDS)
SECOND = history.run_of(2, seconds=SECONDS, late_ms=10_000)
LONGER = history.run_of(3, seconds=2 * SECONDS, late_ms=10_000)
"""Longer than the first: the new log has records at each of our old positions."""
Step = Callable[[KafkaSettings], Awaitable[None]]


def made_anew(*topics: str) -> Step:
    async def step(settings: KafkaSettings) -> None:
        await history.delete(settings, *topics)
        await history.make(settings, *topics)

    return step


async def deleted(settings: KafkaSettings) -> None:
    await history.delete(settings, TELEMETRY)


async def made_anew_with_more_partitions(settings: KafkaSettings) -> None:
    await history.delete(settings, TELEMETRY)
    await history.make(settings, TELEMETRY, partitions=3)


async def widened(settings: KafkaSettings) -> None:
    await history.widen(settings, TELEMETRY, 3)


async def trimmed_behind_us(settings: KafkaSettings) -> None:
    await history.trim(settings, TELEMETRY, 0, 3)


async def trimmed_past_us(settings: KafkaSettings) -> None:
    await history.append(settings, SECOND)
    for partition in (0, 1):
        end = await history.end_of(settings, TELEMETRY, partition)
        await history.trim(settings, TELEMETRY, partition, end - 1)


async def positions_trimmed(settings: KafkaSettings) -> None:
    end = await history.end_of(settings, SEEN, 0)
    await history.trim(settings, SEEN, 0, end)


async def mirrored(settings: KafkaSettings) -> None:
    """Every topic made anew, and what pinned them copied: another cluster, fed by a mirror."""
    other = replace(settings, prefix=settings.prefix + "-mirror")
    await history.make(other, IDENTITY)
    await history.copied(settings, IDENTITY, other)
    await history.delete(settings, *(topic.name for topic in TOPICS))
    await history.make(settings, *(topic.name for topic in TOPICS))
    await history.copied(other, IDENTITY, settings)


def altered(topic: str, **changes: str) -> Step:
    async def step(settings: KafkaSettings) -> None:
        await history.alter(settings, topic, **changes)

    return step


@dataclass(frozen=True)
class History:
    """`code` is the named error, "" if all goes on; `accepting` is the way on, if there is one."""

    name: str
    step: Step
    code: str
    records: list[Append]
    accepting: tuple[str, ...] = ()


TELEMETRY_ANEW = (TELEMETRY,)
HISTORIES = (
    History("nothing", lambda _: asyncio.sleep(0), "", SECOND),
    History("made anew, empty", made_anew(TELEMETRY), "log_replaced", [], TELEMETRY_ANEW),
    History("made anew, shorter", made_anew(TELEMETRY), "log_replaced", SECOND[:9], TELEMETRY_ANEW),
    History("made anew, same length", made_anew(TELEMETRY), "log_replaced", SECOND, TELEMETRY_ANEW),
    History("made anew, longer", made_anew(TELEMETRY), "log_replaced", LONGER, TELEMETRY_ANEW),
    History("made anew, old records", made_anew(TELEMETRY), "log_replaced", FIRST, TELEMETRY_ANEW),
    History("deleted", deleted, "log_replaced", [], TELEMETRY_ANEW),
    History("made anew, wider", made_anew_with_more_partitions, "topic_partitions_differ", []),
    History("partitions added", widened, "topic_partitions_differ", []),
    History("trimmed behind us", trimmed_behind_us, "", SECOND),
    History("trimmed past us", trimmed_past_us, "log_trimmed", [], TELEMETRY_ANEW),
    History("seen made anew", made_anew(SEEN), "log_replaced", SECOND),
    History("seen trimmed", positions_trimmed, "position_lost", SECOND),
    History("windows made anew", made_anew(WINDOWS), "log_replaced", SECOND),
    History("decide-state made anew", made_anew(DECIDE_STATE), "log_replaced", SECOND),
    History("act-state made anew", made_anew(ACT_STATE), "log_replaced", SECOND),
    History("verdicts made anew", made_anew(VERDICTS), "log_replaced", SECOND, (VERDICTS,)),
    History("letters made anew", made_anew(DEAD_LETTERS), "log_replaced", SECOND, (DEAD_LETTERS,)),
    History("identity made anew", made_anew(IDENTITY), "log_replaced", SECOND, (IDENTITY,)),
    History("two made anew", made_anew(TELEMETRY, VERDICTS), "log_replaced", SECOND,
            (TELEMETRY, VERDICTS)),
    History("mirrored", mirrored, "log_replaced", SECOND),
    History("compacted", altered(TELEMETRY, cleanup__policy="compact"),
            "topic_settings_refused", []),
    History("state trimmed by time", altered(DECIDE_STATE, cleanup__policy="delete"),
            "topic_settings_refused", []),
    History("kept for an hour", altered(TELEMETRY, retention__ms="3600000"),
            "topic_settings_refused", []),
    History("kept by size", altered(SEEN, retention__bytes="1000000"),
            "topic_settings_refused", []),
    History("small records", altered(TELEMETRY, max__message__bytes="100000"),
            "topic_settings_refused", []),
    History("unclean elections", altered(TELEMETRY, unclean__leader__election__enable="true"),
            "topic_settings_refused", []),
    History("producers' clocks", altered(TELEMETRY, message__timestamp__type="CreateTime"),
            "topic_settings_refused", []),
    History("more copies in sync than there are", altered(TELEMETRY, min__insync__replicas="2"),
            "topic_settings_refused", []),
)  # fmt: skip


@pytest.mark.parametrize("told", HISTORIES, ids=lambda told: told.name)
def test_a_history_is_named_or_counted_once(told: History, settings: KafkaSettings) -> None:
    asyncio.run(_tell(told, settings))


async def _tell(told: History, settings: KafkaSettings) -> None:
    await history.append(settings, [*FIRST, *history.closing(START_MS + 5_000)])
    await history.live(settings)
    assert await history.counted(settings) == history.rows_in(FIRST)

    await told.step(settings)
    if told.records:
        await history.append(settings, told.records)
        await history.append(settings, history.closing(START_MS + 60_000))

    if not told.code:
        await history.live(settings)
        assert await history.counted(settings) == history.rows_in([*FIRST, *told.records])
        return
    before = await history.counted(settings) if told.step is not widened else 0
    for _ in range(2):  # and it stays so
        with pytest.raises(PermanentError) as caught:
            await history.live(settings)
        assert caught.value.code == told.code
        assert caught.value.accepted
    if told.code in {"log_replaced", "log_trimmed", "position_lost"}:
        await _accept(told, settings, before)


async def _accept(told: History, settings: KafkaSettings, before: int) -> None:
    differing = (await look(settings)).differing
    if not told.accepting:
        with pytest.raises(PermanentError) as caught:
            await accept(settings, differing or [SEEN], now_s=1)
        assert caught.value.code == "log_not_acceptable"
        return
    if told.code == "log_replaced":
        assert set(differing) == set(told.accepting)

    await accept(settings, told.accepting, now_s=1)

    await history.live(settings)
    await history.append(settings, history.closing(START_MS + 70_000))
    await history.live(settings)
    held = told.records if told.code == "log_replaced" else []
    expected = history.rows_in([*FIRST, *held])
    assert await history.counted(settings) == expected >= before
    assert (await look(settings)).differing == []
