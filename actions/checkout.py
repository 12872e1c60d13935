"""A person's checkout: the files as they lie there, committed or not."""

import os
from pathlib import Path

from actions.git_command import GitCommand, GitSettings
from actions.git_history import History
from actions.git_tree import shown_name
from actions.manifest_signs import is_named_so
from actions.repository import FILE_BYTES_MAX, Seen
from wire.errors import PermanentError


class Checkout:
    """The working tree of a clone, on whatever branch or on none."""

    def __init__(self, folder: Path, settings: GitSettings) -> None:
        self.folder = folder
        self._git = GitCommand(settings, _git_folder(folder))
        self.history = History(self._git, settings)

    @property
    def tip(self) -> str:
        """The commit that is checked out; "" if there is none yet."""
        ended = self._git.try_run(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])
        return "" if ended.code else ended.stdout.decode().strip()

    @property
    def where(self) -> str:
        """The branch, for people."""
        ended = self._git.try_run(["symbolic-ref", "--quiet", "--short", "HEAD"])
        return "no branch" if ended.code else ended.stdout.decode(errors="replace").strip()

    def names(self) -> dict[str, bytes]:
        """Path -> name of every file that is named as manifests are, unless git ignores it."""
        argv = ["--work-tree", str(self.folder), "ls-files", "-z", "--cached", "--others"]
        listed = self._git.run([*argv, "--exclude-standard", "--full-name"])
        named = {shown_name(name): name for name in listed.split(b"\0")[:-1]}
        return {path: name for path, name in named.items() if is_named_so(path)}

    def see(self) -> Seen:
        """The files as they lie there; deleted ones are gone."""
        contents: dict[str, bytes] = {}
        unread = set()
        for path, name in self.names().items():
            file = Path(os.fsdecode(os.fsencode(self.folder) + b"/" + name))
            if file.is_symlink() or (file.exists() and not _is_small(file)):
                unread.add(path)
            elif file.exists():
                contents[path] = file.read_bytes()
        return Seen(contents, frozenset(unread))


def is_checkout(folder: Path) -> bool:
    """Whether a folder is a working tree."""
    return (folder / ".git").exists()


def _git_folder(folder: Path) -> Path:
    """``.git``, or where it points to in a linked working tree."""
    git = folder / ".git"
    if git.is_dir():
        return git
    said = git.read_text(errors="replace").strip()
    if not said.startswith("gitdir:"):
        raise PermanentError("not_a_checkout", f"{folder} is no git checkout", field="REPO")
    return folder / said.removeprefix("gitdir:").strip()


def _is_small(file: Path) -> bool:
    return file.is_file() and file.stat().st_size <= FILE_BYTES_MAX
