"""What could not be read is kept, limited, and replayed once; nothing is lost on the way."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from holdfast import dead_letters_command as command
from streams.dead_letters import DeadLetters
from streams.letter_replay import replay_requested
from streams.local_worker import LocalWorker, WorkerSettings
from streams.log.base import Append
from streams.log.memory import MemoryLog
from streams.state import StateStore
from tests.fakes.segments import START_MS, WINDOW_MS, appends, telemetry
from tests.unit.streams.test_stages import MemorySink
from wire.errors import PermanentError, TransientError
from wire.segment import Kind, Segment, encode

AGE_MS = 86_400_000
POISON = b"\xff poison"


class Node:
    """A log, a state and a worker that can die; `aggregated` is what the store holds."""

    def __init__(self, folder: Path, *, dead_letters_max: int = 1000, partitions: int = 1) -> None:
        self.log, self.sink = MemoryLog(partitions), MemorySink()
        self.state = StateStore(folder / "state.db")
        self._settings = WorkerSettings(
            WINDOW_MS, AGE_MS, retention_ms=AGE_MS, dead_letters_max=dead_letters_max
        )
        self.restart()

    @property
    def letters(self) -> DeadLetters:
        return self.state.letters

    def restart(self) -> None:
        self.worker = LocalWorker(self.log, self.sink, self.state, self._settings)

    def settle(self) -> None:
        while self.worker.step():
            pass

    def count(self, outcome: str, unit: str = "rows") -> int:
        windows = {
            int(np.asarray(t["ingest_window"]["window_start"])[0]): t for t in self.sink.tables
        }
        total = 0
        for tables in windows.values():
            table = tables["ingest_window"]
            is_it = (np.asarray(table["outcome"]) == outcome) & (np.asarray(table["unit"]) == unit)
            total += int(np.asarray(table["count"])[is_it].sum())
        return total

    def tick(self, partition: int, second: int) -> None:
        at_ms = START_MS + second * 1000
        self.log.append([Append(partition, encode(Segment(Kind.TICK, at_ms, "w0")), at_ms)])

    def close_windows(self, second: int) -> None:
        self.tick(0, second)
        self.settle()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def fill(log: MemoryLog, *, is_poison: Callable[[int], bool] = lambda _: False) -> list[Append]:
    """Ten seconds of segments; what was poisoned, as it should have been."""
    hidden = []
    for i, append in enumerate(appends(np.random.default_rng(4), partitions=1, seconds=10)):
        if append.batch_ids and is_poison(i):
            hidden.append(append)
            poison = Append(0, POISON + bytes([i]), append.arrived_ms, append.batch_ids)
            log.append([poison])
        else:
            log.append([append])
    return hidden


def ask(node: Node, payloads: list[bytes]) -> int:
    letters = [x for x in node.letters.listed() if not x.is_replayed]
    return sum(
        node.letters.request(x.partition, x.offset, payload)
        for x, payload in zip(letters, payloads, strict=True)
    )


def test_mended_records_count_once_however_often_they_are_asked_for(node: Node) -> None:
    hidden = fill(node.log, is_poison=lambda i: i % 4 == 1)
    node.close_windows(20)
    before = node.count("aggregated")
    mended = [append.payload for append in hidden]

    assert ask(node, mended) == len(hidden) > 3
    assert ask(node, mended) == 0
    node.settle()
    assert ask(node, []) == 0
    node.close_windows(30)

    assert node.count("aggregated") == before + len(hidden) * 100
    assert node.count("received") == node.count("aggregated")
    assert node.count("deduplicated") == 0
    assert node.count("dead_lettered", "segments") == len(hidden)


def test_a_restart_before_the_replay_does_not_take_its_uploads_for_duplicates(node: Node) -> None:
    hidden = fill(node.log, is_poison=lambda i: i in (2, 10))
    node.close_windows(20)
    before = node.count("aggregated")

    node.restart()  # the index is rebuilt without the ids of the letters
    ask(node, [append.payload for append in hidden])
    node.settle()
    node.close_windows(30)

    assert node.count("aggregated") == before + 200
    assert node.count("deduplicated") == 0


def test_a_crash_between_append_and_note_appends_nothing_twice(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = fill(node.log, is_poison=lambda i: i == 10)
    node.settle()
    ask(node, [append.payload for append in hidden])
    end = node.log.end(0)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DeadLetters, "replayed", crash)
        with pytest.raises(KeyboardInterrupt):
            node.settle()
    node.restart()
    node.settle()

    assert node.log.end(0) == end + 1
    assert [x.is_replayed for x in node.letters.listed()] == [True]


def test_too_many_letters_stop_the_partition_until_they_are_replayed(tmp_path: Path) -> None:
    node = Node(tmp_path, dead_letters_max=2)
    hidden = fill(node.log, is_poison=lambda i: i in (4, 8, 10))
    later = [Append(0, POISON, START_MS)]

    with pytest.raises(PermanentError, match="dead_letters_full"):
        node.settle()
    taken = node.worker.progress.records
    node.log.append(later)
    for _ in range(3):
        with pytest.raises(PermanentError, match="dead_letters_full"):
            node.worker.step()
    assert node.worker.progress.records == taken  # it waits, and the log holds what comes

    node.restart()
    with pytest.raises(PermanentError, match="dead_letters_full"):
        node.settle()
    ask(node, [append.payload for append in hidden])
    node.settle()
    node.close_windows(30)

    assert node.letters.waiting(0) == 1  # the later one
    assert node.count("aggregated") == node.count("received") == 20 * 100


def test_letters_that_are_given_up_let_the_partition_go_on_and_stay_given_up(
    tmp_path: Path,
) -> None:
    node = Node(tmp_path, dead_letters_max=2)
    fill(node.log, is_poison=lambda i: i in (4, 8, 10))
    with pytest.raises(PermanentError, match="dead_letters_full"):
        node.settle()
    places = [f"0:{x.offset}" for x in node.letters.listed()]

    done = command.discard(node.letters, places[:1] * 2, "disk  error\nof May")
    node.settle()
    node.restart()
    rest = command.discard(node.letters, ["all"], "all of that disk")
    node.settle()
    node.close_windows(30)

    assert (done, rest) == ({"discarded": 1, "left": []}, {"discarded": 2, "left": []})
    assert node.count("aggregated") == node.count("received") == 17 * 100
    assert node.count("dead_lettered", "segments") == 3
    assert command.replay(node.letters, None) == {"requested": 0, "refused": []}
    found, text = command.list_letters(node.letters)
    assert found["waiting"] == 0
    assert "discarded: disk error of May" in text


def test_what_is_being_replayed_cannot_be_given_up_and_what_is_given_up_not_replayed(
    node: Node,
) -> None:
    hidden = fill(node.log, is_poison=lambda i: i in (4, 8))
    node.settle()
    asked, other = node.letters.listed()
    node.letters.request(0, asked.offset, hidden[0].payload)

    done = command.discard(node.letters, ["all"], "why not")

    assert done["discarded"] == 1
    assert [(x["offset"], x["detail"][:20]) for x in done["left"]] == [  # type: ignore[attr-defined]
        (asked.offset, "its replay has begun")
    ]
    assert not node.letters.request(0, other.offset, hidden[1].payload)
    node.settle()
    again = command.discard(node.letters, [f"0:{x.offset}" for x in (asked, other)], "again")
    assert command.discard_text(again) == f"left 0:{asked.offset}  it was replayed\n0 given up"
    assert [(x.is_replayed, x.discarded) for x in node.letters.listed()] == [
        (True, None),
        (False, "why not"),
    ]


@pytest.mark.parametrize(
    ("which", "reason", "code"),
    [
        (["0:1", "0:4"], "lost", "letter_unknown"),
        (["all", "0:4"], "lost", "letter_unknown"),
        (["all"], " \n", "reason_missing"),
    ],
)
def test_a_mistaken_discard_is_named_and_gives_up_nothing(
    node: Node, which: list[str], reason: str, code: str
) -> None:
    fill(node.log, is_poison=lambda i: i == 4)
    node.settle()

    with pytest.raises(PermanentError, match=code):
        command.discard(node.letters, which, reason)

    assert node.letters.waiting(0) == 1


def test_while_one_partition_is_stopped_the_others_pile_nothing_up(tmp_path: Path) -> None:
    node = Node(tmp_path, dead_letters_max=0, partitions=2)
    node.log.append([Append(0, POISON, START_MS)])
    for second in range(12):
        node.tick(0, second)
        node.tick(1, second)
        with pytest.raises(PermanentError, match="dead_letters_full"):
            node.worker.step()

    assert node.worker.decider.waiting(1) == 1
    ask(node, [encode(Segment(Kind.TICK, START_MS, "w0"))])
    node.settle()
    assert node.worker.progress.decided_until_ms == START_MS + 11_000


def test_a_partition_that_others_wait_for_is_read_although_one_of_them_is_stopped(
    tmp_path: Path,
) -> None:
    node = Node(tmp_path, dead_letters_max=0, partitions=2)
    for second in range(12):
        node.tick(0, second)
    node.log.append([Append(0, POISON, START_MS)])
    for second in range(12):
        node.tick(1, second)
        with pytest.raises(PermanentError, match="dead_letters_full"):
            node.worker.step()

    assert node.worker.progress.decided_until_ms == START_MS + 11_000


def test_a_log_that_is_full_keeps_the_request(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = fill(node.log, is_poison=lambda i: i == 4)
    node.settle()
    ask(node, [append.payload for append in hidden])

    def full(*_: object) -> list[int]:
        raise TransientError("log_full", "no room")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryLog, "append", full)
        with pytest.raises(TransientError, match="log_full"):
            node.worker.step()
    end = node.log.end(0)
    node.settle()

    assert node.log.end(0) == end + 1
    assert node.letters.waiting(0) == 0


def test_bytes_that_cannot_be_read_are_never_appended(node: Node) -> None:
    fill(node.log, is_poison=lambda i: i == 4)
    node.settle()
    end = node.log.end(0)

    ask(node, [b"still poison"])

    assert replay_requested(node.letters, node.log) == 0
    assert node.log.end(0) == end
    assert node.letters.requested() == []
    assert node.letters.waiting(0) == 1


def test_a_letter_that_cannot_be_counted_is_refused_and_taken_once_it_can(node: Node) -> None:
    good = telemetry(np.random.default_rng(9), START_MS + 500)
    bad = encode(replace(good, uploads=dict(good.uploads, context=good.uploads["context"] + 4)))
    fill(node.log)
    node.log.append([Append(0, bad, START_MS)])
    node.settle()
    node.close_windows(20)
    end, before = node.log.end(0), node.count("aggregated")

    as_it_is = command.replay(node.letters, None)
    ask(node, [bad])  # whoever asks otherwise is refused as well
    node.settle()

    assert as_it_is["requested"] == 0
    assert [r["code"] for r in as_it_is["refused"]] == ["segment_inconsistent"]  # type: ignore[attr-defined]
    assert node.log.end(0) == end
    assert node.letters.waiting(0) == 1

    ask(node, [encode(good)])
    node.settle()
    node.close_windows(30)

    assert node.letters.waiting(0) == 0
    assert node.count("aggregated") == before + 100


def test_letters_of_an_older_node_are_read(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute(
            "CREATE TABLE dead_letter (partition INTEGER, next_offset INTEGER, code TEXT NOT NULL,"
            " payload BLOB NOT NULL, PRIMARY KEY (partition, next_offset))"
        )
        db.execute("INSERT INTO dead_letter VALUES (0, 7, 'segment_undecodable', x'00')")
    db.close()

    state = StateStore(tmp_path / "state.db")

    assert [(x.offset, x.is_replayed) for x in state.letters.listed()] == [(7, False)]
    state.close()
