"""Whatever state a repository is in: the last good state stays, or the new one is taken.

Nothing is raised, people are told once, and once it is mended the next good state is taken.
"""

import logging
import shutil
from pathlib import Path

import pytest

from actions.git_command import GitSettings
from actions.messages import Notice
from actions.repository import Repository
from holdfast.config import git_environment
from holdfast.gitops import DesiredWatch
from streams.log.memory import MemoryLog
from tests.fakes.gitops import FILES, Remote, make_remote
from tests.fakes.repository_states import KEPT, OTHER, TAKEN, Scene

LOOKS = 4


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    make_remote(folder, {path.replace("/", "_"): content for path, content in FILES.items()})
    return folder


class Watching:
    """A watch on a remote, and what people were told."""

    def __init__(self, folder: Path) -> None:
        self.scene = Scene(Remote(folder), folder / "clone")
        self.notices: list[Notice] = []
        self.broken: list[str] = []
        self.log = MemoryLog(1)
        settings = GitSettings(
            self.scene.remote.url,
            "main",
            self.scene.clone,
            environment=git_environment(),
            is_shallow=True,
        )
        self.watch = DesiredWatch(
            Repository(settings),
            self.log,
            "w0",
            lambda: 1_790_000_000_000,
            lambda _, error: self.broken.append(str(error)),
            on_notice=self.notices.append,
        )

    def looks(self) -> list[bool]:
        return [self.watch.look() for _ in range(LOOKS)]


@pytest.fixture
def watching(template: Path, tmp_path: Path) -> Watching:
    folder = tmp_path / "scene"
    shutil.copytree(template, folder, symlinks=True)
    made = Watching(folder)
    assert made.watch.look()
    return made


def test_there_are_enough_states() -> None:
    assert len(KEPT) + len(TAKEN) >= 60


@pytest.mark.parametrize("state", KEPT)
def test_the_last_good_state_stays_and_people_are_told_once_and_once_when_it_is_over(
    watching: Watching, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    good = watching.watch.current()

    KEPT[state](watching.scene)

    assert not any(watching.looks())
    assert watching.watch.current() == good
    assert len(watching.notices) + len(watching.broken) == 1
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert errors in (["gitops_unreadable"], ["manifests_broken"])
    watching.scene.make_anew()
    watching.scene.with_file(b"other.yaml", OTHER)
    assert watching.watch.look()
    assert len(watching.watch.current().releases) == 2  # type: ignore[union-attr]  # it is there
    assert watching.notices[-1].code == "gitops_good_again"


@pytest.mark.parametrize("state", TAKEN)
def test_what_its_files_declare_is_taken_whatever_is_beside_them(
    watching: Watching, state: str
) -> None:
    TAKEN[state](watching.scene)

    watching.looks()

    now = watching.watch.current()
    assert now is not None
    assert now.commit == watching.scene.git("rev-parse", "refs/heads/main") or not watching.broken
    assert not watching.broken
    assert watching.watch.trouble.code == ""
    names = {release.model_id for release in now.releases}
    assert "next-word" in names
    assert all(r.path.isprintable() for r in now.releases)
    declared = [p for p in ("o.yaml", "other.yaml") if p in {r.path for r in now.releases}]
    assert len(names) == 2 or not declared
