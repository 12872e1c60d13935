"""A real Kafka broker for tests, and a topic prefix for each.

In order: ``KAFKA_BOOTSTRAP_SERVERS``, a container if an engine answers, a broker of Maven's jars.
Where none can be had, tests are skipped and say why; with ``CI`` set they fail. Each pytest worker
has its own broker (360 MB, ready after 5 s): a shared one would tie the workers' lives together.
"""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NoReturn

import pytest

from bench.broker import BrokerUnavailableError, Cluster, docker_broker

ENVIRONMENT = "KAFKA_BOOTSTRAP_SERVERS"


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a broker that lives as long as the test session."""
    with ExitStack() as stack:
        if given := os.environ.get(ENVIRONMENT):
            yield given
            return
        try:
            if _engine_answers():
                bootstrap = stack.enter_context(docker_broker())
            else:
                folder = tmp_path_factory.mktemp("kafka")
                bootstrap = stack.enter_context(Cluster(folder)).bootstrap
        except BrokerUnavailableError as error:
            without_broker(error)
        yield bootstrap


@pytest.fixture
def kafka_prefix() -> str:
    """A topic prefix that no other test has."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture(scope="module")
def module_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A broker of one test module alone."""
    try:
        with Cluster(tmp_path_factory.mktemp("own-kafka") / "one") as cluster:
            yield cluster
    except BrokerUnavailableError as error:
        without_broker(error)


@pytest.fixture
def own_kafka(module_kafka: Cluster) -> Cluster:
    """A broker that a test may stop and kill; it runs again when the next test begins."""
    module_kafka.start()
    return module_kafka


def without_broker(error: BrokerUnavailableError) -> NoReturn:
    """Skip loudly, or fail where everything must run."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have a Kafka broker: {error}")
    pytest.skip(f"NO KAFKA BROKER, NOT TESTED: {error}")


def _engine_answers() -> bool:
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
