"""A bare GitOps repository on this machine, made of text: for the demo, benchmarks and tests."""

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.config import git_environment

_AUTHOR = ("-c", "user.name=Release team", "-c", "user.email=releases@example.org")


def make_repository(bare: Path, files: Mapping[str, str]) -> None:
    """Make a bare repository whose branch main holds these files in one commit."""
    git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    with tempfile.TemporaryDirectory() as work:
        git("clone", "--quiet", str(bare), work)
        for path, text in files.items():
            target = Path(work) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        git("add", "--all", cwd=work)
        git(*_AUTHOR, "commit", "--quiet", "--message", "release: three candidates", cwd=work)
        git("push", "--quiet", "origin", "HEAD:refs/heads/main", cwd=work)


@dataclass(frozen=True, slots=True)
class RollbackCommit:
    """One rollback on the remote's branch, as anybody with git sees it."""

    commit: str
    subject: str
    verdict_id: str
    incident_id: str


def rollback_commits(bare: Path) -> list[RollbackCommit]:
    """Commits with our trailer on the branch main, oldest first."""
    trailers = "%(trailers:key=Holdfast-Verdict,valueonly,separator=)"
    incidents = "%(trailers:key=Holdfast-Incident,valueonly,separator=)"
    text = git(
        "log",
        "--reverse",
        f"--format=%H%x1f%s%x1f{trailers}%x1f{incidents}",
        "main",
        cwd=str(bare),
    )
    rows = [line.split("\x1f") for line in text.splitlines()]
    return [RollbackCommit(c, s, v, i) for c, s, v, i in rows if v]


def diff_of(bare: Path, commit: str) -> str:
    """What a commit changed, without context lines."""
    return git("show", "--unified=0", "--format=", commit, cwd=str(bare))


def message_of(bare: Path, commit: str) -> str:
    """A commit's message."""
    return git("show", "--no-patch", "--format=%B", commit, cwd=str(bare))


def git(*arguments: str, cwd: str | None = None) -> str:
    """Run git without anybody's configuration; its standard output."""
    environment = {
        **git_environment(),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout
