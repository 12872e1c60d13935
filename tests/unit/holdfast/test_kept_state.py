"""The last good state on disk: what a process has that starts while Git is away."""

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.kept_state import keep, kept, newest
from tests.fakes.segments import desired


def test_what_was_kept_comes_back_and_the_newest_holds(tmp_path: Path) -> None:
    old, new = desired(effective_ms=1), desired(effective_ms=2, commit="c2")
    keep(tmp_path / "d.json", new)

    assert kept(tmp_path / "d.json") == new
    assert newest(old, kept(tmp_path / "d.json"), None) == new
    assert newest(None, None) is None


@pytest.mark.parametrize("body", [b"", b"{", b'{"commit": 7}', b"\xff"])
def test_a_damaged_file_is_no_state(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "d.json").write_bytes(body)

    assert kept(tmp_path / "d.json") is None
    assert kept(tmp_path / "none.json") is None


def test_a_state_that_cannot_be_worked_under_is_none(tmp_path: Path) -> None:
    poison = replace(desired(), policy=replace(desired().policy, drift_window_ms=14_400_000))
    keep(tmp_path / "d.json", poison)

    assert kept(tmp_path / "d.json") is None


def test_a_place_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    keep(tmp_path / "no folder/d.json", desired())
