"""The clone of a real remote: what is read, what is refused, and what a crash leaves."""

from pathlib import Path

import pytest

from actions.desired_files import read_desired
from actions.git_command import GitSettings
from actions.repository import Repository
from tests.fakes.gitops import FILES, PATH, Remote, make_remote
from wire.errors import PermanentError, TransientError


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return make_remote(tmp_path)


def clone_of(remote: Remote, name: str = "clone") -> Repository:
    return Repository(GitSettings(remote.url, "main", remote.folder / name))


def test_manifests_are_read_as_the_commit_has_them(remote: Remote) -> None:
    repository = clone_of(remote)

    contents = repository.manifests(repository.fetch())

    assert contents == FILES
    assert read_desired(contents, commit="c").releases[0].path == PATH


def test_links_and_large_files_are_not_read(remote: Remote) -> None:
    (remote.folder / "person/link.yaml").symlink_to("policy.yaml")
    remote.commit({"large.yaml": b"#" * (5 << 20), "späte namen.yaml": b"a: 1\n"})
    repository = clone_of(remote)

    contents = repository.manifests(repository.fetch())

    assert set(contents) == {*FILES, "späte namen.yaml"}


def test_a_clone_that_a_crash_left_broken_is_made_anew(remote: Remote) -> None:
    repository = clone_of(remote)
    tip = repository.fetch()
    bare = remote.folder / "clone/repository.git"

    remote.commit({"x.txt": b"1"})
    (bare / "refs/remotes/origin/main.lock").write_bytes(b"")
    assert repository.fetch() != tip

    (bare / "HEAD").write_bytes(b"")
    remote.commit({"x.txt": b"2"})
    assert repository.fetch() == remote.on_main("rev-parse", "FETCH_HEAD")


def test_a_remote_that_is_away_is_worth_another_try(remote: Remote) -> None:
    repository = clone_of(remote)
    repository.fetch()
    Path(remote.url).rename(remote.folder / "away")

    with pytest.raises(TransientError) as away:
        repository.fetch()

    assert away.value.code == "git_unreachable"


def test_a_missing_branch_is_a_permanent_error(remote: Remote) -> None:
    repository = Repository(GitSettings(remote.url, "trunk", remote.folder / "clone"))

    with pytest.raises(PermanentError) as missing:
        repository.fetch()

    assert missing.value.code == "git_branch_missing"


@pytest.mark.parametrize(
    "settings",
    [
        ("--upload-pack=touch /tmp/x", "main"),
        ("", "main"),
        ("x", "-f"),
        ("x", "a..b"),
        ("x", "a b"),
    ],
)
def test_an_address_or_branch_cannot_be_an_option(
    settings: tuple[str, str], tmp_path: Path
) -> None:
    with pytest.raises(PermanentError):
        GitSettings(*settings, tmp_path)


def test_a_transport_that_runs_commands_is_not_allowed(tmp_path: Path) -> None:
    planted = tmp_path / "ran"
    settings = GitSettings(f"ext::sh -c touch% {planted}", "main", tmp_path / "clone")

    with pytest.raises(TransientError):
        Repository(settings).fetch()

    assert not planted.exists()


def test_secrets_are_in_no_error_and_no_setting_that_is_printed(tmp_path: Path) -> None:
    settings = GitSettings(
        "http://bot:canary-password@127.0.0.1:9/x.git",
        "main",
        tmp_path / "clone",
        authorization="Basic canary-token",
    )

    with pytest.raises(TransientError) as refused:
        Repository(settings).fetch()

    assert "canary" not in str(refused.value)
    assert "canary-token" not in repr(settings)


def test_a_hanging_remote_ends_in_a_time_out(tmp_path: Path) -> None:
    settings = GitSettings(
        "ssh://nobody@127.0.0.1/x.git",
        "main",
        tmp_path / "clone",
        timeout_s=1.0,
        ssh_command="sleep 30;:",
    )

    with pytest.raises(TransientError) as slow:
        Repository(settings).fetch()

    assert slow.value.code == "git_timeout"
