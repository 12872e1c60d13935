"""Every runner of the stages gives the same verdicts and the same rows for the same log.

The embedded runner says what is right; real workers over a real broker must say the same, straight
through, killed in the middle, and with workers joining and leaving.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from analytics.types import Verdict, VerdictKind
from store.client import Client
from store.migrate import migrate
from store.writer import Writer
from streams.clocks import Clocks
from streams.kafka.topics import DEAD_LETTERS
from streams.local_worker import LocalWorker, WorkerSettings
from streams.log.base import Append
from streams.log.sqlite import SqliteLog
from streams.state import StateStore
from tests.fakes.node_world import until
from tests.fakes.segments import START_MS, WINDOW_MS, appends
from tests.fakes.workers import TABLES, Said, Workers, rows_of, until_as_many, worker_settings
from tests.integration.store_fixtures import StoreEndpoint, start_store

pytestmark = pytest.mark.slow

PARTITIONS = 2
SECONDS = 16
HORIZON_MS = 86_400_000
NOT_A_SEGMENT = b"\xffnot a segment"


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


@pytest.fixture
def workers(
    tmp_path: Path, kafka: str, kafka_prefix: str, store: StoreEndpoint, expected: Expected
) -> Iterator[Workers]:
    client = store.writer()
    emptied(client)
    client.close()
    settings = worker_settings(tmp_path, kafka, kafka_prefix, store, partitions=PARTITIONS)
    made = Workers(tmp_path, settings, Clocks(WINDOW_MS, HORIZON_MS))
    yield made
    made.close()


def run_until_equal(workers: Workers, store: StoreEndpoint, expected: Expected) -> None:
    """Wait until as many windows are decided; then everything must be equal."""
    client = store.writer()
    until_as_many(client, expected.rows)

    assert rows_of(client) == expected.rows
    client.close()
    until(lambda: len(workers.verdicts()) >= len(expected.effects), "a verdict is missing")
    assert repr(workers.verdicts()) == repr(expected.effects)
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


def partitions_waiting(workers: Workers) -> list[str]:
    """Of which partitions the summarise workers say how many records wait."""
    told = (workers.told(f"summarise-{i}", "holdfast_segments_waiting") for i in (0, 1))
    return sorted(partition for levels in told for partition in levels)


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
    until(lambda: partitions_waiting(workers) == ["0", "1"], "a level is told twice, or not at all")
    assert workers.stop("summarise-0") < 30
    workers.log.append(run[2 * third :])

    run_until_equal(workers, store, expected)
