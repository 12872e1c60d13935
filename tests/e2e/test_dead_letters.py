"""Poison in the log of a node: it stops loudly, takes uploads on, goes on once that is seen to."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from holdfast.clock import now_ms
from holdfast.manifests import Model
from store import queries
from streams.log.base import Append
from streams.log.sqlite import SqliteLog
from tests.fakes.ingest_world import upload
from tests.fakes.letters_command import dead_letters
from tests.fakes.node_world import RunningNode, running_node, until
from wire.segment import Kind, Segment, encode

POISON = 3
DAMAGE = b"\xff\xff"


def send(node: RunningNode, count: int) -> None:
    for _ in range(count):
        sent = upload(5, rollout=False)
        answer = httpx.post(
            node.http + "/v1/telemetry",
            content=sent.SerializeToString(),
            headers={
                "content-type": "application/x-protobuf",
                "authorization": f"Bearer {node.keys['keyboard']}",
            },
        )
        assert answer.status_code == 200, answer.text


def poison(node: RunningNode) -> None:
    """While the node is down, damage reaches its log."""
    log = SqliteLog(node.folder.log, partitions=1, now_ms=now_ms)
    tick = encode(Segment(Kind.TICK, now_ms(), "ingest-0"))
    log.append([Append(0, DAMAGE + tick, now_ms()) for _ in range(POISON)])
    log.close()


def aggregated(node: RunningNode) -> int:
    return queries.mass_balance(node.store())["aggregated"]


def mend(node: RunningNode, folder: Path) -> None:
    dead_letters(node.folder, "export", str(folder))
    for file in folder.glob("*.segment"):
        file.write_bytes(file.read_bytes().removeprefix(DAMAGE))
    assert dead_letters(node.folder, "replay", "--from", str(folder))["requested"] == POISON


def give_up(node: RunningNode, _: Path) -> None:
    done = dead_letters(node.folder, "discard", "all", "--reason", "nobody can mend it")
    assert done == {"discarded": POISON, "left": []}


@pytest.mark.parametrize("see_to", [mend, give_up])
def test_a_node_with_too_many_letters_waits_loudly_and_goes_on_once_they_are_seen_to(
    tmp_path: Path, see_to: Callable[[RunningNode, Path], None]
) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "settings.json").write_text(json.dumps({"dead_letters_max": POISON - 1}))
    models = (Model("keyboard", "next-word", "1.0", "2.0", 0.25),)
    with running_node(tmp_path, models, regions=("DE",)) as node:
        send(node, 2)
        until(lambda: aggregated(node) == 10, "first rows")
        node.node.stop()
        poison(node)
        node.node.start()
        send(node, 3)

        until(lambda: dead_letters(node.folder, "list")["waiting"] == POISON, "letters")
        log = node.folder.root / "processes.log"
        until(lambda: b"partition_stopped" in log.read_bytes(), "word of it")
        send(node, 1)  # uploads are taken on
        assert b"dead_letters_full" in log.read_bytes()
        assert dead_letters(node.folder, "list")["waiting"] == POISON
        assert aggregated(node) <= 25  # what was read with the poison may count, the last one not
        see_to(node, tmp_path / "out")

        until(lambda: aggregated(node) == 30, "rows of the time after")
        assert dead_letters(node.folder, "list")["waiting"] == 0
        until(lambda: queries.mass_balance(node.store())["difference"] == 0, "balance")
