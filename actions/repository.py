"""The GitOps repository through plumbing: a bare clone, no work tree, nothing kept but objects.

``init --bare`` with ``refs/remotes/origin/*``, not ``--mirror``: a mirror refuses refspec pushes
and prunes local refs.
"""

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from actions.git_command import Ended, GitCommand, GitSettings
from wire.errors import PermanentError, TransientError

FILE_BYTES_MAX: Final = 4 << 20
"""Larger files of the repository are not read; no manifest is that large."""
_SHA: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_LOST_RACE: Final = re.compile(
    r"fetch first|non-fast-forward|stale info|cannot lock ref|failed to (update|lock)|incorrect old"
)
_REFUSED: Final = re.compile(
    r"hook declined|protected branch|prohibited|GH0\d\d|not allowed to push"
)
_DENIED: Final = re.compile(r"Authentication failed|Permission denied|could not read Username|403")


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A regular file of a commit."""

    path: str
    mode: str
    blob: str


class Repository:
    """One branch of one remote. Not for two threads, nor two processes on one folder."""

    def __init__(self, settings: GitSettings) -> None:
        self.settings = settings
        self._bare = settings.folder / "repository.git"
        self._git = GitCommand(settings, self._bare)
        self._branch = f"refs/heads/{settings.branch}"
        self._tracking = f"refs/remotes/origin/{settings.branch}"

    def fetch(self) -> str:
        """The branch's tip on the remote, with all its history here.

        A clone that a crash left locked or broken is thrown away and made anew, once.

        Raises
        ------
        TransientError
            ``git_unreachable``, ``git_access_denied``, ``git_timeout``.
        PermanentError
            ``git_branch_missing``.
        """
        if not self._bare.is_dir():
            self._make_clone()
        ended = self._try_fetch()
        if ended.code and self._is_broken():
            shutil.rmtree(self._bare)
            self._make_clone()
            ended = self._try_fetch()
        if ended.code:
            raise self._fetch_error(ended)
        return self._git.run(["rev-parse", "--verify", self._tracking]).decode().strip()

    def _make_clone(self) -> None:
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        self._git.run(["init", "--quiet", "--bare", "--template="])

    def _try_fetch(self) -> Ended:
        refspec = f"+{self._branch}:{self._tracking}"
        return self._git.try_run(["fetch", "--quiet", "--no-tags", "--force", "origin", refspec])

    def _is_broken(self) -> bool:
        if any(self._bare.rglob("*.lock")):  # ours alone, so a lock is a crash's
            return True
        if self._git.try_run(["rev-parse", "--git-dir"]).code:
            return True
        known = self._git.try_run(["rev-parse", "--verify", "--quiet", self._tracking])
        if known.code:
            return False
        return self._git.try_run(["rev-list", "--objects", "-n", "1", self._tracking]).code != 0

    def _fetch_error(self, ended: Ended) -> PermanentError | TransientError:
        if "couldn't find remote ref" in ended.stderr:
            return PermanentError(
                "git_branch_missing",
                f"the remote has no branch {self.settings.branch}",
                accepted="a branch with at least one commit",
            )
        if _DENIED.search(ended.stderr):
            return TransientError("git_access_denied", ended.stderr, retry_after_s=60)
        return TransientError("git_unreachable", ended.stderr, retry_after_s=5)

    def tree(self, commit: str) -> list[TreeFile]:
        """Regular files of the commit (no links, no submodules), small enough to be read."""
        listed = self._git.run(["ls-tree", "-r", "-z", "-l", "--full-tree", _sha(commit)])
        files = []
        for entry in listed.split(b"\0")[:-1]:
            described, path = entry.split(b"\t", 1)
            mode, kind, blob, size = described.decode().split()
            if kind == "blob" and mode.startswith("100") and int(size) <= FILE_BYTES_MAX:
                files.append(TreeFile(path.decode(errors="surrogateescape"), mode, blob))
        return files

    def read(self, files: Sequence[TreeFile]) -> dict[str, bytes]:
        """Contents by path."""
        asked = "".join(f"{file.blob}\n" for file in files).encode()
        answer = self._git.run(["cat-file", "--batch"], stdin=asked)
        contents: dict[str, bytes] = {}
        at = 0
        for file in files:
            head = answer.index(b"\n", at)
            size = int(answer[at:head].split()[2])
            contents[file.path] = answer[head + 1 : head + 1 + size]
            at = head + 1 + size + 1
        return contents

    def manifests(self, commit: str) -> dict[str, bytes]:
        """Every YAML file of the commit: what `desired_files.read_desired` takes."""
        files = [f for f in self.tree(commit) if f.path.endswith((".yaml", ".yml"))]
        return self.read(files)

    def commit_file(
        self, tip: str, file: TreeFile, content: bytes, *, message: str, when_s: int
    ) -> str:
        """A commit on `tip` in which only `file` differs. The same arguments give the same id."""
        hashed = self._git.run(["hash-object", "-w", "--stdin"], stdin=content)
        blob = hashed.decode().strip()
        with tempfile.TemporaryDirectory(dir=self._bare) as folder:
            index = {"GIT_INDEX_FILE": f"{folder}/index"}
            self._git.run(["read-tree", _sha(tip)], environment=index)
            path = file.path.encode(errors="surrogateescape")
            entry = f"{file.mode} {blob}\t".encode() + path + b"\0"
            self._git.run(["update-index", "-z", "--index-info"], stdin=entry, environment=index)
            tree = self._git.run(["write-tree"], environment=index).decode().strip()
        date = f"{when_s} +0000"
        dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        argv = ["commit-tree", tree, "-p", _sha(tip), "-F", "-"]
        committed = self._git.run(argv, stdin=message.encode(), environment=dates)
        return committed.decode().strip()

    def push(self, commit: str) -> bool:
        """Make `commit` the branch's tip; False if another one was faster.

        Never forced: the remote takes it only as a descendant of its tip.

        Raises
        ------
        PermanentError
            ``git_push_refused``: a hook or a branch rule on the remote said no.
        TransientError
            ``git_unreachable``, ``git_access_denied``, ``git_timeout``. It may have arrived.
        """
        refspec = f"{_sha(commit)}:{self._branch}"
        ended = self._git.try_run(["push", "--porcelain", "--no-verify", "origin", refspec])
        if ended.code == 0:
            self._git.try_run(["update-ref", self._tracking, commit])
            return True
        words = ended.stdout.decode(errors="replace") + ended.stderr
        if _REFUSED.search(words):
            raise PermanentError("git_push_refused", ended.stderr)
        if _LOST_RACE.search(words):
            return False
        if _DENIED.search(words):
            raise TransientError("git_access_denied", ended.stderr, retry_after_s=60)
        raise TransientError("git_unreachable", ended.stderr, retry_after_s=5)

    def find_trailer(self, tip: str, key: str, value: str) -> str | None:
        """The newest commit in the tip's history with the trailer ``key: value``."""
        listed = self._git.run(
            [
                "log",
                "--fixed-strings",
                f"--grep={key}: {value}",
                f"--format=%H%x00%(trailers:key={key},valueonly,separator=%x00)",
                _sha(tip),
            ]
        )
        for line in listed.decode(errors="replace").splitlines():
            commit, *values = line.split("\0")
            if value in (v.strip() for v in values):
                return commit
        return None


def _sha(commit: str) -> str:
    if not _SHA.fullmatch(commit):
        raise PermanentError("git_commit_invalid", "not an object id")
    return commit
