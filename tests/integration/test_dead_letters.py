"""Poison in the log, on a real log, a real store, and the commands as processes of their own."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from holdfast.folder import Folder
from store import queries
from store.migrate import migrate
from store.writer import Writer
from streams.local_worker import LocalWorker, WorkerSettings
from streams.log.base import Append, Record
from streams.log.sqlite import SqliteLog
from streams.state import StateStore
from streams.summarise import DeadLetter
from tests.fakes.letters_command import dead_letters
from tests.fakes.segments import START_MS, WINDOW_MS, appends
from tests.integration.store_fixtures import StoreEndpoint, start_store
from wire.segment import Kind, Segment, encode

AGE_MS = 86_400_000
PARTITIONS = 2
SECONDS = 60
POISON_SHARE = 0.05
VIEWS = (
    "SELECT event_bucket, event_bucket_ms, app_id, model_id, model_version, rollout_id, step, arm, "
    "platform, device_tier, region, metric, sum(m.uploads), sum(m.n), sum(m.sum), "
    "sumMap(buckets, counts) FROM hf_store.metric_window AS m FINAL GROUP BY ALL ORDER BY ALL",
    "SELECT * FROM hf.cost_daily ORDER BY ALL",
)


Table = Sequence[Sequence[object]]


class Node:
    """A node's folder with its log, state and worker, in front of a store of its own."""

    def __init__(self, root: Path, store: StoreEndpoint) -> None:
        self.folder, self.store = Folder(root), store
        self.folder.create()
        self.log = SqliteLog(self.folder.log, partitions=PARTITIONS, now_ms=lambda: START_MS)
        self.state = StateStore(self.folder.state)
        self.worker = self.restarted()

    def restarted(self) -> LocalWorker:
        settings = WorkerSettings(
            WINDOW_MS, AGE_MS, retention_ms=AGE_MS, dedup_folder=self.folder.dedup
        )
        self.worker = LocalWorker(self.log, Writer(self.store.writer()), self.state, settings)
        return self.worker

    def settle(self) -> None:
        while self.worker.step():
            pass

    def close_windows(self, second: int) -> None:
        at_ms = START_MS + second * 1000
        tick = encode(Segment(Kind.TICK, at_ms, "w0"))
        self.log.append([Append(p, tick, at_ms) for p in range(PARTITIONS)])
        self.settle()

    def views(self) -> list[Table]:
        store = self.store.writer()
        return [store.rows(view) for view in VIEWS]

    def balance(self) -> dict[str, int]:
        rows = self.store.writer().rows(
            "SELECT toString(outcome), sum(count) FROM hf_store.ingest_window FINAL"
            " WHERE unit = 'rows' GROUP BY outcome"
        )
        return {str(outcome): int(str(count)) for outcome, count in rows}

    def command(self, *arguments: str, code: int = 0) -> dict[str, object]:
        return dead_letters(self.folder, *arguments, code=code)


@contextmanager
def node_at(root: Path) -> Iterator[Node]:
    running, endpoint = start_store(root / "store")
    with ExitStack() as stack:
        stack.callback(running.stop)
        client = endpoint.writer()
        migrate(client, now_ms=START_MS, app_version="test")
        client.close()
        node = Node(root / "node", endpoint)
        stack.callback(node.log.close)
        stack.callback(node.state.close)
        yield node


def run(node: Node, *, is_poison: Callable[[Append], bool]) -> dict[bytes, bytes]:
    """A minute of telemetry; the poisoned payloads and what they should have been."""
    damaged: dict[bytes, bytes] = {}
    stream = appends(
        np.random.default_rng(5), partitions=PARTITIONS, seconds=SECONDS, repeat_share=0.1
    )
    for i, append in enumerate(stream):
        if append.batch_ids and is_poison(append) and append.payload not in damaged.values():
            bad = b"\xff" + i.to_bytes(2) + append.payload
            damaged[bad] = append.payload
            node.log.append([Append(append.partition, bad, append.arrived_ms, append.batch_ids)])
        else:
            node.log.append([append])
        if i % 10 == 0:
            node.worker.step()
    node.settle()
    return damaged


def assert_alike(found: list[Table], expected: list[Table]) -> None:
    """Equal rows; means to the last bits, which depend on how a sum was cut into windows."""
    for mine, theirs in zip(found, expected, strict=True):
        assert len(mine) == len(theirs)
        for row, wanted in zip(mine, theirs, strict=True):
            for cell, value in zip(row, wanted, strict=True):
                assert cell == (
                    pytest.approx(value, rel=1e-13) if isinstance(value, float) else value
                )


def test_after_a_repair_and_a_replay_it_is_as_if_nothing_had_happened(tmp_path: Path) -> None:
    with node_at(tmp_path / "a") as whole, node_at(tmp_path / "b") as poisoned:
        run(whole, is_poison=lambda _: False)
        rng = np.random.default_rng(6)
        damaged = run(
            poisoned,
            is_poison=lambda a: (
                a.arrived_ms >= START_MS + 5_000 and bool(rng.random() < POISON_SHARE)
            ),
        )
        for node in (whole, poisoned):
            node.close_windows(SECONDS + 5)
        expected, before = whole.views(), poisoned.views()
        poisoned.restarted()

        listed = poisoned.command("list")
        refused = poisoned.command("replay", code=1)
        exported = poisoned.command("export", str(tmp_path / "out"))
        for file in (tmp_path / "out").glob("*.segment"):
            file.write_bytes(damaged[file.read_bytes()])
        asked = poisoned.command("replay", "--from", str(tmp_path / "out"))
        again = poisoned.command("replay", "--from", str(tmp_path / "out"))
        poisoned.settle()
        for node in (whole, poisoned):
            node.close_windows(SECONDS + 10)

        assert len(damaged) >= 3
        assert listed["waiting"] == exported["exported"] == asked["requested"] == len(damaged)
        assert (refused["requested"], len(refused["refused"])) == (0, len(damaged))  # type: ignore[arg-type]
        assert again["requested"] == 0
        assert before != expected
        assert_alike(poisoned.views(), expected)
        balance = poisoned.balance()
        assert balance["received"] == balance["aggregated"] + balance.get("deduplicated", 0)
        assert balance == whole.balance()
        assert queries.mass_balance(poisoned.store.writer())["difference"] == 0
        assert poisoned.command("list")["waiting"] == 0


def test_the_commands_of_a_folder_at_rest_give_a_letter_up(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.create()
    state = StateStore(folder.state)
    state.letters.bury([DeadLetter(Record(0, 7, b"poison"), "segment_undecodable", START_MS)])
    state.close()

    mistaken = dead_letters(folder, "discard", "0:8", "--reason", "x", code=2)
    done = dead_letters(folder, "discard", "0:7", "--reason", "disk error")
    listed = dead_letters(folder, "list")

    assert mistaken == {}
    assert done == {"discarded": 1, "left": []}
    assert listed["waiting"] == 0
    assert [x["discarded"] for x in listed["letters"]] == ["disk error"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "command", [["list"], ["replay"], ["export", "out"], ["discard", "all", "--reason", "lost"]]
)
def test_a_folder_without_a_node_is_named(tmp_path: Path, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", "dead-letters", *command, "--dir", str(tmp_path / "no")],
        capture_output=True,
        check=False,
    )

    assert done.returncode == 2
    assert b"folder_empty" in done.stderr
