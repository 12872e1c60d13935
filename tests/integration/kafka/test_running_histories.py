"""A log that changes under running workers: they end with its name, and go on once it is accepted.

Also what happens on a broker's disk: an end that was cut off, and grown again with other records.
"""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.broker import Cluster
from streams.clocks import Clocks
from streams.faust_summarise import Summarising
from streams.kafka.acceptance import accept
from streams.kafka.broker import KafkaSettings
from streams.kafka.stage_topics import SummariseKafka
from streams.kafka.topics import SEEN, TELEMETRY, WINDOWS, ensure_topics
from streams.letter_limit import LetterLimit
from streams.log.base import Append
from streams.ports import NoMeter
from tests.fakes import kafka_history as history
from tests.fakes.node_world import until
from tests.fakes.segments import START_MS, WINDOW_MS
from tests.fakes.workers import Workers, worker_settings
from tests.integration.store_fixtures import StoreEndpoint, start_store
from wire.errors import PermanentError

FIRST = history.run_of(1, seconds=4)
SECOND = history.run_of(2, seconds=4, late_ms=10_000)
LONGER = history.run_of(3, seconds=8, late_ms=10_000)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreEndpoint]:
    running, endpoint = start_store(tmp_path_factory.mktemp("store"))
    yield endpoint
    assert running.stop() == 0


@pytest.fixture
def workers(
    tmp_path: Path, kafka: str, kafka_prefix: str, store: StoreEndpoint
) -> Iterator[Workers]:
    settings = worker_settings(tmp_path, kafka, kafka_prefix, store, partitions=2)
    made = Workers(tmp_path, settings, Clocks(WINDOW_MS, 86_400_000))
    yield made
    made.close()


def is_counted(workers: Workers, rows: int) -> bool:
    return asyncio.run(history.counted(workers.kafka)) == rows


def ended_with(workers: Workers, name: str) -> int:
    """The exit code of a worker that ends by itself."""
    popen = workers.parts.pop(name).running()
    code = popen.wait(60)
    assert popen.stdout is not None
    popen.stdout.close()
    return code


@pytest.mark.parametrize("records", [SECOND, LONGER, []], ids=["same", "longer", "none"])
def test_a_topic_that_is_made_anew_under_a_running_worker(
    workers: Workers, tmp_path: Path, records: list[Append]
) -> None:
    kafka = workers.kafka
    workers.start("summarise-0")
    asyncio.run(history.append(kafka, [*FIRST, *history.closing(START_MS + 5_000)]))
    until(lambda: is_counted(workers, history.rows_in(FIRST)), "the first run is not counted")

    asyncio.run(history.delete(kafka, TELEMETRY))
    asyncio.run(history.make(kafka, TELEMETRY))
    if records:
        asyncio.run(history.append(kafka, records))
        asyncio.run(history.append(kafka, history.closing(START_MS + 60_000)))

    assert ended_with(workers, "summarise-0") == 2
    assert "log_replaced" in (tmp_path / "workers.log").read_text()
    assert is_counted(workers, history.rows_in(FIRST)), "nothing of it moved a position"
    asyncio.run(accept(kafka, [TELEMETRY], now_s=1))
    workers.start("summarise-0")
    asyncio.run(history.append(kafka, history.closing(START_MS + 70_000)))
    expected = history.rows_in([*FIRST, *records])
    until(lambda: is_counted(workers, expected), "the accepted log is not counted")


@pytest.mark.parametrize("topic", [WINDOWS, SEEN])
def test_a_memory_that_is_made_anew_ends_who_runs_on_it(
    workers: Workers, tmp_path: Path, topic: str
) -> None:
    workers.start("summarise-0", "decide-0")
    asyncio.run(history.append(workers.kafka, [*FIRST, *history.closing(START_MS + 5_000)]))
    until(lambda: is_counted(workers, history.rows_in(FIRST)), "the first run is not counted")

    asyncio.run(history.delete(workers.kafka, topic))
    asyncio.run(history.make(workers.kafka, topic))

    assert {ended_with(workers, name) for name in ("summarise-0", "decide-0")} == {2}
    assert "log_replaced" in (tmp_path / "workers.log").read_text()


# --- the disk of a broker -------------------------------------------------------------------------
@pytest.fixture
def on_disk(own_kafka: Cluster, kafka_prefix: str) -> KafkaSettings:
    made = KafkaSettings(own_kafka.bootstrap, prefix=kafka_prefix, partitions=2)
    asyncio.run(ensure_topics(made))
    return made


