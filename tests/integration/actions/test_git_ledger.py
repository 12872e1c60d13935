"""Whom the ledger believes: a commit of ours that withdraws, and nobody's words alone."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from actions.git_command import GitSettings
from actions.git_rollback import Rollback
from actions.repository import Repository
from actions.results import State
from tests.fakes.gitops import FILES, PATH, RELEASE, Remote, make_remote, verdict
from wire.errors import TransientError
from wire.times import DAY_MS

TRAILER = f"Holdfast-Incident: {verdict().incident_id}"
WITHDRAWN = RELEASE.replace("share: 0.2", "share: 0").encode()
FORGERS = ("Ada", "Holdfast", "Holdfast ", "holdfast")


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return make_remote(tmp_path)


def perform(remote: Remote) -> tuple[State, str]:
    repository = Repository(GitSettings(remote.url, "main", remote.folder / "clone"))
    result = Rollback(repository, np.random.default_rng(1)).perform(
        verdict(), path=PATH, hold_ms=DAY_MS
    )
    return result.state, result.detail


def commit(remote: Remote, *message: str, who: str = "Ada", by: str = "Ada") -> None:
    paragraphs = [word for part in message for word in ("-m", part)]
    people = [f"--author={who} <{_mail(who)}>"]
    committer = ["-c", f"user.name={by}", "-c", f"user.email={_mail(by)}"]
    remote.git(*committer, "add", "-A")
    remote.git("commit", "-q", "--allow-empty", *people, *paragraphs)
    remote.git("push", "-q", "origin", "HEAD:main")


def _mail(who: str) -> str:
    return "holdfast@localhost" if who == "Holdfast" else "ada@example.org"


@pytest.mark.parametrize(
    "message",
    [
        ("docs: typo", TRAILER),
        ("Merge pull request #1\n\nx", f"{TRAILER}\nCo-authored-by: Holdfast <holdfast@localhost>"),
        ("rollback: next-word 1.5.0 to 1.4.0", f"Holdfast-Verdict: x\n{TRAILER}"),
        ("x", TRAILER.replace(": ", ":   ")),
        (TRAILER,),
    ],
)
@pytest.mark.parametrize("who", FORGERS)
def test_a_trailer_in_somebody_s_commit_does_not_stop_the_rollback(
    remote: Remote, message: tuple[str, ...], who: str, caplog: pytest.LogCaptureFixture
) -> None:
    commit(remote, *message, who=who)
    caplog.set_level(logging.ERROR)

    state, detail = perform(remote)

    assert state is State.DONE
    assert b"share: 0 " in remote.file(PATH)
    assert remote.subjects()[0] == "rollback: next-word 1.5.0 to 1.4.0"
    if "says that" in detail:
        assert [r.getMessage() for r in caplog.records] == ["rollback_trailer_forged"]


def test_a_forged_trailer_is_announced(remote: Remote) -> None:
    commit(remote, "docs: typo", TRAILER)

    _, detail = perform(remote)

    assert "says that it is this rollback, and is not" in detail


def test_our_name_on_a_commit_that_withdraws_nothing_is_not_believed(remote: Remote) -> None:
    """Author and committer may be written by anybody who may push."""
    environment = remote.folder / "person/.git/config"
    environment.write_text(
        environment.read_text() + "[user]\nname = Holdfast\nemail = holdfast@localhost\n"
    )
    tree = remote.git("rev-parse", "HEAD^{tree}")
    forged = remote.git(
        *("-c", "author.name=Holdfast", "-c", "author.email=holdfast@localhost"),
        *("commit-tree", tree, "-p", "HEAD", "-m", f"rollback\n\n{TRAILER}"),
    )
    remote.git("push", "-q", "origin", f"{forged}:main")

    state, _ = perform(remote)

    assert state is State.DONE
    assert b"share: 0 " in remote.file(PATH)


def test_a_real_rollback_is_believed_also_after_it_was_reverted(remote: Remote) -> None:
    perform(remote)
    remote.git("fetch", "-q", "origin", "main")
    remote.git("reset", "-q", "--hard", "FETCH_HEAD")
    remote.git("revert", "--no-edit", "HEAD")
    remote.git("push", "-q", "origin", "HEAD:main")

    state, detail = perform(remote)

    assert (state, detail) == (State.DONE, "the remote holds this rollback")
    assert b"share: 0.2" in remote.file(PATH)


def test_a_person_s_withdrawal_with_our_trailer_is_no_rollback_of_ours(remote: Remote) -> None:
    remote.commit({PATH: WITHDRAWN})
    commit(remote, "x", TRAILER)

    state, detail = perform(remote)

    assert state is State.SUPERSEDED
    assert "withdrawn already" in detail


def test_a_manifest_that_cannot_be_read_now_makes_the_rollback_wait(remote: Remote) -> None:
    remote.commit({PATH: b"apiVersion: holdfast.dev/v1\nkind: ModelRelease\nspec: [\n"})

    with pytest.raises(TransientError) as waits:
        perform(remote)
    assert waits.value.code == "manifest_unreadable"

    remote.commit({PATH: FILES[PATH]})
    assert perform(remote)[0] is State.DONE


@pytest.mark.parametrize("name", [b"caf\xe9.yaml", b"a\nb.yaml", b"a\\b.json"])
def test_a_rollback_edits_a_file_of_any_name(remote: Remote, name: bytes) -> None:
    person = remote.folder / "person"
    (person / PATH).unlink()
    (person / os.fsdecode(name)).write_bytes(RELEASE.encode())
    commit(remote, "rename")

    state, _ = perform(remote)

    assert state is State.DONE
    tree = remote.on_main("ls-tree", "-r", "--name-only", "FETCH_HEAD").splitlines()
    assert len(tree) == len(FILES)


def test_a_branch_that_is_gone_for_now_makes_the_rollback_wait(remote: Remote) -> None:
    remote.git("--git-dir", remote.url, "branch", "-m", "main", "trunk")

    with pytest.raises(TransientError) as waits:
        perform(remote)
    assert waits.value.code == "git_branch_missing"

    remote.git("--git-dir", remote.url, "branch", "-m", "trunk", "main")
    assert perform(remote)[0] is State.DONE
