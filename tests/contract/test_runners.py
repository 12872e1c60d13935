"""Every runner of the stages gives the same verdicts and the same rows for the same log.

The embedded runner says what is right; real workers over a real broker must say the same, straight
through, killed in the middle, and with workers joining and leaving.
"""

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest

from analytics.types import Verdict, VerdictKind
from holdfast.config import Settings, load
from holdfast.folder import Folder
from holdfast.kafka_settings import kafka_settings
from holdfast.worker_clocks import CLOCKS, packed
from store.client import Client
from store.migrate import migrate
from store.writer import Writer
from streams.kafka.compacted import StateTopic
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.stage_topics import read_range
from streams.kafka.topics import ACT_STATE, DEAD_LETTERS, VERDICTS, ensure_topics
from streams.local_worker import LocalWorker, WorkerSettings
from streams.log.base import Append
from streams.log.kafka import KafkaLog
from streams.log.sqlite import SqliteLog
from streams.stage_summarise import Clocks
from streams.state import StateStore
from tests.fakes.node_world import until
from tests.fakes.segments import START_MS, WINDOW_MS, appends
from tests.fakes.worker_process import Part
from tests.integration.store_fixtures import WRITER_PASSWORD, StoreEndpoint, start_store

pytestmark = pytest.mark.slow

PARTITIONS = 2
SECONDS = 16
HORIZON_MS = 86_400_000
TABLES = ("metric_window", "verdict", "cost_day", "ingest_window")
NOT_A_SEGMENT = b"\xffnot a segment"
Said = dict[str, list[str]]


