"""Digests of batch ids: equal for a retry, under whatever key, and nobody's guess."""

import stat
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest

from holdfast.folder import Folder, write_private
from ingest.anonymise import kept_batch_ids
from ingest.batch_key import BatchKey, load_or_make, next_hour
from wire.errors import PermanentError
from wire.times import HOUR_MS

IMEI = b"356938035643809\0"
NOW_MS = 1_763_000_040_000


def kept(created_ms: int, key: BatchKey) -> bytes:
    return kept_batch_ids([IMEI], np.array([created_ms]), key).tobytes()


def test_an_id_cannot_be_guessed_from_its_digest_without_the_key() -> None:
    digest = blake2b(IMEI, digest_size=14).digest()

    assert kept(NOW_MS, BatchKey())[2:] == digest
    assert kept(NOW_MS, BatchKey(b"k" * 32))[2:] != digest
    assert kept(NOW_MS, BatchKey(b"k" * 32)) != kept(NOW_MS, BatchKey(b"l" * 32))


def test_a_retry_over_an_upgrade_keeps_its_digest() -> None:
    key = BatchKey(b"k" * 32, since_ms=next_hour(NOW_MS))

    assert kept(NOW_MS + 60_000, key) == kept(NOW_MS + 60_000, BatchKey())
    assert kept(NOW_MS + 3 * HOUR_MS, key) != kept(NOW_MS + 3 * HOUR_MS, BatchKey())


def test_a_group_of_both_ages_is_digested_each_by_its_own() -> None:
    key = BatchKey(b"k" * 32, since_ms=NOW_MS)
    ages = [NOW_MS - 1, NOW_MS, NOW_MS - 1, NOW_MS + 1]

    together = kept_batch_ids([IMEI] * 4, np.array(ages), key)

    assert [one.tobytes() for one in together] == [kept(age, key) for age in ages]


def test_the_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "batch-key.json"

    first = load_or_make(path, first_ms=7, write=write_private)

    assert load_or_make(path, first_ms=9, write=write_private) == first
    assert first.since_ms == 7
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "{}", '{"secret": "ab", "since_ms": 0}', "[]", "null"])
def test_a_damaged_key_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "batch-key.json"
    path.write_text(text)

    with pytest.raises(PermanentError) as refused:
        load_or_make(path, first_ms=0, write=write_private)

    assert refused.value.code == "batch_key_invalid"


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    root = tmp_path / "node"
    root.mkdir()
    root.chmod(0o755)

    Folder(root).create()

    assert stat.S_IMODE(root.stat().st_mode) == 0o700
