"""A node looks at its folder before anything listens, and nobody deletes a folder that is lived in.

Each history of a file is told in one line that names the file and what to do.
"""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from holdfast.demo_command import run_demo
from holdfast.folder import Folder
from holdfast.folder_check import check_folder
from holdfast.folder_lock import check_free, living_in
from ingest.keys import KeyFile
from ingest.signing import load_or_make
from streams.codec import pack, unpack
from streams.local_worker import LocalWorker, WorkerSettings
from streams.log.base import Append
from streams.log.sqlite import SqliteLog
from streams.snapshot import FORMAT
from streams.state import StateStore
from tests.fakes.segments import START_MS, appends
from tests.fakes.stage_topics import MemorySink
from wire.errors import PermanentError

RUN = list(appends(np.random.default_rng(4), partitions=1, seconds=4))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder that a node has lived in."""
    made = Folder(tmp_path / "node")
    made.create()
    log = SqliteLog(made.log, partitions=1, now_ms=lambda: START_MS)
    log.append(RUN)
    state = StateStore(made.state)
    worker = LocalWorker(log, MemorySink(), state, WorkerSettings(1000, 86_400_000))
    while worker.step():
        pass
    state.close()
    log.close()
    KeyFile(made.keys, now_ms=lambda: 0).create("keyboard")
    load_or_make(made.signing / "release-config.pem")
    made.store_passwords()
    sqlite3.connect(made.outbox).close()
    return made


def up(*options: str) -> subprocess.CompletedProcess[str]:
    """As a person runs it."""
    command = [sys.executable, "-m", "holdfast", "up", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def looked_at(folder: Folder) -> None:
    check_folder(folder, partitions=1)


def test_a_folder_that_was_lived_in_is_good_and_is_not_changed(folder: Folder) -> None:
    before = {p: p.read_bytes() for p in folder.root.rglob("*") if p.is_file()}

    looked_at(folder)

    after = {p: p.read_bytes() for p in folder.root.rglob("*") if p.is_file()}
    assert {p: b for p, b in after.items() if "-shm" not in p.name and "-wal" not in p.name} == {
        p: b for p, b in before.items() if "-shm" not in p.name and "-wal" not in p.name
    }


def test_an_empty_folder_is_good(tmp_path: Path) -> None:
    looked_at(Folder(tmp_path / "new"))

    assert not (tmp_path / "new").exists()


def of_format(number: object) -> Callable[[Folder], None]:
    def happen(folder: Folder) -> None:
        database = sqlite3.connect(folder.state)
        (body,) = database.execute("SELECT body FROM snapshot WHERE part = 'stages'").fetchone()
        changed = pack({**unpack(body), "format": number})
        database.execute("UPDATE snapshot SET body = ? WHERE part = 'stages'", (changed,))
        database.commit()
        database.close()

    return happen


def log_of_another_version(folder: Folder) -> None:
    database = sqlite3.connect(folder.log / "log.sqlite")
    for number, payload in database.execute("SELECT id, payload FROM records").fetchall():
        changed = b"\x00\xff" + payload[9:]
        database.execute("UPDATE records SET payload = ? WHERE id = ?", (changed, number))
    database.commit()
    database.close()


def overwritten(name: str, content: bytes) -> Callable[[Folder], None]:
    def happen(folder: Folder) -> None:
        for suffix in ("-wal", "-shm"):
            (folder.root / f"{name}{suffix}").unlink(missing_ok=True)
        (folder.root / name).write_bytes(content)

    return happen


def log_lost(folder: Folder) -> None:
    for file in folder.log.iterdir():
        file.unlink()
    log = SqliteLog(folder.log, partitions=1, now_ms=lambda: START_MS)
    log.append(RUN[:3])
    log.close()


GARBAGE = b"\x00garbage" * 400
WRONG: dict[str, tuple[Callable[[Folder], None], str, str]] = {
    "older state": (of_format(FORMAT - 1), "state_format_unknown", ""),
    "newer state": (of_format(FORMAT + 1), "state_format_unknown", ""),
    "state without a format": (of_format(None), "state_format_unknown", ""),
    "corrupt state": (overwritten("state.db", GARBAGE), "file_unreadable", "state.db"),
    "half a state": (
        overwritten("state.db", b"SQLite format 3\x00"), "file_unreadable", "state.db"),
    "corrupt outbox": (overwritten("outbox.db", GARBAGE), "file_unreadable", "outbox.db"),
    "corrupt log": (overwritten("log.db/log.sqlite", GARBAGE), "file_unreadable", "log.sqlite"),
    "log of another version": (log_of_another_version, "log_format_unknown", "log.db"),
    "another log": (log_lost, "log_replaced", "state.db"),
    "corrupt keys": (overwritten("keys.json", b"[{"), "key_file_invalid", "keys.json"),
    "empty keys": (overwritten("keys.json", b""), "key_file_invalid", "keys.json"),
    "corrupt signing key": (
        overwritten("signing/release-config.pem", b"-----BEGIN"), "file_unreadable", ".pem"),
    "corrupt passwords": (
        overwritten("store-passwords.json", b"{"), "file_unreadable", "store-passwords.json"),
    "passwords that are no text": (
        overwritten("store-passwords.json", b"\xff\xfe"), "file_unreadable", "store-passwords"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_gone_on_with_is_one_line(folder: Folder, name: str) -> None:
    happen, code, file = WRONG[name]
    happen(folder)

    with pytest.raises(PermanentError) as caught:
        looked_at(folder)

    assert caught.value.code == code
    assert file in caught.value.detail
    assert caught.value.accepted
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["older state", "corrupt state", "corrupt keys"])
def test_up_ends_with_two_and_the_advice_before_it_listens(folder: Folder, name: str) -> None:
    WRONG[name][0](folder)

    done = up("--dir", str(folder.root), "--gitops-url", "/nowhere")

    assert done.returncode == 2
    assert done.stdout == ""
    assert WRONG[name][1] in done.stderr
    assert "accepted:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder.root / "service.json").exists()


def test_corrupt_settings_of_a_folder_are_one_line(folder: Folder) -> None:
    folder.settings.write_text("{")

    done = up("--dir", str(folder.root))

    assert done.returncode == 2
    assert "settings.json cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_record_that_cannot_be_read_is_a_dead_letter_and_no_other_format(
    folder: Folder,
) -> None:
    log = SqliteLog(folder.log, partitions=1, now_ms=lambda: START_MS)
    log.append([Append(0, b"\xff", START_MS)])
    log.close()

    looked_at(folder)


def demo_in(root: Path) -> Folder:
    (root / "gitops.git").mkdir(parents=True)
    (root / "slack.jsonl").write_text("{}\n")
    (root / "precious").write_text("evidence")
    made = Folder(root)
    made.create()
    return made


@pytest.mark.parametrize("replace", [False, True])
def test_a_demo_never_deletes_a_folder_that_somebody_lives_in(
    tmp_path: Path, replace: bool
) -> None:
    folder = demo_in(tmp_path / "demo")

    with living_in(folder), pytest.raises(PermanentError) as caught:
        run_demo(1, "latency", folder.root, fast=True, as_json=True, replace_demo=replace)

    assert caught.value.code == "folder_in_use"
    assert (folder.root / "precious").exists()


def test_nor_one_whose_service_lives_alone(tmp_path: Path) -> None:
    folder = demo_in(tmp_path / "demo")
    log = SqliteLog(folder.log, partitions=1, now_ms=lambda: START_MS)

    with pytest.raises(PermanentError, match="a node is running"):
        run_demo(1, "latency", folder.root, fast=True, as_json=True, replace_demo=True)

    assert (folder.root / "precious").exists()
    log.close()
    check_free(folder)


def test_an_earlier_demo_is_deleted_only_when_asked(tmp_path: Path) -> None:
    folder = demo_in(tmp_path / "demo")

    with pytest.raises(PermanentError) as caught:
        run_demo(1, "latency", folder.root, fast=True, as_json=True)

    assert "--replace" in caught.value.accepted
    assert (folder.root / "precious").exists()


def test_two_nodes_do_not_share_a_folder(folder: Folder) -> None:
    second = living_in(folder)
    with living_in(folder), pytest.raises(PermanentError, match="a node is running"):
        second.__enter__()
    with living_in(folder):
        assert json.loads(folder.passwords.read_text())
