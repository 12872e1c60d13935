"""One server and one log for the tests of a file."""

from collections.abc import Iterator

import pytest

from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import Running, running
from tests.fakes.phone_http import CLIENT


@pytest.fixture(scope="session", autouse=True)
def _client() -> Iterator[None]:
    with CLIENT:
        yield


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return MemoryLog(2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, log: MemoryLog) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("ingest"), log) as up:
        yield up
