"""What a worker needs after a restart comes back whole, whoever wrote last and died when."""

import asyncio
import itertools

import pytest
from aiokafka.errors import KafkaError

from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings
from streams.kafka.compacted import Saved, StateTopic
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.topics import DECIDE_STATE

WRITERS = itertools.count()


async def opened(settings: KafkaSettings) -> tuple[StateTopic, Saved | None]:
    """A new life of a writer, and what it found."""
    return await StateTopic.opened(settings, DECIDE_STATE, writer=f"life-{next(WRITERS)}")


async def found(settings: KafkaSettings) -> Saved | None:
    topic, saved = await opened(settings)
    await topic.close()
    return saved


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

    asyncio.run(work())


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

    asyncio.run(work())


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

    asyncio.run(work())


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

    asyncio.run(work())


def test_after_a_take_over_only_the_new_writers_keys_stand(settings: KafkaSettings) -> None:
    async def work() -> None:
        for position in range(3):
            topic, _ = await opened(settings)
            await topic.write({"a": b"%d" % position, "b": b"same"}, position=position)
            await topic.close()

        assert len(await standing(settings)) == 3  # two parts, a manifest

    asyncio.run(work())


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

    asyncio.run(work())


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

    asyncio.run(work())


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

    asyncio.run(work())


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

    asyncio.run(work())


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
