"""What a worker needs after a restart comes back whole, whoever wrote last and died when."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from aiokafka.errors import KafkaError

from streams.dedup import DedupIndex
from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings
from streams.kafka.compacted import Saved, StateTopic
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.seen import Seen, SeenTopic
from streams.kafka.stage_topics import SummariseKafka
from streams.kafka.topics import DECIDE_STATE, ensure_topics
from wire.errors import TransientError
from wire.segment import BATCH_HOUR_BYTES, BATCH_ID, batch_hour

WRITERS = itertools.count()


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> KafkaSettings:
    made = KafkaSettings(kafka, prefix=kafka_prefix, partitions=2)
    asyncio.run(ensure_topics(made))
    return made


async def opened(settings: KafkaSettings) -> tuple[StateTopic, Saved | None]:
    """A new life of a writer, and what it found."""
    return await StateTopic.opened(settings, DECIDE_STATE, writer=f"life-{next(WRITERS)}")


async def found(settings: KafkaSettings) -> Saved | None:
    topic, saved = await opened(settings)
    await topic.close()
    return saved


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await work()

    asyncio.run(whole())


def test_a_state_comes_back_with_its_position(settings: KafkaSettings) -> None:
    async def work() -> None:
        topic, nothing = await opened(settings)
        assert nothing is None
        parts = {"small": b"x", "empty": b"", "large": bytes(range(256)) * 12_000}
        await topic.write(parts, position=7)
        assert await found(settings) == Saved(7, parts)

        await topic.write({**parts, "small": b"y"}, position=8)
        assert await found(settings) == Saved(8, {**parts, "small": b"y"})
        await topic.close()

    run(work)


def test_a_part_that_did_not_change_is_not_sent_again(settings: KafkaSettings) -> None:
    async def work() -> None:
        topic, _ = await opened(settings)
        await topic.write({"large": bytes(3 << 20), "small": b"0"}, position=0)
        before = await records(settings)
        await topic.write({"large": bytes(3 << 20), "small": b"1"}, position=1)
        after = await records(settings)
        await topic.close()

        added = after[len(before) :]
        assert len(added) == 3  # the part, the manifest, and the old part's end
        assert sum(len(value or b"") for _, value in added) < 1_000

    run(work)


def test_a_writer_that_dies_between_parts_and_manifest_leaves_the_older_state(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        topic, _ = await opened(settings)
        await topic.write({"a": b"1", "b": b"1"}, position=1)
        calls = 0
        append = Appender.append

        async def failing(self: Appender, name: str, out: list[Outgoing]) -> list[int]:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise KafkaError("away")
            return await append(self, name, out)

        with monkeypatch.context() as patch:
            patch.setattr(Appender, "append", failing)
            with pytest.raises(KafkaError):
                await topic.write({"a": b"2", "b": b"2"}, position=2)

        assert await found(settings) == Saved(1, {"a": b"1", "b": b"1"})
        await topic.write({"a": b"2", "b": b"2"}, position=2)  # and the same life goes on
        assert await found(settings) == Saved(2, {"a": b"2", "b": b"2"})
        await topic.close()

    run(work)


def test_a_writer_that_was_thought_dead_does_not_spoil_its_successors_state(
    settings: KafkaSettings,
) -> None:
    async def work() -> None:
        old, _ = await opened(settings)
        await old.write({"kept": b"k", "moves": b"1"}, position=1)
        new, saved = await opened(settings)
        assert saved == Saved(1, {"kept": b"k", "moves": b"1"})
        await new.write({"kept": b"k", "moves": b"3"}, position=3)

        await old.write({"kept": b"k", "moves": b"2"}, position=2)

        assert await found(settings) == Saved(3, {"kept": b"k", "moves": b"3"})
        await old.close()
        await new.close()

    run(work)


def test_after_a_take_over_only_the_new_writers_keys_stand(settings: KafkaSettings) -> None:
    async def work() -> None:
        for position in range(3):
            topic, _ = await opened(settings)
            await topic.write({"a": b"%d" % position, "b": b"same"}, position=position)
            await topic.close()

        assert len(await standing(settings)) == 3  # two parts, a manifest

    run(work)


def test_a_writer_that_takes_over_from_its_successor_leaves_a_whole_state(
    settings: KafkaSettings,
) -> None:
    async def work() -> None:
        first, _ = await opened(settings)
        await first.write({"same": b"s", "moves": b"1"}, position=1)
        second, _ = await opened(settings)
        await second.write({"same": b"s", "moves": b"2"}, position=2)
        await second.close()

        assert await first.read() == Saved(2, {"same": b"s", "moves": b"2"})
        await first.write({"same": b"s", "moves": b"1"}, position=3)  # both as it once had them

        assert await found(settings) == Saved(3, {"same": b"s", "moves": b"1"})
        assert len(await standing(settings)) == 3  # two parts, a manifest
        await first.close()

    run(work)


def test_what_a_writer_deletes_late_is_not_what_the_next_one_wrote(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        first, _ = await opened(settings)
        await first.write({"same": b"s", "moves": b"1"}, position=1)
        second, _ = await opened(settings)
        late: list[Outgoing] = []
        append = Appender.append

        async def holding(self: Appender, name: str, out: list[Outgoing]) -> list[int]:
            late.extend(r for r in out if r.value is None)
            return await append(self, name, [r for r in out if r.value is not None])

        with monkeypatch.context() as patch:
            patch.setattr(Appender, "append", holding)
            await second.write({"same": b"s", "moves": b"2"}, position=2)
        await first.read()
        await first.write({"same": b"s", "moves": b"1"}, position=3)

        await second._appender.append(settings.topic(DECIDE_STATE), late)

        assert late
        assert await found(settings) == Saved(3, {"same": b"s", "moves": b"1"})
        await first.close()
        await second.close()

    run(work)


@pytest.mark.parametrize("failing", [1, 2, 3], ids=["parts", "manifest", "deletion"])
def test_a_write_that_failed_leaves_nothing_behind_once_one_has_succeeded(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """The records are durable and only the answer is lost: the worst that a failure can do."""

    async def work() -> None:
        topic, _ = await opened(settings)
        await topic.write({"a": b"1"}, position=1)
        calls = 0
        append = Appender.append

        async def unanswered(self: Appender, name: str, out: list[Outgoing]) -> list[int]:
            nonlocal calls
            calls += 1
            offsets = await append(self, name, out)
            if calls == failing:
                raise KafkaError("away")
            return offsets

        with monkeypatch.context() as patch:
            patch.setattr(Appender, "append", unanswered)
            with pytest.raises(KafkaError):
                await topic.write({"a": b"2"}, position=2)

        await topic.write({"a": b"1"}, position=3)

        assert await found(settings) == Saved(3, {"a": b"1"})
        assert len(await standing(settings)) == 2  # a part, a manifest
        await topic.close()

    run(work)


def test_a_deletion_that_arrives_late_takes_nothing_that_was_written_since(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        topic, _ = await opened(settings)
        await topic.write({"a": b"1"}, position=1)
        late: list[Outgoing] = []
        append = Appender.append

        async def away(self: Appender, name: str, out: list[Outgoing]) -> list[int]:
            late.extend(r for r in out if r.value is None)
            if late:
                raise KafkaError("away")
            return await append(self, name, out)

        with monkeypatch.context() as patch:
            patch.setattr(Appender, "append", away)
            with pytest.raises(KafkaError):
                await topic.write({"a": b"2"}, position=2)
        await topic.write({"a": b"1"}, position=3)

        await topic._appender.append(settings.topic(DECIDE_STATE), late)

        assert await found(settings) == Saved(3, {"a": b"1"})
        await topic.close()

    run(work)


async def standing(settings: KafkaSettings) -> set[bytes]:
    """Keys that have a value."""
    newest = dict(await records(settings))
    return {key for key, value in newest.items() if value is not None}


async def records(settings: KafkaSettings) -> list[tuple[bytes, bytes | None]]:
    """Everything in decide's topic, as the broker has it."""
    reader = PartitionReader(settings, settings.topic(DECIDE_STATE), 0)
    await reader.start()
    end = await reader.end()
    found = [(r.key, r.value) async for r in reader.all_until(end, bytes_max=1 << 20)]
    await reader.close()
    return found


