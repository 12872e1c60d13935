"""Every log backend keeps the same promises. A new backend joins by adding one line to LOGS."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from streams.kafka.broker import KafkaSettings
from streams.kafka.topics import ensure_topics
from streams.log.base import Append, EmbeddedLog, Log
from streams.log.kafka import KafkaLog
from streams.log.memory import MemoryLog
from streams.log.sqlite import SqliteLog
from wire.errors import PermanentError, TransientError

PARTITIONS = 2
ID_A, ID_B = b"a" * 16, b"b" * 16


def now_ms() -> int:
    return 0


def memory(folder: Path) -> EmbeddedLog:
    return MemoryLog(PARTITIONS)


def sqlite(folder: Path) -> EmbeddedLog:
    return SqliteLog(folder, partitions=PARTITIONS, now_ms=now_ms)


def kafka_log(bootstrap: str, prefix: str) -> Log:
    settings = KafkaSettings(bootstrap, prefix=prefix, partitions=PARTITIONS)
    asyncio.run(ensure_topics(settings))
    return KafkaLog(settings, client_id="contract")


EMBEDDED: list[Callable[[Path], EmbeddedLog]] = [memory, sqlite]
LOGS = [*EMBEDDED, kafka_log]


@pytest.fixture(params=LOGS, ids=lambda make: make.__name__)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    made: Log
    if request.param is kafka_log:
        made = kafka_log(request.getfixturevalue("kafka"), request.getfixturevalue("kafka_prefix"))
    else:
        made = request.param(tmp_path)
    yield made
    made.close()


@pytest.fixture(params=EMBEDDED, ids=lambda make: make.__name__)
def embedded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedLog]:
    made: EmbeddedLog = request.param(tmp_path)
    yield made
    made.close()


def payloads(log: Log, partition: int, offset: int = 0) -> list[bytes]:
    return [r.payload for r in log.read(partition, offset, bytes_max=1 << 30)]


def test_offsets_count_from_zero_in_each_partition(log: Log) -> None:
    group = [Append(0, b"x", 1), Append(1, b"y", 1), Append(0, b"z", 1)]

    assert log.append(group) == [0, 0, 1]
    assert log.append([Append(1, b"w", 2)]) == [1]
    assert [log.end(0), log.end(1)] == [2, 2]
    assert payloads(log, 0) == [b"x", b"z"]


def test_reading_at_the_end_is_empty_not_an_error(log: Log) -> None:
    log.append([Append(0, b"x", 1)])

    assert log.read(0, 1, bytes_max=100) == []
    assert log.read(0, 99, bytes_max=100) == []


def test_a_read_stops_at_its_bytes_but_gives_one_record_at_least(log: Log) -> None:
    log.append([Append(0, bytes(10), 1) for _ in range(4)])

    assert len(log.read(0, 0, bytes_max=25)) == 2
    assert [r.offset for r in log.read(0, 2, bytes_max=1)] == [2]


def test_an_empty_group_is_nothing(log: Log) -> None:
    assert log.append([]) == []
    assert log.end(0) == 0


def test_a_trimmed_offset_is_refused_and_the_rest_stays(log: Log) -> None:
    log.append([Append(0, bytes([i]), 1) for i in range(5)])

    log.trim(0, before=3)

    assert [log.start(0), log.end(0)] == [3, 5]
    assert payloads(log, 0, 3) == [b"\x03", b"\x04"]
    with pytest.raises(PermanentError, match="log_trimmed"):
        log.read(0, 2, bytes_max=1)


def test_offsets_go_on_after_everything_was_trimmed(log: Log) -> None:
    log.append([Append(0, b"x", 1)])

    log.trim(0, before=99)

    assert [log.start(0), log.end(0)] == [1, 1]
    assert log.append([Append(0, b"y", 1)]) == [1]


def test_a_group_with_a_mistake_in_it_writes_nothing(log: Log) -> None:
    for wrong in (Append(PARTITIONS, b"y", 1), Append(0, b"y", 1, b"short")):
        with pytest.raises(ValueError, match=r"partition|16 bytes"):
            log.append([Append(0, b"x", 1), wrong])

    assert log.end(0) == 0


def test_a_closed_log_refuses_everything(log: Log) -> None:
    log.close()

    for use in (
        lambda: log.append([Append(0, b"x", 1)]),
        lambda: log.read(0, 0, bytes_max=1),
        lambda: log.end(0),
        lambda: log.trim(0, before=1),
    ):
        with pytest.raises(ValueError, match="closed"):
            use()


# What a log that keeps batch ids promises of them.


def test_batch_ids_survive_a_trim_and_are_forgotten_by_time(embedded: EmbeddedLog) -> None:
    embedded.append([Append(0, b"x", 10, ID_A), Append(0, b"", 15), Append(0, b"y", 20, ID_B)])

    embedded.trim(0, before=2)
    embedded.forget_batch_ids(before_ms=10)
    assert list(embedded.batch_ids(0, before=3, since_ms=0)) == [(10, ID_A), (20, ID_B)]
    embedded.forget_batch_ids(before_ms=11)
    assert list(embedded.batch_ids(0, before=3, since_ms=0)) == [(20, ID_B)]


def test_batch_ids_of_records_that_could_not_be_read_are_dropped(embedded: EmbeddedLog) -> None:
    embedded.append(
        [Append(0, b"a", 10, ID_A), Append(0, b"b", 20, ID_B), Append(1, b"c", 30, ID_A)]
    )

    embedded.drop_batch_ids(0, [0, 7])

    assert list(embedded.batch_ids(0, before=2, since_ms=0)) == [(20, ID_B)]
    assert list(embedded.batch_ids(1, before=1, since_ms=0)) == [(30, ID_A)]
    assert [r.payload for r in embedded.read(0, 0, bytes_max=100)] == [b"a", b"b"]


def test_batch_ids_of_records_still_held_are_never_forgotten(embedded: EmbeddedLog) -> None:
    embedded.append([Append(0, b"x", 10, ID_A)])

    embedded.forget_batch_ids(before_ms=1_000)

    assert list(embedded.batch_ids(0, before=1, since_ms=0)) == [(10, ID_A)]


def test_batch_ids_are_bounded_by_offset_time_and_partition(embedded: EmbeddedLog) -> None:
    embedded.append(
        [Append(0, b"x", 10, ID_A), Append(0, b"y", 20, ID_B), Append(1, b"z", 30, ID_A)]
    )

    assert list(embedded.batch_ids(0, before=1, since_ms=0)) == [(10, ID_A)]
    assert list(embedded.batch_ids(0, before=9, since_ms=11)) == [(20, ID_B)]
    assert list(embedded.batch_ids(1, before=9, since_ms=0)) == [(30, ID_A)]


def test_a_page_of_batch_ids_is_not_the_end(embedded: EmbeddedLog) -> None:
    embedded.append([Append(0, b"x", i, i.to_bytes(16, "big")) for i in range(1_300)])

    assert [at for at, _ in embedded.batch_ids(0, before=1_300, since_ms=0)] == list(range(1_300))


class LogMachine(RuleBasedStateMachine):
    """Any order of appends, trims, forgetting and reopening agrees with a plain model."""

    make: Callable[[Path], Log] = staticmethod(sqlite)
    reopens = True

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.log = self.make(Path(self.folder.name))
        self.held: list[list[bytes]] = [[], []]
        self.starts = [0, 0]
        self.ids: list[dict[int, tuple[int, bytes]]] = [{}, {}]

    @rule(group=st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=40), st.integers(0, 9))))
    def append(self, group: list[tuple[int, bytes, int]]) -> None:
        ends = [self.starts[p] + len(self.held[p]) for p in (0, 1)]
        expected = []
        for partition, payload, at in group:
            expected.append(ends[partition])
            self.held[partition].append(payload)
            self.ids[partition][ends[partition]] = (at, ID_A)
            ends[partition] += 1

        assert self.log.append([Append(p, x, at, ID_A) for p, x, at in group]) == expected

    @rule(partition=st.integers(0, 1), before=st.integers(0, 30))
    def trim(self, partition: int, before: int) -> None:
        self.log.trim(partition, before=before)

        count = max(0, min(before - self.starts[partition], len(self.held[partition])))
        self.starts[partition] += count
        del self.held[partition][:count]

    @precondition(lambda self: self.reopens)
    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.log = self.make(Path(self.folder.name))

    @invariant()
    def agrees(self) -> None:
        for p in (0, 1):
            assert self.log.start(p) == self.starts[p]
            assert self.log.end(p) == self.starts[p] + len(self.held[p])
            assert payloads(self.log, p, self.starts[p]) == self.held[p]

    def teardown(self) -> None:
        self.log.close()
        self.folder.cleanup()


class EmbeddedMachine(LogMachine):
    """And the batch ids agree as well."""

    log: EmbeddedLog

    @rule(before_ms=st.integers(0, 10))
    def forget(self, before_ms: int) -> None:
        self.log.forget_batch_ids(before_ms=before_ms)

        for p in (0, 1):
            self.ids[p] = {
                o: (at, ids)
                for o, (at, ids) in self.ids[p].items()
                if o >= self.starts[p] or at >= before_ms
            }

    @invariant()
    def ids_agree(self) -> None:
        for p in (0, 1):
            ids = list(self.log.batch_ids(p, before=1 << 30, since_ms=0))
            assert ids == [self.ids[p][o] for o in sorted(self.ids[p])]


class MemoryMachine(EmbeddedMachine):
    make = staticmethod(memory)
    reopens = False


TestSqliteModel = EmbeddedMachine.TestCase
TestMemoryModel = MemoryMachine.TestCase
TestSqliteModel.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestMemoryModel.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)


def test_kafka_agrees_with_the_model(kafka: str) -> None:
    class KafkaMachine(LogMachine):
        def __init__(self) -> None:
            prefix = f"model-{secrets.token_hex(6)}"
            self.make = lambda folder: kafka_log(kafka, prefix)  # the same topics when reopened
            super().__init__()

    run_state_machine_as_test(
        KafkaMachine, settings=settings(max_examples=5, stateful_step_count=15, deadline=None)
    )


# What only a durable log can promise.


def test_a_reopened_log_goes_on_where_it_was(tmp_path: Path) -> None:
    first = sqlite(tmp_path)
    first.append([Append(0, b"x", 1, ID_A), Append(1, b"y", 1)])
    first.trim(1, before=1)
    first.close()

    again = sqlite(tmp_path)

    assert payloads(again, 0) == [b"x"]
    assert again.append([Append(1, b"z", 2)]) == [1]
    assert list(again.batch_ids(0, before=1, since_ms=0)) == [(1, ID_A)]
    again.close()


def test_the_partition_count_is_fixed_when_the_log_is_made(tmp_path: Path) -> None:
    sqlite(tmp_path).close()

    with pytest.raises(PermanentError, match="log_partitions_fixed"):
        SqliteLog(tmp_path, partitions=PARTITIONS + 1, now_ms=now_ms)


def test_a_second_writer_is_refused_and_a_watcher_is_not(tmp_path: Path) -> None:
    writer = sqlite(tmp_path)

    with pytest.raises(PermanentError, match="log_in_use"):
        sqlite(tmp_path)
    watcher = SqliteLog(tmp_path, partitions=PARTITIONS, now_ms=now_ms, read_only=True)
    writer.append([Append(0, b"x", 1)])
    assert payloads(watcher, 0) == [b"x"]
    with pytest.raises(ValueError, match="reading"):
        watcher.append([Append(0, b"y", 1)])
    watcher.close()
    writer.close()


def test_a_full_disk_refuses_appends_but_not_reading_and_trimming(tmp_path: Path) -> None:
    clock = [0]
    log = SqliteLog(tmp_path, partitions=1, now_ms=lambda: clock[0], reserve_bytes=0)
    log.append([Append(0, b"x", 1), Append(0, b"y", 1)])
    log._reserve_bytes = 1 << 60

    log.append([Append(0, b"z", 1)])  # the disk is looked at once a second at most
    clock[0] += 1_000
    with pytest.raises(TransientError, match="log_full"):
        log.append([Append(0, b"w", 1)])
    assert payloads(log, 0) == [b"x", b"y", b"z"]
    log.trim(0, before=2)
    assert payloads(log, 0, 2) == [b"z"]

    log._reserve_bytes = 0
    clock[0] += 1_000
    assert log.append([Append(0, b"w", 1)]) == [3]
    log.close()


WRITER = """
import sys
from pathlib import Path
from streams.log.base import Append
from streams.log.sqlite import SqliteLog

log = SqliteLog(Path(sys.argv[1]), partitions=2, now_ms=lambda: 0)
while True:
    n = log.end(0)
    group = [Append(p, b"%d" % n * 500, n, n.to_bytes(16, "big")) for p in (0, 1)]
    print(log.append(group)[0], flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    acknowledged = -1
    for reads in (1, 30, 150):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(reads):
            acknowledged = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().splitlines()
        acknowledged = int(rest[-1]) if rest else acknowledged
        writer.wait()
        writer.stdout.close()

        log = sqlite(tmp_path)
        assert log.end(0) == log.end(1) > acknowledged
        assert payloads(log, 1) == [b"%d" % n * 500 for n in range(log.end(1))]
        ids = [i for _, i in log.batch_ids(0, before=log.end(0), since_ms=0)]
        assert ids == [n.to_bytes(16, "big") for n in range(log.end(0))]
        log.close()
