"""What people do to the GitOps repository while a system runs: edits of clocks, a branch renamed.

Each is undone after a while. The system's own rollback commits go on meanwhile, so a push that
came too late is made again.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from holdfast.example_repo import git

_POLICY: Final = "holdfast/policy.yaml"
_AUTHOR: Final = ("-c", "user.name=Release team", "-c", "user.email=releases@example.org")
_TIMES: Final = 3  # what a clock becomes: more than any margin
_TRIES: Final = 20
_BRANCH, _ELSEWHERE = "main", "trunk"
FIELDS: Final = {"window_ms": "windowMs", "accepted_age": "acceptedAgeMs"}


@contextmanager
def edited(bare: Path, kind: str) -> Iterator[None]:
    """A clock of the policy is three times as long, until the block ends."""
    before = _edit(bare, FIELDS[kind], None)
    try:
        yield
    finally:
        _edit(bare, FIELDS[kind], before)


@contextmanager
def renamed(bare: Path) -> Iterator[None]:
    """The branch has another name, until the block ends."""
    git("branch", "-m", _BRANCH, _ELSEWHERE, cwd=str(bare))
    try:
        yield
    finally:
        if _has(bare, _BRANCH):  # a rollback was pushed meanwhile: on the same tip
            git("branch", "-D", _ELSEWHERE, cwd=str(bare))
        else:
            git("branch", "-m", _ELSEWHERE, _BRANCH, cwd=str(bare))


def _edit(bare: Path, field: str, value: int | None) -> int:
    """Commit another value (None: three times the present one); the value before."""
    for _ in range(_TRIES):
        with tempfile.TemporaryDirectory() as work:
            git("clone", "--quiet", "--branch", _BRANCH, str(bare), work)
            policy = Path(work) / _POLICY
            lines = policy.read_text().splitlines(keepends=True)
            (at,) = [i for i, line in enumerate(lines) if line.strip().startswith(f"{field}:")]
            head, _, rest = lines[at].partition(":")
            number = rest.split()[0]
            before = int(number)
            wanted = before * _TIMES if value is None else value
            lines[at] = f"{head}:{rest.replace(number, str(wanted), 1)}"
            policy.write_text("".join(lines))
            git(*_AUTHOR, "commit", "--quiet", "--all", "--message", f"policy: {field}", cwd=work)
            try:
                git("push", "--quiet", "origin", f"HEAD:{_BRANCH}", cwd=work)
            except subprocess.CalledProcessError:
                continue  # somebody was faster
            return before
    raise RuntimeError(f"{field} could not be pushed in {_TRIES} tries")


def _has(bare: Path, branch: str) -> bool:
    return (bare / "refs/heads" / branch).exists() or branch in git(
        "for-each-ref", "--format=%(refname:short)", "refs/heads", cwd=str(bare)
    )