def ids_of(*numbers: int) -> bytes:
    """Joined ids, one for each number."""
    return b"".join(n.to_bytes(16, "big") for n in numbers)


def knows(index: DedupIndex, joined: bytes, *, now_ms: int) -> bool:
    """Whether the index has seen all of these."""
    return bool(index.add(np.frombuffer(joined, BATCH_ID), now_ms).all())


async def restored(
    topic: SeenTopic, partition: int, *, horizon_ms: int = 1_000
) -> tuple[Seen | None, DedupIndex]:
    """What a new life finds."""
    index = DedupIndex(horizon_ms, spill_ids=4, recent_max=2)
    return await topic.read(partition, index), index


def test_ids_and_position_come_back_together(settings: KafkaSettings) -> None:
    async def work() -> None:
        topic = SeenTopic(settings)
        assert (await restored(topic, 0))[0] is None

        early, late = ids_of(*range(100, 112)), ids_of(7, 8, 9, 10)
        await topic.write(0, next_offset=4, log_time=[50, "w", 2], ids=[(40, early)])
        await topic.write(0, next_offset=9, log_time=[160, "w", 5], ids=[(60, late)])
        await topic.write(1, next_offset=2, log_time=[70, "v", 1], ids=[])

        seen, index = await restored(topic, 0)
        assert seen == Seen(9, [160, "w", 5])
        assert len(index) == 16
        assert knows(index, early + late, now_ms=160)
        seen, index = await restored(topic, 0, horizon_ms=100)
        assert knows(index, late, now_ms=160)
        assert len(index) == 4  # the first window was closed 110 ms before
        assert (await restored(topic, 1))[0] == Seen(2, [70, "v", 1])
        await topic.close()

    run(work)


