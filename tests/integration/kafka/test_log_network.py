"""A network between us and a broker that runs: what is refused is refused in time, and it mends."""

import asyncio
from collections.abc import Iterator

import pytest

from bench.broker import BrokerUnavailableError, Cluster, Detour, free_ports
from bench.fault_proxy import FaultProxy, Mode
from streams.kafka.broker import KafkaSettings
from streams.kafka.topics import ensure_topics
from streams.log.base import Append
from streams.log.kafka import KafkaLog
from tests.fakes.node_world import until
from tests.kafka_fixtures import without_broker
from wire.errors import TransientError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    """Before a broker that sends its clients through it."""
    (port,) = free_ports(1)
    made = FaultProxy(port)
    made.start()
    try:
        with Cluster(tmp_path_factory.mktemp("cut") / "one", 1, [Detour(port, made.port)]):
            yield made
    except BrokerUnavailableError as error:
        without_broker(error)
    finally:
        made.stop()


@pytest.fixture
def log(proxy: FaultProxy, kafka_prefix: str) -> Iterator[KafkaLog]:
    settings = KafkaSettings(f"127.0.0.1:{proxy.port}", prefix=kafka_prefix)
    asyncio.run(ensure_topics(settings))
    made = KafkaLog(settings, client_id="cut-off", timeout_s=3.0)
    yield made
    made.close()


def is_appended(log: KafkaLog, payload: bytes) -> bool:
    try:
        log.append([Append(0, payload, 1)])
    except TransientError:
        return False
    return True


@pytest.mark.parametrize("mode", [Mode.RESET, Mode.BLACKHOLE, Mode.HALF_OPEN])
def test_an_append_that_meets_a_broken_network_is_refused_and_the_next_one_is_not(
    proxy: FaultProxy, log: KafkaLog, mode: Mode
) -> None:
    log.append([Append(0, b"before", 1)])

    proxy.switch(mode)
    try:
        with pytest.raises(TransientError, match="kafka_away"):
            log.append([Append(0, b"perhaps", 1)])
    finally:
        proxy.switch(Mode.PASS)
    until(lambda: is_appended(log, b"after"), "append after the network came back")

    first, *between, last = [r.payload for r in log.read(0, 0, bytes_max=1 << 20)]
    assert (first, last) == (b"before", b"after")
    # its answer may have been lost alone: then it is there, and its batch ids will drop a retry
    assert between in ([], [b"perhaps"])


def test_a_slow_network_is_waited_for(proxy: FaultProxy, log: KafkaLog) -> None:
    log.append([Append(0, b"before", 1)])  # connected: that takes a dozen round trips

    proxy.switch(Mode.LATENCY, latency_s=0.3)
    try:
        assert log.append([Append(0, b"slow", 1)]) == [1]
    finally:
        proxy.switch(Mode.PASS)
