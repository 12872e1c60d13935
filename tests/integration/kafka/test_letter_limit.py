"""A summarise worker as a real process: one partition has too many dead letters, one has none."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from bench.processes import launched
from holdfast import dead_letters_command as command
from holdfast.config import Settings, load
from holdfast.folder import Folder
from holdfast.kafka_settings import kafka_settings
from holdfast.worker_clocks import CLOCKS, packed
from streams.clocks import Clocks
from streams.kafka.broker import KafkaSettings
from streams.kafka.chunks import Assembler
from streams.kafka.compacted import StateTopic
from streams.kafka.dead_letters import KafkaLetters
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.topics import ACT_STATE, WINDOWS, ensure_topics
from streams.log.base import Append
from streams.log.kafka import KafkaLog
from streams.marker_codec import decode_marker
from tests.fakes.node_world import until
from tests.fakes.segments import START_MS, WINDOW_MS, appends
from wire.segment import Kind, Segment, encode

SECONDS = 6
POISON = 3
DAMAGE = b"\xff\xff"


@pytest.fixture
def settings(tmp_path: Path, kafka: str, kafka_prefix: str) -> Settings:
    folder = Folder(tmp_path / "summarise-0")
    folder.create()
    return load(
        dir=folder.root,
        worker_id="summarise-0",
        kafka_bootstrap=kafka,
        kafka_prefix=kafka_prefix,
        partitions=2,
        dead_letters_max=POISON - 1,
    )


async def prepare(kafka: KafkaSettings) -> None:
    """The topics, and the clocks that act would have pinned."""
    await ensure_topics(kafka)
    state = StateTopic(kafka, ACT_STATE, writer="test")
    await state.write({CLOCKS: packed(Clocks(WINDOW_MS, 86_400_000))}, position=0)
    await state.close()


@pytest.fixture
def log(settings: Settings) -> Iterator[KafkaLog]:
    asyncio.run(prepare(kafka_settings(settings)))
    with closing(KafkaLog(kafka_settings(settings), client_id="test")) as made:
        yield made


@pytest.fixture
def said(tmp_path: Path, settings: Settings, log: KafkaLog) -> Iterator[Path]:
    """What a running worker writes; the log's topics are there."""
    assert log.partitions == 2
    path = tmp_path / "worker.log"
    with path.open("wb") as output:
        stage = ["worker", "--stage", "summarise"]
        worker = launched(stage, settings, output=output, errors=output)
        yield path
        worker.terminate()
        assert worker.wait(60) == 0


def windows(kafka: KafkaSettings) -> dict[int, set[int]]:
    """Starts of the windows that each partition has closed."""

    async def read() -> dict[int, set[int]]:
        found: dict[int, set[int]] = {0: set(), 1: set()}
        assembler = Assembler()
        reader = PartitionReader(kafka, kafka.topic(WINDOWS), 0)
        await reader.start()
        async for record in reader.all_until(await reader.end(), bytes_max=1 << 20):
            if (whole := assembler.take(record.offset, record.value)) is not None:
                closed = decode_marker(whole.value)
                found[closed.partition].add(closed.partial.start_ms)
        await reader.close()
        return found

    return asyncio.run(read())


def poisoned_run() -> list[Append]:
    run = list(appends(np.random.default_rng(2), partitions=2, seconds=SECONDS))
    tick = encode(Segment(Kind.TICK, START_MS + 2_500, "w0"))
    at = next(i for i, a in enumerate(run) if a.arrived_ms >= START_MS + 3_000)
    return [*run[:at], *[Append(0, DAMAGE + tick, START_MS + 2_500)] * POISON, *run[at:]]


def test_a_partition_waits_for_a_replay_and_then_misses_nothing_while_another_goes_on(
    settings: Settings, log: KafkaLog, said: Path, tmp_path: Path
) -> None:
    kafka = kafka_settings(settings)
    every = {START_MS + second * WINDOW_MS for second in range(SECONDS - 1)}
    for append in poisoned_run():
        log.append([append])
    until(lambda: b"partition_stopped" in said.read_bytes(), "no word of it")
    until(lambda: windows(kafka)[1] == every, "the other partition does not go on")
    assert windows(kafka)[0] == {START_MS, START_MS + WINDOW_MS}
    assert b"dead_letters_full" in said.read_bytes()

    with closing(KafkaLetters(kafka, name="test")) as letters:
        command.export(letters, tmp_path / "out")
        for file in (tmp_path / "out").glob("*.segment"):
            file.write_bytes(file.read_bytes().removeprefix(DAMAGE))
        assert command.replay(letters, tmp_path / "out")["requested"] == POISON
    until(lambda: b"partition_goes_on" in said.read_bytes(), "it stays stopped")
    tick_ms = START_MS + SECONDS * WINDOW_MS - 1
    log.append([Append(0, encode(Segment(Kind.TICK, tick_ms, "w0")), tick_ms)])  # a door's next

    until(lambda: windows(kafka)[0] == every, "it missed windows")
    assert said.read_bytes().count(b'"partition_stopped"') == 1