def recorded() -> list[Append]:
    """A bad release with its control record, segments that come twice, and one that is broken."""
    rng = np.random.default_rng(4)
    run = list(appends(rng, partitions=PARTITIONS, seconds=SECONDS, slower=1.6, repeat_share=0.1))
    broken = Append(1, NOT_A_SEGMENT, START_MS + 5_000)
    return [*run[: len(run) // 2], broken, *run[len(run) // 2 :]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreEndpoint]:
    """A store of this module alone: its tables are emptied for every run."""
    running, endpoint = start_store(tmp_path_factory.mktemp("runners"))
    client = endpoint.writer()
    migrate(client, now_ms=START_MS, app_version="test")
    client.close()
    yield endpoint
    assert running.stop() == 0


@dataclass
class Expected:
    rows: Said
    effects: list[Verdict]


@pytest.fixture(scope="module")
def expected(store: StoreEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """What the embedded runner makes of the recorded log."""
    folder = tmp_path_factory.mktemp("embedded")
    log = SqliteLog(folder / "log.db", partitions=PARTITIONS, now_ms=lambda: START_MS)
    log.append(recorded())
    state, client = StateStore(folder / "state.db"), store.writer()
    emptied(client)
    worker = LocalWorker(log, Writer(client), state, WorkerSettings(WINDOW_MS, HORIZON_MS))
    while worker.step():
        pass
    effects = state.owed()
    state.close()
    log.close()
    assert state_has_every_kind_of_thing(effects, worker)
    return Expected(rows_of(client), effects)


def state_has_every_kind_of_thing(effects: Sequence[Verdict], worker: LocalWorker) -> bool:
    return (
        any(v.kind is VerdictKind.RELEASE for v in effects)
        and worker.progress.dead_letters == 1
        and worker.progress.windows == SECONDS - 1
    )


def emptied(client: Client) -> None:
    for table in TABLES:
        client.command(f"TRUNCATE TABLE hf_store.{table}")


def rows_of(client: Client) -> Said:
    """Every row as text, in an order of its own: NaN is not equal to itself."""
    queries = {table: f"SELECT * FROM hf_store.{table} FINAL" for table in TABLES}  # noqa: S608
    return {
        table: sorted(repr(row) for row in client.rows(query)) for table, query in queries.items()
    }


class Workers:
    """Real worker processes on topics of their own."""

    def __init__(self, root: Path, bootstrap: str, prefix: str, store: StoreEndpoint) -> None:
        self._root = root
        self._errors = (root / "workers.log").open("ab")
        self.common: Settings = load(
            dir=root,
            kafka_bootstrap=bootstrap,
            kafka_prefix=prefix,
            partitions=PARTITIONS,
            store_url=f"http://127.0.0.1:{store.port}",
            store_password=WRITER_PASSWORD,
        )
        self.kafka = kafka_settings(self.common)
        asyncio.run(self._prepared())
        self.log = KafkaLog(self.kafka, client_id="recorded")
        self.parts: dict[str, Part] = {}

    async def _prepared(self) -> None:
        """The topics, and the clocks that the act stage would have pinned."""
        await ensure_topics(self.kafka)
        state = StateTopic(self.kafka, ACT_STATE, writer="test")
        await state.write({CLOCKS: packed(Clocks(WINDOW_MS, HORIZON_MS))}, position=0)
        await state.close()

    def start(self, *names: str) -> None:
        for name in names:
            folder = Folder(self._root / name)
            folder.create()
            settings = self.common.model_copy(update={"dir": folder.root, "worker_id": name})
            stage = name.partition("-")[0]
            self.parts[name] = Part(name, ["worker", "--stage", stage], settings, self._errors)
            self.parts[name].launch()
        for name in names:
            self.parts[name].wait_ready()

    def kill(self, name: str) -> None:
        popen = self.parts.pop(name).running()
        os.kill(popen.pid, signal.SIGKILL)
        popen.wait()
        assert popen.stdout is not None
        popen.stdout.close()

    def stop(self, name: str) -> float:
        """SIGTERM; the seconds until it was gone."""
        part, began = self.parts.pop(name), time.monotonic()
        popen = part.running()
        part.stop()
        assert popen.returncode == 0
        return time.monotonic() - began

    def close(self) -> None:
        for name in list(self.parts):
            assert self.stop(name) < 10
        self.log.close()
        self._errors.close()

    def records(self, topic: str) -> list[bytes]:
        async def read() -> list[bytes]:
            reader = PartitionReader(self.kafka, self.kafka.topic(topic), 0)
            await reader.start()
            end = await reader.end()
            await reader.close()
            return [value async for _, value in read_range(self.kafka, topic, 0, 0, end)]

        return asyncio.run(read())


@pytest.fixture
def workers(
    tmp_path: Path, kafka: str, kafka_prefix: str, store: StoreEndpoint, expected: Expected
) -> Iterator[Workers]:
    client = store.writer()
    emptied(client)
    client.close()
    made = Workers(tmp_path, kafka, kafka_prefix, store)
    yield made
    made.close()


def run_until_equal(workers: Workers, store: StoreEndpoint, expected: Expected) -> None:
    """Wait until as many windows are decided; then everything must be equal."""
    client = store.writer()
    quality = expected.rows["ingest_window"]
    until(
        lambda: rows_of(client)["ingest_window"] == quality, "not the windows of the other runner"
    )

    assert rows_of(client) == expected.rows
    client.close()
    effects = {
        v.verdict_id: v
        for v in (msgspec.msgpack.decode(b, type=Verdict) for b in workers.records(VERDICTS))
    }
    assert repr(list(effects.values())) == repr(expected.effects)
    assert set(workers.records(DEAD_LETTERS)) == {NOT_A_SEGMENT}


def decided_windows(store: StoreEndpoint) -> int:
    client = store.writer()
    (row,) = client.rows("SELECT uniqExact(window_start) FROM hf_store.ingest_window")
    client.close()
    return int(str(row[0]))


def test_a_straight_run_is_equal(
    workers: Workers, store: StoreEndpoint, expected: Expected
) -> None:
    workers.start("summarise-0", "decide-0")

    workers.log.append(recorded())

    run_until_equal(workers, store, expected)


def test_workers_that_are_killed_in_the_middle_change_nothing(
    workers: Workers, store: StoreEndpoint, expected: Expected
) -> None:
    run = recorded()
    workers.start("summarise-0", "decide-0")
    workers.log.append(run[: len(run) // 2])
    until(lambda: decided_windows(store) > 1, "no window was decided")

    workers.kill("summarise-0")
    workers.kill("decide-0")
    workers.log.append(run[len(run) // 2 :])
    workers.start("summarise-0", "decide-0")

    run_until_equal(workers, store, expected)


def test_workers_that_join_and_leave_change_nothing(
    workers: Workers, store: StoreEndpoint, expected: Expected
) -> None:
    run = recorded()
    third = len(run) // 3
    workers.start("summarise-0", "decide-0")
    workers.log.append(run[:third])
    until(lambda: decided_windows(store) > 1, "no window was decided")

    workers.start("summarise-1")
    workers.log.append(run[third : 2 * third])
    until(lambda: decided_windows(store) > SECONDS // 2, "two workers decide nothing")
    assert workers.stop("summarise-0") < 10
    workers.log.append(run[2 * third :])

    run_until_equal(workers, store, expected)
