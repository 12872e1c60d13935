"""The GitOps repository through plumbing: a bare clone, no work tree, nothing kept but objects.

``init --bare`` with ``refs/remotes/origin/*``, not ``--mirror``: a mirror refuses refspec pushes
and prunes local refs. The clone is disposable: whatever is wrong with it, it is made anew.
"""

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from actions.git_command import Ended, GitCommand, GitSettings
from actions.git_history import History
from actions.git_tree import TreeEntry, TreeFile, entries_of, parsed_batch
from actions.git_words import shown_address
from actions.manifest_signs import is_named_so
from wire.errors import PermanentError, TransientError

FILE_BYTES_MAX: Final = 4 << 20
"""Larger files of the repository are not read; no manifest is that large."""
MANIFEST_BYTES_MAX: Final = 64 << 20
"""Of all files that are named as manifests are."""
_NO_SUCH_REF: Final = 2  # how ``ls-remote --exit-code`` ends then
_SHA: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_LOST_RACE: Final = re.compile(
    r"fetch first|non-fast-forward|stale info|cannot lock ref|failed to (update|lock)|incorrect old"
)
_REFUSED: Final = re.compile(
    r"hook declined|protected branch|prohibited|GH0\d\d|not allowed to push"
)
_DENIED: Final = re.compile(r"Authentication failed|Permission denied|could not read Username|403")
_REMOTE_FAULT: Final = re.compile(
    r"couldn't find remote ref|Authentication failed|Permission denied|could not read Username"
    r"|early EOF|RPC failed|hung up|disconnect|timed out|reset by peer|resolve host"
    r"|unable to access"
)
_OTHER_FORMAT: Final = re.compile(r"mismatched algorithms|object format")
_NO_SHALLOW: Final = re.compile(r"shallow capabilities|does not support shallow|--depth")
_DISK_FULL: Final = re.compile(r"No space left on device|Disk quota exceeded")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a commit holds under names of manifests.

    `unread` are links, submodules and files that are too large.
    """

    contents: dict[str, bytes]
    unread: frozenset[str]


class Repository:
    """One branch of one remote. Not for two threads, nor two processes on one folder."""

    def __init__(self, settings: GitSettings) -> None:
        self.settings = settings
        self._bare = settings.folder / "repository.git"
        self._git = GitCommand(settings, self._bare)
        self.history = History(self._git, settings)
        self._branch = f"refs/heads/{settings.branch}"
        self._tip = f"refs/remotes/origin/{settings.branch}"
        self._is_shallow = settings.is_shallow
        self._is_suspect = False  # a command on the clone alone has failed

    @property
    def address(self) -> str:
        """The remote's address, without secrets."""
        return shown_address(self.settings.remote)

    def fetch(self) -> str:
        """The branch's tip on the remote, with its history here unless the settings say shallow.

        A clone that is locked, broken or of another object format is thrown away and made anew.

        Raises
        ------
        TransientError
            ``git_unreachable``, ``git_access_denied``, ``git_timeout``, ``git_disk_full``.
        PermanentError
            ``git_branch_missing``, ``git_repository_too_large``.
        """
        try:
            return self._fetch()
        except OSError as error:
            raise TransientError("git_folder_unusable", str(error.strerror)) from error
        finally:
            self._sweep()

    def probe(self) -> None:
        """Ask the remote for the branch and fetch nothing; raises what `fetch` would."""
        if not self._bare.is_dir():
            self._make_clone()
        ended = self._git.try_run(["ls-remote", "--exit-code", "origin", self._branch])
        if ended.code == _NO_SUCH_REF:
            raise self._branch_missing()
        if ended.code:
            raise self._fetch_error(ended)

    def _fetch(self) -> str:
        if self._is_suspect or not self._bare.is_dir():
            self._make_clone()
        self._sweep()
        ended = self._try_fetch()
        if ended.code and self._is_shallow and _NO_SHALLOW.search(ended.stderr):
            self._is_shallow = False
            ended = self._try_fetch()
        if ended.code and _OTHER_FORMAT.search(ended.stderr):
            self._make_clone(self._other_format())
            ended = self._try_fetch()
        if ended.code and self._is_broken(ended):
            self._make_clone()
            ended = self._try_fetch()
        if ended.code:
            raise self._fetch_error(ended)
        self._git.weigh()
        return self._local(["rev-parse", "--verify", f"{self._tip}^{{commit}}"]).decode().strip()

    def _make_clone(self, object_format: str = "sha1") -> None:
        if self._bare.is_file() or self._bare.is_symlink():
            self._bare.unlink()
        shutil.rmtree(self._bare, ignore_errors=True)
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        argv = ["init", "--quiet", "--bare", "--template=", f"--object-format={object_format}"]
        self._git.run(argv)
        self._is_suspect = False

    def _other_format(self) -> str:
        ended = self._git.try_run(["rev-parse", "--show-object-format"])
        return "sha256" if ended.stdout.strip() == b"sha1" else "sha1"

    def _try_fetch(self) -> Ended:
        argv = ["fetch", "--quiet", "--no-tags", "--force", "--no-recurse-submodules"]
        argv += ["--depth=1"] if self._is_shallow else []
        return self._git.try_run([*argv, "origin", f"+{self._branch}:{self._tip}"])

    def _sweep(self) -> None:
        """Remove what a fetch that was cut short has left; each try would leave more."""
        objects = self._bare / "objects"
        for pattern in ("pack/tmp_*", "pack/.tmp-*", "*/tmp_obj_*", "tmp_objdir-*"):
            for left in objects.glob(pattern):
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)

    def _is_broken(self, ended: Ended) -> bool:
        """Whether the clone is at fault that a fetch ended so."""
        if any(self._bare.rglob("*.lock")):  # ours alone, so a lock is a crash's
            return True
        if self._git.try_run(["rev-parse", "--git-dir"]).code:
            return True
        known = self._git.try_run(["rev-parse", "--verify", "--quiet", self._tip])
        if known.stderr:  # a ref that is merely not there says nothing
            return True
        argv = ["rev-list", "--objects", "-n", "1", self._tip]
        if not known.code and self._git.try_run(argv).code:
            return True
        # with nothing else to blame: the remote answers, so the fetch should have worked
        return not _REMOTE_FAULT.search(ended.stderr) and self._answers()

    def _answers(self) -> bool:
        return self._git.try_run(["ls-remote", "--exit-code", "origin", self._branch]).code == 0

    def _fetch_error(self, ended: Ended) -> PermanentError | TransientError:
        if "couldn't find remote ref" in ended.stderr:
            return self._branch_missing()
        if _DISK_FULL.search(ended.stderr):
            return TransientError("git_disk_full", ended.stderr, retry_after_s=60)
        if _DENIED.search(ended.stderr):
            return TransientError("git_access_denied", ended.stderr, retry_after_s=60)
        return TransientError("git_unreachable", ended.stderr, retry_after_s=5)

    def _branch_missing(self) -> PermanentError:
        return PermanentError(
            "git_branch_missing",
            f"{self.address} has no branch {self.settings.branch}",
            accepted="a branch with at least one commit, named by HOLDFAST_GITOPS_BRANCH",
        )

    def _local(self, argv: Sequence[str], *, stdin: bytes = b"") -> bytes:
        try:
            return self._git.run(argv, stdin=stdin)
        except TransientError:
            self._is_suspect = True
            raise

    def entries(self, commit: str) -> list[TreeEntry]:
        """Everything in the commit that is no folder."""
        argv = ["ls-tree", "-r", "-z", "-l", "--full-tree", _sha(commit)]
        return entries_of(self._local(argv))

    def tree(self, commit: str) -> list[TreeFile]:
        """Regular files of the commit (no links, no submodules), small enough to be read."""
        found = (entry.file for entry in self.entries(commit) if entry.size <= FILE_BYTES_MAX)
        return [file for file in found if file is not None]

    def read(self, files: Sequence[TreeFile]) -> dict[str, bytes]:
        """Contents by path. TransientError ``git_object_missing``: the clone is damaged."""
        asked = "".join(f"{file.blob}\n" for file in files).encode()
        answer = self._local(["cat-file", "--batch"], stdin=asked)
        try:
            return dict(zip((f.path for f in files), parsed_batch(answer), strict=True))
        except (LookupError, ValueError) as error:
            self._is_suspect = True
            raise TransientError("git_object_missing", "the clone is made anew") from error

    def manifests(self, commit: str) -> dict[str, bytes]:
        """Every YAML or JSON file of the commit: what `desired_files.read_desired` takes."""
        return self.see(commit).contents

    def see(self, commit: str) -> Seen:
        """What the commit holds under names of manifests.

        Raises PermanentError ``git_manifests_too_large``.
        """
        named = [entry for entry in self.entries(commit) if is_named_so(entry.path)]
        small = [e for e in named if e.file is not None and e.size <= FILE_BYTES_MAX]
        if sum(e.size for e in small) > MANIFEST_BYTES_MAX:
            raise PermanentError(
                "git_manifests_too_large",
                "all YAML and JSON files together are too large to be read",
                accepted=f"at most {MANIFEST_BYTES_MAX} bytes",
            )
        files = [e.file for e in small if e.file is not None]
        read = {file.path for file in files}
        return Seen(self.read(files), frozenset(e.path for e in named if e.path not in read))

    def commit_file(
        self, tip: str, file: TreeFile, content: bytes, *, message: str, when_s: int
    ) -> str:
        """A commit on `tip` in which only `file` differs. The same arguments give the same id."""
        hashed = self._git.run(["hash-object", "-w", "--stdin"], stdin=content)
        blob = hashed.decode().strip()
        with tempfile.TemporaryDirectory(dir=self._bare) as folder:
            index = {"GIT_INDEX_FILE": f"{folder}/index"}
            self._git.run(["read-tree", _sha(tip)], environment=index)
            entry = f"{file.mode} {blob}\t".encode() + file.name + b"\0"
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
            self._git.try_run(["update-ref", self._tip, commit])
            return True
        words = ended.stdout.decode(errors="replace") + ended.stderr
        if _REFUSED.search(words):
            raise PermanentError("git_push_refused", ended.stderr)
        if _LOST_RACE.search(words):
            return False
        if _DENIED.search(words):
            raise TransientError("git_access_denied", ended.stderr, retry_after_s=60)
        raise TransientError("git_unreachable", ended.stderr, retry_after_s=5)


def _sha(commit: str) -> str:
    if not _SHA.fullmatch(commit):
        raise PermanentError("git_commit_invalid", "not an object id")
    return commit