def test_ids_are_kept_by_log_time_whatever_the_writers_clock_said(settings: KafkaSettings) -> None:
    async def work() -> None:
        topic = SeenTopic(settings)
        slow, fast = ids_of(1, 2, 3, 4), ids_of(5, 6, 7, 8)
        await topic.write(0, next_offset=4, log_time=[500, "w", 0], ids=[(3, slow), (9_999, fast)])
        await topic.write(0, next_offset=5, log_time=[560, "w", 0], ids=[])

        _, index = await restored(topic, 0, horizon_ms=100)

        assert knows(index, slow + fast, now_ms=560)
        index.add(np.frombuffer(ids_of(20, 21), BATCH_ID), 601)
        assert len(index) == 2  # a clock that ran ahead keeps nothing for longer
        await topic.close()

    run(work)


def test_a_window_written_twice_or_late_counts_once(settings: KafkaSettings) -> None:
    async def work() -> None:
        topic = SeenTopic(settings)
        for at in (4, 9, 4, 9, 4):
            await topic.write(
                0, next_offset=at, log_time=[at, "w", 0], ids=[(at, ids_of(at, -at % 99))]
            )

        seen, index = await restored(topic, 0)

        assert seen == Seen(9, [9, "w", 0])
        assert len(index) == 4
        assert knows(index, ids_of(4, 95, 9, 90), now_ms=9)
        await topic.close()

    run(work)


