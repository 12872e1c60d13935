"""Topics are made once, checked at every start, and never changed behind an operator's back."""

import asyncio
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.kafka.broker import KafkaSettings
from streams.kafka.topics import TOPICS, configuration_of, ensure_topics, partitions_of
from wire.errors import PermanentError, TransientError


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> KafkaSettings:
    return KafkaSettings(kafka, prefix=kafka_prefix, partitions=3)


async def stand(settings: KafkaSettings) -> dict[str, tuple[int, dict[str, str]]]:
    """Partitions and settings of our topics, as the broker says."""
    client = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await client.start()
    try:
        found = {}
        for topic in TOPICS:
            name = settings.topic(topic.name)
            described = (await client.describe_topics([name]))[0]
            resource = ConfigResource(ConfigResourceType.TOPIC, name)
            answer = (await client.describe_configs([resource]))[0]
            pairs = {entry[0]: entry[1] for entry in answer.resources[0][4]}
            found[topic.name] = (len(described["partitions"]), pairs)
        return found
    finally:
        await client.close()


def test_missing_topics_are_made_as_the_table_says(settings: KafkaSettings) -> None:
    asyncio.run(ensure_topics(settings))

    found = asyncio.run(stand(settings))
    for topic in TOPICS:
        count, pairs = found[topic.name]
        assert count == partitions_of(topic, settings)
        assert configuration_of(topic, settings).items() <= pairs.items()
    assert found["telemetry"][0] == 3
    assert found["windows"][0] == 1


def test_processes_that_start_together_make_them_once(settings: KafkaSettings) -> None:
    async def together() -> None:
        await asyncio.gather(*(ensure_topics(settings) for _ in range(4)))

    asyncio.run(together())

    assert asyncio.run(stand(settings))["seen"][0] == 3


def test_another_partition_count_is_refused(settings: KafkaSettings) -> None:
    asyncio.run(ensure_topics(settings))

    with pytest.raises(PermanentError, match="telemetry has 3 partitions, not 2") as caught:
        asyncio.run(ensure_topics(replace(settings, partitions=2)))
    assert caught.value.code == "topic_partitions_differ"
    assert caught.value.accepted == "3"


def test_without_leave_to_make_them_each_missing_topic_is_named(settings: KafkaSettings) -> None:
    with pytest.raises(PermanentError) as caught:
        asyncio.run(ensure_topics(replace(settings, create_topics=False)))

    assert caught.value.code == "topic_missing"
    assert all(settings.topic(topic.name) in caught.value.detail for topic in TOPICS)


def test_more_copies_than_brokers_is_a_mistake_of_the_operator(settings: KafkaSettings) -> None:
    with pytest.raises(PermanentError, match="InvalidReplicationFactor") as caught:
        asyncio.run(ensure_topics(replace(settings, replication=9)))

    assert caught.value.code == "topic_refused"


def test_no_broker_is_a_passing_state() -> None:
    with pytest.raises(TransientError, match="kafka_away"):
        asyncio.run(ensure_topics(KafkaSettings("127.0.0.1:9")))
