"""A branch's history as the ledger: who committed what, with which trailers."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from actions.git_command import GitCommand, GitSettings

INCIDENT_TRAILER: Final = "Holdfast-Incident"
COMMITS_MAX: Final = 200
"""Of one file, newest first: an attempt older than so many changes is no news."""
_PEOPLE: Final = "%an%x1f%ae%x1f%cn%x1f%ce"


@dataclass(frozen=True, slots=True)
class LedgerCommit:
    """A commit, the values of a trailer in it, and whether author and committer are we."""

    commit: str
    is_ours: bool
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class History:
    """Reads commits of a clone. Raises TransientError ``git_failed`` if that is damaged."""

    git: GitCommand
    settings: GitSettings

    def with_trailer(self, tip: str, key: str, value: str) -> list[LedgerCommit]:
        """Commits in the tip's history with the trailer ``key: value``, newest first."""
        found = self._log(key, ["--fixed-strings", f"--grep={key}: {value}", tip])
        return [commit for commit in found if value in commit.values]

    def of_file(self, tip: str, name: bytes) -> list[LedgerCommit]:
        """The newest commits that changed a file, with their incidents; newest first."""
        path = f":(literal){os.fsdecode(name)}"
        argv = [f"--max-count={COMMITS_MAX}", tip, "--", path]
        return list(self._log(INCIDENT_TRAILER, argv))

    def file_at(self, commit: str, name: bytes) -> bytes | None:
        """A file's content in a commit; None if it is not there."""
        ended = self.git.try_run(["cat-file", "blob", f"{commit}:{os.fsdecode(name)}"])
        return None if ended.code else ended.stdout

    def _log(self, key: str, argv: Sequence[str]) -> Iterator[LedgerCommit]:
        trailers = f"%(trailers:key={key},valueonly,unfold,separator=%x1f)"
        form = f"--format=%H%x1e{_PEOPLE}%x1e{trailers}"
        us = "\x1f".join([self.settings.author_name, self.settings.author_email] * 2)
        listed = self.git.run(["log", "-z", form, *argv]).decode(errors="replace")
        for record in filter(None, listed.split("\0")):
            commit, _, rest = record.partition("\x1e")
            who, _, values = rest.partition("\x1e")
            found = tuple(v.strip() for v in values.split("\x1f"))
            yield LedgerCommit(commit.strip(), who == us, tuple(filter(None, found)))
