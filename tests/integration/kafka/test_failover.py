"""Three brokers, two in sync: one may die at any moment, and nothing that was appended is lost."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from bench.broker import BrokerUnavailableError, Cluster
from streams.kafka import topics
from streams.kafka.broker import KafkaSettings
from streams.kafka.topics import TELEMETRY, ensure_topics
from streams.log.base import Append
from streams.log.kafka import KafkaLog
from tests.fakes.node_world import until
from tests.kafka_fixtures import without_broker
from wire.errors import PermanentError, TransientError


def appended(
    log: KafkaLog, enough: threading.Event, until: threading.Event
) -> tuple[set[int], int]:
    """Numbers appended until told to stop, and how many appends were refused."""
    done: set[int] = set()
    refused = number = 0
    while not until.is_set():
        number += 1
        try:
            log.append([Append(p, number.to_bytes(8, "big"), 1) for p in (0, 1)])
        except TransientError:
            refused += 1
        else:
            done.add(number)
        if len(done) == 50:
            enough.set()
    return done, refused


def held(log: KafkaLog, partition: int) -> list[int]:
    records = log.read(partition, 0, bytes_max=1 << 30)
    return [int.from_bytes(record.payload, "big") for record in records]


def wait_for_leaders_change(log: KafkaLog) -> None:
    """An append succeeds after the kill: every partition has a leader again."""
    for _ in range(4):
        try:
            log.append([Append(p, bytes(8), 1) for p in (0, 1)])
        except TransientError:
            continue
        return
    pytest.fail("no leader took over")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three brokers; each test leaves all of them running, and knows that they are."""
    try:
        with Cluster(tmp_path_factory.mktemp("kafka") / "three", 3) as cluster:
            yield cluster
    except BrokerUnavailableError as error:
        without_broker(error)


async def leaderless(settings: KafkaSettings) -> int:
    """Partitions of telemetry that have no leader now; -1: a broker that died was asked."""
    client = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    try:
        await client.start()
        (found,) = await client.describe_topics([settings.topic(TELEMETRY)])
        return sum(partition["leader"] < 0 for partition in found["partitions"])
    except KafkaError:
        return -1
    finally:
        await client.close()


@pytest.mark.slow
def test_a_start_while_a_partition_has_no_leader_waits_and_refuses_nothing(
    three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = KafkaSettings(three.bootstrap, prefix="start", partitions=3)
    asyncio.run(ensure_topics(settings))
    three.kill(2)
    until(lambda: asyncio.run(leaderless(settings)) == 1, "the loss is not seen")

    with monkeypatch.context() as patch:
        patch.setattr(topics, "_APPEAR_LOOKS", 3)
        with pytest.raises(TransientError, match="kafka_away"):
            asyncio.run(ensure_topics(settings))
    with pytest.raises(PermanentError, match="topic_partitions_differ"):
        asyncio.run(ensure_topics(replace(settings, partitions=2)))
    with ThreadPoolExecutor(1) as thread, monkeypatch.context() as patch:
        patch.setattr(topics, "_APPEAR_LOOKS", 1000)  # however long a broker takes to come back
        starting = thread.submit(asyncio.run, ensure_topics(settings))
        time.sleep(0.5)
        assert not starting.done()
        three.restart(2)
        starting.result()
    until(lambda: asyncio.run(leaderless(settings)) == 0, "a leader is missing")


@pytest.mark.slow
def test_a_broker_of_three_may_die_and_no_append_is_lost_or_doubled(three: Cluster) -> None:
    settings = KafkaSettings(
        three.bootstrap, prefix="three", partitions=2, replication=3, min_insync=2
    )
    asyncio.run(ensure_topics(settings))
    log = KafkaLog(settings, client_id="three")
    enough, stop = threading.Event(), threading.Event()
    results: list[tuple[set[int], int]] = []
    thread = threading.Thread(target=lambda: results.append(appended(log, enough, stop)))
    thread.start()
    try:
        assert enough.wait(60)
        for at in (0, 1):  # one after the other: each partition's leader dies at least once
            three.kill(at)
            wait_for_leaders_change(log)
            three.restart(at)
    finally:
        stop.set()
        thread.join()

    done, refused = results[0]
    for partition in (0, 1):
        numbers = [number for number in held(log, partition) if number]
        assert done <= set(numbers)
        assert len(numbers) == len(set(numbers))
    assert refused <= 2  # a failover takes 3 s, an append has 8
    log.close()
