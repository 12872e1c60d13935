"""Letters of a real broker: listed once, replayed once, whatever died in between."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from holdfast import dead_letters_command as command
from streams.dead_letters import Request
from streams.kafka.appender import Appender
from streams.kafka.broker import KafkaSettings
from streams.kafka.dead_letters import KafkaLetters
from streams.kafka.stage_topics import SummariseKafka
from streams.kafka.topics import ensure_topics
from streams.letter_limit import LetterLimit
from streams.log.base import Record
from streams.log.kafka import KafkaLog
from streams.ports import NoMeter
from streams.summarise import DeadLetter
from tests.fakes.segments import START_MS, telemetry
from wire.errors import PermanentError, TransientError
from wire.segment import encode

PARTITIONS = 2


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> KafkaSettings:
    made = KafkaSettings(kafka, prefix=kafka_prefix, partitions=PARTITIONS)
    asyncio.run(ensure_topics(made))
    return made


@pytest.fixture
def letters(settings: KafkaSettings) -> Iterator[KafkaLetters]:
    with closing(KafkaLetters(settings, name="first")) as made:
        yield made


def bury(settings: KafkaSettings, *letters: DeadLetter) -> None:
    async def work() -> None:
        topics = SummariseKafka(settings, horizon_ms=1)
        for letter in letters:
            await topics.bury(letter)
        await topics.close()

    asyncio.run(work())


def letter(partition: int, offset: int, payload: bytes) -> DeadLetter:
    return DeadLetter(Record(partition, offset, payload), "segment_undecodable", START_MS)


def segment(seed: int) -> bytes:
    return encode(telemetry(np.random.default_rng(seed), START_MS))


def in_the_log(settings: KafkaSettings, partition: int) -> list[bytes]:
    with closing(KafkaLog(settings, client_id="test")) as log:
        return [r.payload for r in log.read(partition, 0, bytes_max=1 << 30)]


@contextmanager
def death_after_the_append(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The block ends before it can note that the bytes are in the log."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(KafkaLetters, "replayed", die)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_a_letter_is_listed_once_and_replayed_once(
    settings: KafkaSettings,
    letters: KafkaLetters,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    good = segment(1)
    twice = letter(1, 7, good)
    bury(settings, letter(0, 3, b"poison"), twice, twice)

    listed, _ = command.list_letters(letters)
    first = command.replay(letters, None)
    again = command.replay(letters, None)

    assert listed["waiting"] == 2
    assert letters.payload(1, 7) == good
    assert first["requested"] == 1
    assert [r["offset"] for r in first["refused"]] == [3]  # type: ignore[attr-defined]
    assert again["requested"] == 0
    assert in_the_log(settings, 1) == [good]
    assert in_the_log(settings, 0) == []
    monkeypatch.setenv("HOLDFAST_KAFKA_BOOTSTRAP", settings.bootstrap)
    monkeypatch.setenv("HOLDFAST_KAFKA_PREFIX", settings.prefix)
    monkeypatch.setenv("HOLDFAST_PARTITIONS", str(PARTITIONS))
    with command.open_letters(tmp_path) as later:
        assert [(x.partition, x.is_replayed) for x in later.listed()] == [(0, False), (1, True)]


def test_a_replay_that_died_after_the_append_appends_nothing_twice(
    settings: KafkaSettings, letters: KafkaLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(settings, letter(0, 3, b"poison"))
    mended = segment(2)
    letters.listed()

    with death_after_the_append(monkeypatch):
        letters.request(0, 3, mended)
    with closing(KafkaLetters(settings, name="patient")) as patient:
        patient.listed()
        with pytest.raises(PermanentError, match="replay_claimed: first replays"):
            patient.request(0, 3, mended)
    with closing(KafkaLetters(settings, name="second", take_over=True)) as later:
        later.listed()
        assert later.request(0, 3, mended)
        assert not later.request(0, 3, mended)

    assert in_the_log(settings, 0) == [mended]


def test_a_second_replay_is_refused_until_the_first_has_ended(settings: KafkaSettings) -> None:
    one, other = segment(4), segment(5)
    bury(settings, letter(0, 3, one), letter(0, 4, other))
    with closing(KafkaLetters(settings, name="first")) as first:
        first.listed()
        first.request(0, 3, one)
        with (
            closing(KafkaLetters(settings, name="second")) as second,
            pytest.raises(PermanentError, match="replay_claimed: first replays"),
        ):
            command.replay(second, None)
        assert in_the_log(settings, 0) == [one]

    with closing(KafkaLetters(settings, name="third")) as third:
        assert command.replay(third, None)["requested"] == 1

    assert in_the_log(settings, 0) == [one, other]


def test_a_replay_whose_append_may_still_arrive_keeps_its_claim(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise TransientError("kafka_away", "the broker did not answer")

    bury(settings, letter(0, 3, segment(8)))
    with (
        monkeypatch.context() as patch,
        closing(KafkaLetters(settings, name="first")) as first,
    ):
        patch.setattr(KafkaLog, "append", away)
        with pytest.raises(TransientError):
            command.replay(first, None)

    with (
        closing(KafkaLetters(settings, name="second")) as second,
        pytest.raises(PermanentError, match="replay_claimed: first"),
    ):
        command.replay(second, None)


def test_who_was_taken_over_appends_no_more(settings: KafkaSettings, letters: KafkaLetters) -> None:
    one, other = segment(6), segment(7)
    bury(settings, letter(0, 3, one), letter(0, 4, other))
    letters.listed()
    letters.request(0, 3, one)
    with closing(KafkaLetters(settings, name="second", take_over=True)) as second:
        assert command.replay(second, None)["requested"] == 1

        with pytest.raises(PermanentError, match="replay_claimed: second replays"):
            letters.request(0, 4, other)

    assert in_the_log(settings, 0) == [one, other]


def test_replays_at_the_same_moment_append_every_letter_once(settings: KafkaSettings) -> None:
    payloads = [segment(seed) for seed in range(10, 16)]
    bury(settings, *(letter(0, offset, p) for offset, p in enumerate(payloads)))

    def replayed(name: str) -> str:
        with closing(KafkaLetters(settings, name=name)) as mine:
            try:
                return str(command.replay(mine, None)["requested"])
            except PermanentError as error:
                return error.code

    with ThreadPoolExecutor(4) as pool:
        ended = sorted(pool.map(replayed, "abcd"))

    assert in_the_log(settings, 0) == payloads
    assert ended[-1] == "replay_claimed" or set(ended) == {"0", "6"}
    assert ended.count("6") == 1


def test_a_letter_that_is_given_up_stays_so_for_every_command_and_worker(
    settings: KafkaSettings,
) -> None:
    good = segment(20)
    bury(settings, letter(0, 3, good), letter(0, 5, b"poison"), letter(0, 8, b"poison"))

    with closing(KafkaLetters(settings, name="first")) as first:
        assert command.discard(first, ["0:3"], "enough")["discarded"] == 1

    with closing(KafkaLetters(settings, name="second")) as second:
        assert [(x.offset, x.discarded) for x in second.listed()] == [
            (3, "enough"),
            (5, None),
            (8, None),
        ]
        assert command.replay(second, None)["requested"] == 0
        assert not second.request(0, 3, good)
        assert command.discard(second, ["0:3"], "twice is once")["discarded"] == 0
    assert in_the_log(settings, 0) == []
    assert asyncio.run(counted(settings, 2, letters_max=1))


def test_a_worker_that_is_held_goes_on_when_letters_are_given_up(settings: KafkaSettings) -> None:
    bury(settings, *(letter(0, offset, b"poison") for offset in range(3)))

    async def work() -> None:
        topics = SummariseKafka(settings, horizon_ms=1)
        limit = LetterLimit(topics, NoMeter(), 2)
        limit.assigned({0})
        async with asyncio.timeout(60):
            while not limit.is_held(0):
                limit.check()
                await asyncio.sleep(0.05)
            await asyncio.to_thread(give_up, "0:1")
            while limit.is_held(0):
                limit.check()
                await asyncio.sleep(0.05)
        await limit.close()
        await topics.close()

    def give_up(place: str) -> None:
        with closing(KafkaLetters(settings, name="first")) as mine:
            assert command.discard(mine, [place], "enough")["discarded"] == 1

    asyncio.run(work())


def test_a_letter_whose_replay_has_begun_is_not_given_up(
    settings: KafkaSettings, letters: KafkaLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(settings, letter(0, 3, segment(21)), letter(0, 4, b"poison"))

    with death_after_the_append(monkeypatch):
        command.replay(letters, None)
    with (
        closing(KafkaLetters(settings, name="second")) as second,
        pytest.raises(PermanentError, match="replay_claimed: first"),
    ):
        command.discard(second, ["all"], "lost")
    with closing(KafkaLetters(settings, name="third", take_over=True)) as third:
        assert command.replay(third, None)["requested"] == 1
        assert in_the_log(settings, 0) == [segment(21)]
        done = command.discard(third, ["0:3", "0:4"], "lost")

    assert done["discarded"] == 1
    assert [x["detail"] for x in done["left"]] == ["it was replayed"]  # type: ignore[attr-defined]


def test_a_replay_that_died_is_left_until_somebody_says_that_it_has_ended(
    settings: KafkaSettings,
) -> None:
    bury(settings, letter(0, 3, b"poison"))
    with closing(KafkaLetters(settings, name="first")) as first:
        first.listed()
        first.trying(Request(0, 3, segment(22), None), 7)

    with closing(KafkaLetters(settings, name="second")) as second:
        left = command.discard(second, ["all"], "its repair is lost")["left"]
    with closing(KafkaLetters(settings, name="third", take_over=True)) as third:
        done = command.discard(third, ["all"], "its repair is lost")

    assert [x["detail"][:20] for x in left] == ["its replay has begun"]  # type: ignore[attr-defined]
    assert done == {"discarded": 1, "left": []}


def test_a_discard_that_may_still_arrive_keeps_its_claim(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(settings, letter(0, 3, b"poison"))
    with (
        monkeypatch.context() as patch,
        closing(KafkaLetters(settings, name="first")) as first,
    ):
        first.listed()
        first.request(0, 3, segment(23))  # the claim is held from here on
        bury(settings, letter(0, 4, b"poison"))
        first.listed()

        async def away(*_: object) -> None:
            raise TransientError("kafka_away", "the broker did not answer")

        patch.setattr(Appender, "append", away)
        with pytest.raises(TransientError):
            first.discard([(0, 4)], "lost")

    with (
        closing(KafkaLetters(settings, name="second")) as second,
        pytest.raises(PermanentError, match="replay_claimed: first"),
    ):
        command.discard(second, ["all"], "lost")


async def counted(settings: KafkaSettings, wanted: int, *, letters_max: int) -> bool:
    """Whether partition 0 is held once a new life knows of so many unsettled letters."""
    topics = SummariseKafka(settings, horizon_ms=1)
    limit = LetterLimit(topics, NoMeter(), letters_max)
    limit.assigned({0})
    async with asyncio.timeout(60):
        while limit.waiting(0) != wanted:
            limit.check()
            await asyncio.sleep(0.05)
    await asyncio.sleep(0)
    held = limit.is_held(0)
    await limit.close()
    await topics.close()
    return held


def test_a_worker_counts_the_letters_of_its_topic_that_were_not_replayed(
    settings: KafkaSettings, letters: KafkaLetters
) -> None:
    bury(settings, *(letter(0, offset, b"poison") for offset in (3, 5, 5, 8)), letter(1, 1, b"x"))
    assert asyncio.run(counted(settings, 3, letters_max=2))
    letters.listed()

    letters.request(0, 5, segment(3))

    assert not asyncio.run(counted(settings, 2, letters_max=2))
