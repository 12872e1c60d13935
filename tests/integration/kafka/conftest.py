"""A prefix of its own on the broker, with our topics."""

import asyncio

import pytest

from streams.kafka.broker import KafkaSettings
from streams.kafka.topics import ensure_topics


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> KafkaSettings:
    made = KafkaSettings(kafka, prefix=kafka_prefix, partitions=2)
    asyncio.run(ensure_topics(made))
    return made
