"""What a worker needs after a restart comes back whole, whoever wrote last and died when."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest
from aiokafka.errors import KafkaError

from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings
from streams.kafka.compacted import Saved, StateTopic
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.seen import Seen, SeenTopic
from streams.kafka.topics import DECIDE_STATE, ensure_topics

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

        newest = dict(await records(settings))
        assert sum(value is not None for value in newest.values()) == 3  # two parts, a manifest

    run(work)


async def records(settings: KafkaSettings) -> list[tuple[bytes, bytes | None]]:
    """Everything in decide's topic, as the broker has it."""
    reader = PartitionReader(settings, settings.topic(DECIDE_STATE), 0)
    await reader.start()
    end = await reader.end()
    found = [(r.key, r.value) async for r in reader.all_until(end, bytes_max=1 << 20)]
    await reader.close()
    return found


def test_ids_and_position_come_back_together(settings: KafkaSettings) -> None:
    async def work() -> None:
        topic = SeenTopic(settings)
        assert await topic.read(0, horizon_ms=100) is None

        await topic.write(0, next_offset=4, log_time=[50, "w", 2], ids=[(40, b"a" * 16)])
        await topic.write(0, next_offset=9, log_time=[160, "w", 5], ids=[(60, b"b" * 32)])
        await topic.write(1, next_offset=2, log_time=[70, "v", 1], ids=[])

        assert await topic.read(0, horizon_ms=1_000) == Seen(
            9, [160, "w", 5], [(40, b"a" * 16), (60, b"b" * 32)]
        )
        assert await topic.read(0, horizon_ms=100) == Seen(9, [160, "w", 5], [(60, b"b" * 32)])
        assert await topic.read(1, horizon_ms=100) == Seen(2, [70, "v", 1], [])
        await topic.close()

    run(work)


def test_a_window_written_twice_or_late_counts_once(settings: KafkaSettings) -> None:
    async def work() -> None:
        topic = SeenTopic(settings)
        for at in (4, 9, 4, 9, 4):
            await topic.write(0, next_offset=at, log_time=[at, "w", 0], ids=[(at, b"a" * 16)])

        assert await topic.read(0, horizon_ms=100) == Seen(
            9, [9, "w", 0], [(4, b"a" * 16), (9, b"a" * 16)]
        )
        await topic.close()

    run(work)


def test_a_window_with_very_many_ids_counts_when_its_last_record_is_there(
    settings: KafkaSettings,
) -> None:
    async def work() -> None:
        topic = SeenTopic(settings)
        many = [(n, n.to_bytes(16, "big") * 1_000) for n in range(200)]  # 3.2 MB
        await topic.write(0, next_offset=5, log_time=[300, "w", 0], ids=many)

        assert await topic.read(0, horizon_ms=1_000) == Seen(5, [300, "w", 0], many)
        await topic.close()

    run(work)
