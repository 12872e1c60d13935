"""A summarise worker remembers what the broker keeps, and does not start if that is too little."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from holdfast.seen_retention import remembering
from streams.clocks import Clocks
from streams.kafka.broker import KafkaSettings
from streams.kafka.topics import DECIDE_STATE, SEEN, ensure_topics, retention_of
from streams.summarise import fresh_index
from tests.fakes.segments import START_MS
from wire.errors import PermanentError
from wire.segment import BATCH_ID
from wire.times import DAY_MS, HOUR_MS


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> KafkaSettings:
    made = KafkaSettings(kafka, prefix=kafka_prefix, seen_retention_ms=8 * DAY_MS)
    asyncio.run(ensure_topics(made))
    return made


def remembered(settings: KafkaSettings, accepted_age_ms: int) -> Clocks:
    return asyncio.run(remembering(settings, Clocks(60_000, accepted_age_ms)))


def test_ids_are_remembered_for_as_long_as_they_are_kept_whatever_the_policy_accepts(
    settings: KafkaSettings,
) -> None:
    kept = Clocks(60_000, 8 * DAY_MS - 240_000)

    assert remembered(settings, DAY_MS) == kept
    assert remembered(settings, 7 * DAY_MS) == kept


def retried(horizon_ms: int, *, after_ms: int) -> float:
    """Share of ids that an index still knows then, with others every hour."""
    rng = np.random.default_rng(1)
    index = fresh_index(horizon_ms, None)
    index.recent_max = 2
    first = np.frombuffer(rng.bytes(16 * 400), BATCH_ID)
    index.add(first, START_MS)
    for at_ms in range(HOUR_MS, after_ms, HOUR_MS):
        index.add(np.frombuffer(rng.bytes(32), BATCH_ID), START_MS + at_ms)
    return float(index.add(first, START_MS + after_ms).mean())


def test_a_policy_that_grows_under_a_running_worker_finds_the_ids_of_before(
    settings: KafkaSettings,
) -> None:
    """A day is accepted when the worker starts, a week later on: a retry after six days."""
    clocks = remembered(settings, DAY_MS)

    assert retried(clocks.horizon_ms, after_ms=6 * DAY_MS) == 1.0
    assert retried(DAY_MS, after_ms=6 * DAY_MS) == 0.0  # by the accepted age of its start


def test_a_worker_that_would_forget_too_early_does_not_start(settings: KafkaSettings) -> None:
    with pytest.raises(PermanentError, match="seen_retention_too_short: batch ids are kept for"):
        remembered(settings, 8 * DAY_MS - 240_000)


def test_a_topic_that_keeps_less_than_the_setting_says_is_found_out(
    settings: KafkaSettings,
) -> None:
    longer = replace(settings, seen_retention_ms=30 * DAY_MS)
    asyncio.run(ensure_topics(longer))

    with pytest.raises(PermanentError, match="keeps batch ids for 192 h, not for 720 h"):
        remembered(longer, 7 * DAY_MS)


def test_the_brokers_own_retention_is_read(settings: KafkaSettings) -> None:
    assert asyncio.run(retention_of(settings, SEEN)) == 8 * DAY_MS
    assert asyncio.run(retention_of(replace(settings, prefix="not-there"), SEEN)) is None
    assert asyncio.run(retention_of(settings, DECIDE_STATE)) is not None