def cut(cluster: Cluster, settings: KafkaSettings, copies: Path) -> None:
    """The broker dies, and its disk comes back as it was when it was copied."""
    cluster.kill()
    for partition in range(2):
        name = f"{settings.topic(TELEMETRY)}-{partition}"
        target = cluster.brokers[0].folder / "data" / name
        shutil.rmtree(target)
        shutil.copytree(copies / name, target)
    cluster.restart()


def copy(cluster: Cluster, settings: KafkaSettings, copies: Path) -> None:
    for partition in range(2):
        name = f"{settings.topic(TELEMETRY)}-{partition}"
        shutil.copytree(cluster.brokers[0].folder / "data" / name, copies / name)


@pytest.mark.parametrize(
    ("grown", "code"),
    [([], "log_behind_position"), (LONGER, "log_replaced")],
    ids=["cut", "cut and grown"],
)
def test_a_log_that_lost_its_end_is_named(
    own_kafka: Cluster,
    on_disk: KafkaSettings,
    tmp_path: Path,
    grown: list[Append],
    code: str,
) -> None:
    asyncio.run(history.append(on_disk, FIRST[:6]))
    copy(own_kafka, on_disk, tmp_path)
    asyncio.run(history.append(on_disk, [*FIRST[6:], *history.closing(START_MS + 5_000)]))
    asyncio.run(history.live(on_disk))

    cut(own_kafka, on_disk, tmp_path)
    if grown:
        asyncio.run(history.append(on_disk, grown))
        asyncio.run(history.append(on_disk, history.closing(START_MS + 60_000)))

    with pytest.raises(PermanentError) as caught:
        asyncio.run(history.live(on_disk))
    assert caught.value.code == code
    asyncio.run(accept(on_disk, [TELEMETRY], now_s=1))
    asyncio.run(history.live(on_disk))
    asyncio.run(history.append(on_disk, history.closing(START_MS + 70_000)))
    asyncio.run(history.live(on_disk))
    assert asyncio.run(history.counted(on_disk)) == history.rows_in([*FIRST, *grown])


def test_a_log_that_lost_its_end_under_a_running_worker_is_named(
    own_kafka: Cluster, on_disk: KafkaSettings, tmp_path: Path
) -> None:
    """It has grown beyond the worker's position again before it comes back to it."""
    asyncio.run(history.append(on_disk, FIRST[:6]))
    copy(own_kafka, on_disk, tmp_path)

    async def work() -> None:
        topics = SummariseKafka(on_disk, horizon_ms=86_400_000)
        limit = LetterLimit(topics, NoMeter(), 10)
        stage = Summarising(topics, history.CLOCKS, NoMeter(), limit)
        try:
            await stage.assigned({0, 1})
            await taken(stage, on_disk, 0)
            await asyncio.to_thread(cut, own_kafka, on_disk, tmp_path)
            await history.append(on_disk, LONGER)
            await history.append(on_disk, history.closing(START_MS + 60_000))
            await taken(stage, on_disk, given.pop())
        finally:
            await stage.close()
            await topics.close()

    given: list[int] = []

    async def taken(stage: Summarising, settings: KafkaSettings, start: int) -> None:
        """As Faust brings them: from where the consumer stands."""
        end = await history.end_of(settings, TELEMETRY, 0)
        found = SummariseKafka(settings, horizon_ms=1)
        async for record in found.records(0, start, end):
            await stage.take(0, record.offset, record.payload, lambda: None)
        given.append(end)
        await found.close()

    asyncio.run(history.append(on_disk, [*FIRST[6:], *history.closing(START_MS + 5_000)]))
    with pytest.raises(PermanentError) as caught:
        asyncio.run(work())

    assert caught.value.code == "log_replaced"


def test_a_clean_failover_names_nothing(own_kafka: Cluster, on_disk: KafkaSettings) -> None:
    """A new leader with the whole log is an everyday matter."""
    asyncio.run(history.append(on_disk, [*FIRST, *history.closing(START_MS + 5_000)]))
    asyncio.run(history.live(on_disk))

    own_kafka.kill()
    own_kafka.restart()
    asyncio.run(history.append(on_disk, [*SECOND, *history.closing(START_MS + 60_000)]))
    asyncio.run(history.live(on_disk))

    assert asyncio.run(history.counted(on_disk)) == history.rows_in([*FIRST, *SECOND])
