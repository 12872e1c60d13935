"""Poison in the log of a whole node: it stops loudly, takes uploads on, goes on after a replay."""

import json
import subprocess
import sys
from pathlib import Path

import httpx

from holdfast.clock import now_ms
from holdfast.manifests import Model
from store import queries
from streams.log.base import Append
from streams.log.sqlite import SqliteLog
from tests.fakes.ingest_world import upload
from tests.fakes.node_world import RunningNode, running_node, until
from wire.segment import Kind, Segment, encode

POISON = 3
DAMAGE = b"\xff\xff"


def command(node: RunningNode, *arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "holdfast", "dead-letters", *arguments),
            *("--json", "--dir", str(node.folder.root)),
        ],
        capture_output=True,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


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


def test_a_node_with_too_many_letters_waits_loudly_and_goes_on_after_a_replay(
    tmp_path: Path,
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

        until(lambda: command(node, "list")["waiting"] == POISON, "letters")
        log = node.folder.root / "processes.log"
        until(lambda: b"partition_stopped" in log.read_bytes(), "word of it")
        send(node, 1)  # uploads are taken on
        assert b"dead_letters_full" in log.read_bytes()
        assert aggregated(node) == 10
        command(node, "export", str(tmp_path / "out"))
        for file in (tmp_path / "out").glob("*.segment"):
            file.write_bytes(file.read_bytes().removeprefix(DAMAGE))
        assert command(node, "replay", "--from", str(tmp_path / "out"))["requested"] == POISON

        until(lambda: aggregated(node) == 30, "rows of the time after")
        assert command(node, "list")["waiting"] == 0
        until(lambda: queries.mass_balance(node.store())["difference"] == 0, "balance")
