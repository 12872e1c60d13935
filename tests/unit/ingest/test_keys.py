"""Keys are write-only, hashed, rotated with an overlap, and revoked within seconds."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ingest.keys import KeyFile
from wire.errors import PermanentError


class Clock:
    ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


def code_of(keys: KeyFile, token: str) -> str:
    with pytest.raises(PermanentError) as refused:
        keys.app_of(token)
    return refused.value.code


def test_a_key_opens_its_app_and_its_secret_is_not_stored(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json", now_ms=Clock())

    token = keys.create("keyboard")

    assert keys.app_of(token) == "keyboard"
    assert token[13:].encode() not in (tmp_path / "keys.json").read_bytes()
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert [f.name for f in tmp_path.iterdir()] == ["keys.json"]


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json", now_ms=Clock())
    token = keys.create("keyboard")

    assert code_of(keys, "") == "key_missing"
    assert code_of(keys, "secret") == "key_unknown"
    assert code_of(keys, token[:-1] + ("A" if token[-1] != "A" else "B")) == "key_unknown"
    assert code_of(keys, token + "\n") == "key_unknown"


def test_both_keys_live_through_the_overlap_of_a_rotation(tmp_path: Path) -> None:
    clock = Clock()
    keys = KeyFile(tmp_path / "keys.json", now_ms=clock)
    old = keys.create("keyboard")

    new = keys.rotate(old[4:12], overlap_ms=60_000)

    assert keys.app_of(old) == keys.app_of(new) == "keyboard"
    clock.ms += 60_000
    assert code_of(keys, old) == "key_expired"
    assert keys.app_of(new) == "keyboard"


def test_another_process_sees_a_revocation_within_a_second(tmp_path: Path) -> None:
    clock = Clock()
    owner, worker = (KeyFile(tmp_path / "keys.json", now_ms=clock) for _ in range(2))
    token = owner.create("keyboard")
    assert worker.app_of(token) == "keyboard"

    owner.revoke(token[4:12])

    clock.ms += 1_000
    assert code_of(worker, token) == "key_unknown"


def test_keys_made_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    def make(app_id: str) -> str:
        return KeyFile(tmp_path / "keys.json", now_ms=Clock()).create(app_id)

    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(make, [f"app-{i}" for i in range(32)]))

    keys = KeyFile(tmp_path / "keys.json", now_ms=Clock())
    assert [keys.app_of(key) for key in made] == [f"app-{i}" for i in range(32)]


def test_a_broken_file_leaves_the_last_good_keys(tmp_path: Path) -> None:
    clock = Clock()
    keys = KeyFile(tmp_path / "keys.json", now_ms=clock)
    token = keys.create("keyboard")
    assert keys.app_of(token) == "keyboard"

    (tmp_path / "keys.json").write_bytes(b"[{")

    clock.ms += 1_000
    assert keys.app_of(token) == "keyboard"
    with pytest.raises(PermanentError, match="key_file_invalid"):
        keys.create("keyboard")


def test_keys_are_listed_without_secrets_and_unknown_ids_are_refused(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json", now_ms=Clock())
    tokens = [keys.create(app) for app in ("keyboard", "camera")]

    assert {k.app_id for k in keys.listed()} == {"keyboard", "camera"}
    assert not any(t[13:] in str(keys.listed()) for t in tokens)
    with pytest.raises(PermanentError, match="key_id_unknown"):
        keys.revoke("ffffffff")