def test_a_window_with_very_many_ids_counts_when_its_last_record_is_there(
    settings: KafkaSettings,
) -> None:
    async def work() -> None:
        topic = SeenTopic(settings)
        many = [(n, ids_of(*range(n * 1_000, n * 1_000 + 1_000))) for n in range(200)]  # 3.2 MB
        await topic.write(0, next_offset=5, log_time=[300, "w", 0], ids=many)

        seen, index = await restored(topic, 0)

        assert seen == Seen(5, [300, "w", 0])
        assert len(index) == 200_000
        assert knows(index, b"".join(joined for _, joined in many), now_ms=300)
        await topic.close()

    run(work)


class Accounted(DedupIndex):
    """Writes down the largest piece that it was handed, and the most that it held, in bytes."""

    piece_max = 0
    held_max = 0

    def restore(self, seen: Iterable[tuple[int, bytes]], *, now_ms: int) -> None:
        pairs = list(seen)
        self.piece_max = max(self.piece_max, sum(len(joined) for _, joined in pairs))
        super().restore(pairs, now_ms=now_ms)
        self.held_max = max(self.held_max, self.memory_bytes)


def ids_made_at(at_ms: int, rng: np.random.Generator) -> bytes:
    """1,000 batch ids of that hour."""
    ids = np.frombuffer(rng.bytes(16_000), np.uint8).reshape(-1, 16).copy()
    ids[:, :BATCH_HOUR_BYTES] = list(batch_hour(at_ms).to_bytes(BATCH_HOUR_BYTES))
    return ids.tobytes()


def test_a_week_of_ids_is_restored_piece_by_piece(settings: KafkaSettings, tmp_path: Path) -> None:
    """1,600,000 ids, 25.6 MB: at most 82 kB of them are on their way, and 0.4 MB in memory."""

    async def work() -> None:
        topic = SeenTopic(settings)
        rng = np.random.default_rng(5)
        times = [n * 7_200_000 for n in range(1, 81)]
        windows = [[ids_made_at(at_ms, rng) for _ in range(20)] for at_ms in times]
        for at, (at_ms, window) in enumerate(zip(times, windows, strict=True), 1):
            pairs = [(at_ms, joined) for joined in window]
            await topic.write(0, next_offset=at, log_time=[at_ms, "w", 0], ids=pairs)
        index = Accounted(times[-1], tmp_path, spill_ids=4_096, recent_max=512)

        assert await topic.read(0, index) == Seen(80, [times[-1], "w", 0])

        assert index.piece_max <= 4_096 * 16 + 16_000
        assert index.held_max <= 400_000
        assert index.disk_bytes + 4_096 * 16 >= len(index) * 16 == 25_600_000
        for window in windows:
            assert knows(index, b"".join(window[::7]), now_ms=times[-1])
        await topic.close()

    run(work)


def test_a_broker_that_goes_away_in_the_middle_of_a_restore_leaves_no_half_an_index(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        topic, topics = SeenTopic(settings), SummariseKafka(settings, horizon_ms=1_000)
        for at in range(1, 4):
            ids = [(at, ids_of(*range(at * 10, at * 10 + 10)))]
            await topic.write(0, next_offset=at, log_time=[at, "w", 0], ids=ids)
        made: list[DedupIndex] = []
        restore = DedupIndex.restore

        def failing(self: DedupIndex, seen: list[tuple[int, bytes]], *, now_ms: int) -> None:
            restore(self, seen, now_ms=now_ms)
            made.append(self)
            if len(made) == 1:
                raise KafkaError("away")

        with monkeypatch.context() as patch:
            patch.setattr(DedupIndex, "restore", failing)
            with pytest.raises(TransientError, match="kafka_away"):
                await topics.resume(0)
            resume = await topics.resume(0)

        assert resume.next_offset == 3
        assert resume.dedup is made[1] is not made[0]
        assert len(resume.dedup) == 30
        assert knows(resume.dedup, ids_of(*range(10, 40)), now_ms=3)
        await topic.close()
        await topics.close()

    run(work)
