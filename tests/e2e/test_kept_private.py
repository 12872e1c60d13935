"""What a node keeps is its owner's alone, and nobody may ask for what one phone sent.

The number is an IMEI that an app put into two counters, and into the id of its upload.
"""

import os
import stat
import subprocess
import sys
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import httpx
import pytest

from holdfast.manifests import Model
from holdfast.outside import store_settings
from store import queries
from store.client import connect
from tests.fakes.canaries import databases, files
from tests.fakes.ingest_world import upload
from tests.fakes.node_world import running_node, until
from wire.pb import telemetry_pb2 as pb

APP, MODEL = "keyboard", "next-word"
IMEI = "356938035643809"
HALVES = (356_938_035, 643_809)
OF_EVENTS = {"metric_minute", "metric_totals", "class_share", "release_health"}


def hostile() -> pb.UploadRequest:
    """As hostile apps would: an identifier in every number and id that there is."""
    made = upload(1)
    made.batch_id = (IMEI + "\0").encode()
    made.context.region, made.context.rollout_id, made.context.step = "DE", "", 0
    made.context.arm = pb.ARM_UNSPECIFIED
    made.enrolled_ms = 0
    made.context.os_major = 987
    made.bytes_sent[:] = HALVES[:1]
    made.bytes_received[:] = HALVES[1:]
    return made


@dataclass
class Seen:
    """What analysts were answered, what commands said, and where everything lies."""

    answers: dict[str, str]
    root: Path
    printed: str
    passwords: list[str]


def _commands(root: Path) -> str:
    """Every short command that writes or shows something, from a careless shell; what they say."""
    subprocess.run(["git", "init", "--quiet", "made"], cwd=root, check=True)
    names = ["--app", APP, "--model", MODEL, "--stable", "1.0", "--candidate", "2.0"]
    said = ""
    for words in (
        ["init", "made", *names],
        ["keys", "create", "--app", APP, "--dir", "node"],
        ["keys", "list", "--dir", "node"],
        ["keys", "online", "--dir", "node"],
        ["check-config", "--dir", "node"],
        ["sql", "SELECT 1", "--dir", "node"],
        ["up", "--dir", "node"],  # refused: the folder is in use
    ):
        done = subprocess.run(
            [sys.executable, "-m", "holdfast", *words],
            env={**os.environ, "HOLDFAST_GITOPS_URL": str(root / "gitops.git")},
            cwd=root, capture_output=True, text=True, check=False, umask=0o022, timeout=120,
        )  # fmt: skip
        assert bool(done.returncode) == (words[0] == "up"), (words, done.stderr)
        said += done.stdout + done.stderr
    return said


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    root = tmp_path_factory.mktemp("private")
    before = os.umask(0o022)
    try:
        return _seen(root)
    finally:
        os.umask(before)


def _seen(root: Path) -> Seen:
    model = Model(APP, MODEL, "1.0", "2.0", 0.25, class_groups=20)
    with running_node(root, (model,), regions=("DE",)) as node:
        answer = httpx.post(
            node.http + "/v1/telemetry",
            content=hostile().SerializeToString(),
            headers={
                "content-type": "application/x-protobuf",
                "authorization": f"Bearer {node.keys[APP]}",
            },
        )
        assert answer.status_code == 200, answer.text
        until(lambda: queries.mass_balance(node.store())["aggregated"] == 1, "the one row")
        passwords = node.folder.store_passwords()
        as_analyst = replace(
            store_settings(node.node.settings, node.folder),
            user="analyst",
            password=passwords["analyst"],
        )
        analyst = connect(as_analyst)
        views = analyst.rows("SELECT name FROM system.tables WHERE database = 'hf'")
        answers = {str(v): repr(analyst.rows(f"SELECT * FROM hf.{v}")) for (v,) in views}  # noqa: S608
        (stored,) = node.store().rows(
            "SELECT sum FROM hf_store.metric_window WHERE metric = 'network.sent'"
        )
        assert stored == (float(HALVES[0]),)  # it is there, so that not to find it means something
        return Seen(answers, root, _commands(root), [*passwords.values()])


def test_an_identifier_in_numbers_is_answered_to_no_analyst(seen: Seen) -> None:
    assert seen.answers.keys() >= OF_EVENTS
    for view in OF_EVENTS:
        assert seen.answers[view] == "[]"
    assert seen.answers["cost_daily"] == "[]"
    for view in seen.answers:
        assert not any(str(half) in seen.answers[view] for half in HALVES)


def test_an_identifier_as_batch_id_is_not_found_by_guessing(seen: Seen) -> None:
    kept = b"".join(value for _, value in [*files(seen.root), *databases(seen.root)])

    for size in range(4, 17):
        digest = blake2b((IMEI + "\0").encode(), digest_size=size).digest()
        assert digest not in kept
    assert IMEI.encode() not in kept


def test_nothing_in_the_folder_is_readable_by_others(seen: Seen) -> None:
    walked = [p for p in (seen.root / "node").rglob("*") if p.name != "processes.log"]  # the test's

    assert len(walked) > 50
    open_to_others = [p for p in walked if stat.S_IMODE(p.lstat().st_mode) & 0o077]
    assert [p for p in open_to_others if not p.is_symlink()] == []
    made = [p for p in (seen.root / "made").rglob("*.yaml") if p.is_file()]
    assert made
    assert not [p for p in made if stat.S_IMODE(p.stat().st_mode) & 0o077]


def test_no_command_and_no_process_says_a_password(seen: Seen) -> None:
    said = seen.printed + (seen.root / "node" / "processes.log").read_text()

    assert len(said) > 500
    assert not any(password in said for password in seen.passwords)
