"""A summarise worker remembers what the broker keeps, and does not start if that is too little."""

import asyncio
from dataclasses import replace

import pytest

from holdfast.seen_retention import remembering
from streams.kafka.broker import KafkaSettings
from streams.kafka.topics import DECIDE_STATE, SEEN, ensure_topics, retention_of
from streams.stage_summarise import Clocks
from wire.errors import PermanentError

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> KafkaSettings:
    made = KafkaSettings(kafka, prefix=kafka_prefix, seen_retention_ms=8 * DAY_MS)
    asyncio.run(ensure_topics(made))
    return made


def remembered(settings: KafkaSettings, accepted_age_ms: int) -> Clocks:
    return asyncio.run(remembering(settings, Clocks(60_000, accepted_age_ms)))


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
