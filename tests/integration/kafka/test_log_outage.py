"""A broker that goes away costs nothing but time: an error soon, and work again by itself."""

import asyncio
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.broker import Cluster
from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings
from streams.kafka.topics import TELEMETRY, ensure_topics
from streams.log.base import Append
from streams.log.kafka import KafkaLog
from wire.errors import TransientError

BOUND_S = 10.0  # 8 s, and room for a loaded machine


@pytest.fixture
def log(own_kafka: Cluster, kafka_prefix: str) -> Iterator[KafkaLog]:
    settings = KafkaSettings(own_kafka.bootstrap, prefix=kafka_prefix)
    asyncio.run(ensure_topics(settings))
    made = KafkaLog(settings, client_id="outage")
    yield made
    made.close()


def refused_s(log: KafkaLog, payload: bytes) -> float:
    """How long it took until the append was refused."""
    began = time.monotonic()
    with pytest.raises(TransientError, match="kafka_away") as caught:
        log.append([Append(0, payload, 1)])
    assert caught.value.retry_after_s > 0
    return time.monotonic() - began


def appended(log: KafkaLog, payload: bytes) -> int:
    deadline = time.monotonic() + 30
    while True:
        try:
            return log.append([Append(0, payload, 1)])[0]
        except TransientError:
            if time.monotonic() > deadline:
                raise


def payloads(log: KafkaLog) -> list[bytes]:
    return [record.payload for record in log.read(0, 0, bytes_max=1 << 20)]


def test_a_killed_broker_is_an_error_in_bounded_time_and_then_forgotten(
    own_kafka: Cluster, log: KafkaLog
) -> None:
    log.append([Append(0, b"before", 1)])

    own_kafka.kill()
    assert refused_s(log, b"lost") < BOUND_S
    assert refused_s(log, b"lost") < BOUND_S
    own_kafka.restart()
    at = appended(log, b"after")

    found = payloads(log)
    assert found[0] == b"before"
    assert found[at] == b"after"
    assert b"lost" not in found  # a refused append that never left is not sent later


def test_a_broker_that_hangs_is_an_error_in_bounded_time(own_kafka: Cluster, log: KafkaLog) -> None:
    log.append([Append(0, b"before", 1)])

    own_kafka.brokers[0].signal(signal.SIGSTOP)
    try:
        assert refused_s(log, b"perhaps") < BOUND_S
    finally:
        own_kafka.brokers[0].signal(signal.SIGCONT)
    appended(log, b"after")

    found = payloads(log)
    assert found[0] == b"before"
    assert found[-1] == b"after"
    assert found.count(b"perhaps") <= 1  # it may have been on its way


def test_a_short_absence_is_not_even_an_error(own_kafka: Cluster, log: KafkaLog) -> None:
    log.append([Append(0, b"before", 1)])

    own_kafka.brokers[0].signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as thread:
        appending = thread.submit(log.append, [Append(0, b"after", 1)])
        time.sleep(1.0)
        assert not appending.done()
        own_kafka.brokers[0].signal(signal.SIGCONT)

        assert appending.result() == [1]


def test_reading_waits_no_longer_than_appending(own_kafka: Cluster, log: KafkaLog) -> None:
    log.append([Append(0, b"x", 1)])
    assert payloads(log) == [b"x"]

    own_kafka.kill()
    began = time.monotonic()
    with pytest.raises(TransientError, match="kafka_away"):
        log.read(0, 0, bytes_max=1)
    assert time.monotonic() - began < BOUND_S

    own_kafka.restart()
    appended(log, b"y")
    assert payloads(log) == [b"x", b"y"]


def test_trimming_waits_no_longer_than_appending(own_kafka: Cluster, log: KafkaLog) -> None:
    log.append([Append(0, b"x", 1)])
    own_kafka.kill()

    began = time.monotonic()
    with pytest.raises(TransientError, match="kafka_away"):
        log.trim(0, before=1)

    assert time.monotonic() - began < BOUND_S


def test_closing_does_not_wait_for_a_broker_that_is_away(own_kafka: Cluster, log: KafkaLog) -> None:
    log.append([Append(0, b"x", 1)])
    own_kafka.kill()

    began = time.monotonic()
    log.close()

    assert time.monotonic() - began < BOUND_S


def test_a_producer_that_was_given_up_leaves_nothing_behind(
    own_kafka: Cluster, kafka_prefix: str
) -> None:
    settings = KafkaSettings(own_kafka.bootstrap, prefix=kafka_prefix)
    topic = settings.topic(TELEMETRY)

    async def left() -> list[str]:
        await ensure_topics(settings)
        appender = Appender(settings, "test")
        await appender.append(topic, [Outgoing(0, b"there")])
        own_kafka.brokers[0].signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(appender.append(topic, [Outgoing(0, b"hangs")]), 1)
        await asyncio.to_thread(own_kafka.kill)  # the request under way fails
        await appender.close()
        return [str(task) for task in asyncio.all_tasks() - {asyncio.current_task()}]

    assert asyncio.run(left()) == []
