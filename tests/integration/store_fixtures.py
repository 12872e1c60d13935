"""A real store process for tests: chDB behind its endpoint, migrated."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from store import process
from store.client import Client, StoreSettings, connect
from store.migrate import migrate


@dataclass(frozen=True, slots=True)
class StoreEndpoint:
    """Where a running store listens and how to enter."""

    host: str
    port: int
    writer_password: str
    analyst_password: str
    pid: int

    def writer(self) -> Client:
        return connect(StoreSettings(host=self.host, port=self.port, password=self.writer_password))

    def analyst(self) -> Client:
        return connect(
            StoreSettings(
                host=self.host, port=self.port, user="analyst", password=self.analyst_password
            )
        )


WRITER_PASSWORD = "writer-of-tests"
ANALYST_PASSWORD = "analyst-of-tests"


def start_store(folder: Path, *, grace_s: int = 7) -> tuple[process.StoreProcess, StoreEndpoint]:
    """Start a store in `folder`; the caller stops it."""
    credentials = folder / "credentials.json"
    folder.mkdir(parents=True, exist_ok=True)
    process.write_credentials(
        credentials, writer_password=WRITER_PASSWORD, analyst_password=ANALYST_PASSWORD
    )
    running = process.start(folder / "chdb", credentials, grace_s=grace_s)
    return running, StoreEndpoint(
        "127.0.0.1", running.port, WRITER_PASSWORD, ANALYST_PASSWORD, running.popen.pid
    )


@pytest.fixture(scope="session")
def store_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreEndpoint]:
    """One migrated store for the whole session; each test uses model names of its own."""
    running, endpoint = start_store(tmp_path_factory.mktemp("store"))
    client = endpoint.writer()
    migrate(client, now_ms=1_700_000_000_000, app_version="test")
    client.close()
    yield endpoint
    assert running.stop() == 0
