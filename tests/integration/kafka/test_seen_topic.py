"""The ids that were seen come back whole, piece by piece, whoever wrote them and when."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from aiokafka.errors import KafkaError

from streams.dedup import DedupIndex
from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings
from streams.kafka.seen import Seen, SeenTopic
from streams.kafka.stage_topics import SummariseKafka
from streams.kafka.topics import TELEMETRY
from wire.errors import TransientError
from wire.segment import BATCH_HOUR_BYTES, BATCH_ID, batch_hour


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

    asyncio.run(work())


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

    asyncio.run(work())


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

    asyncio.run(work())


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

    asyncio.run(work())


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

    asyncio.run(work())


def test_a_broker_that_goes_away_in_the_middle_of_a_restore_leaves_no_half_an_index(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        topic, topics = SeenTopic(settings), SummariseKafka(settings, horizon_ms=1_000)
        appender = Appender(settings, "test")  # the records that the positions are of
        await appender.append(settings.topic(TELEMETRY), [Outgoing(0, b"record")] * 3)
        await appender.close()
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

    asyncio.run(work())
