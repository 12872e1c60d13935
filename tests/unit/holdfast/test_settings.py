"""Settings: from the environment, the folder and options, and what they mean elsewhere."""

from pathlib import Path

import pytest

from holdfast.config import load
from holdfast.folder import Folder
from wire.errors import PermanentError


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_repository_beside_us_is_found_from_every_folder(tmp_path: Path) -> None:
    (tmp_path / "models.git").mkdir()

    assert load(gitops_url="models.git").gitops_url == str(tmp_path / "models.git")


@pytest.mark.parametrize("address", ["", "https://example.org/m.git", "git@example.org:m.git"])
def test_an_address_stays_as_it_is(address: str) -> None:
    assert load(gitops_url=address).gitops_url == address


def test_an_option_wins_over_the_environment_and_that_over_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "settings.json").write_text('{"writer": "of-the-folder", "http_port": 1}')
    monkeypatch.setenv("HOLDFAST_DIR", str(tmp_path))
    monkeypatch.setenv("HOLDFAST_HTTP_PORT", "2")

    settings = load(http_port=3)

    assert (load().http_port, settings.http_port, settings.writer) == (2, 3, "of-the-folder")


def test_all_mistakes_are_named_as_they_were_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_TICK_S", "0")
    monkeypatch.setenv("HOLDFAST_PARTITIONS", "many")

    with pytest.raises(PermanentError) as wrong:
        load()

    assert wrong.value.code == "settings_invalid"
    assert "HOLDFAST_TICK_S" in wrong.value.detail
    assert "HOLDFAST_PARTITIONS" in wrong.value.detail


def test_a_receipt_cannot_wait_for_more_copies_than_are_made() -> None:
    with pytest.raises(PermanentError, match=r"KAFKA_MIN_INSYNC.*only 1 copies"):
        load(kafka_min_insync=2)
    with pytest.raises(PermanentError, match="KAFKA_REPLICATION"):
        load(kafka_min_insync=2, kafka_replication=0)

    assert load(kafka_min_insync=2, kafka_replication=3).kafka_min_insync == 2


def test_a_new_folder_is_its_owner_s_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "node")

    folder.create()

    assert folder.root.stat().st_mode & 0o077 == 0
