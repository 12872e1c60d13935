"""What was issued last for an app, so that no restart, restored folder or second door goes back.

A version is a second of the clock, or the one after the highest that this folder knows: a folder
that is restored from a backup, or lost, still goes on above what phones have seen.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from ingest.keys import write_private

_OLD_FILES: Final = 8
"""Files of earlier versions of each kind that are served: for phones that are just reading."""


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """One app's release config in both forms.

    `content` is what phones obey, `body` the same with version and times for the header's form.
    `files`: TUF metadata and targets by name, empty without TUF. `whole_*`: version and end of
    snapshot and targets; `root_version`: the root under which they were signed.
    """

    app_id: str
    serial: str
    version: int
    issued_ms: int
    expires_ms: int
    content: bytes
    body: bytes
    signature: str
    files: dict[str, bytes] = {}
    whole_version: int = 0
    whole_expires_ms: int = 0
    root_version: int = 0

    @property
    def etag(self) -> str:
        """Of the header's form."""
        return f'"{self.serial}.{self.version}"'


def next_version(highest: int, now_ms: int) -> int:
    """Above everything that was issued, here or from a folder of which this one is an old copy."""
    return max(highest + 1, now_ms // 1000)


def with_files(before: dict[str, bytes], new: dict[str, bytes]) -> dict[str, bytes]:
    """The new files, and those of the last few versions."""
    files = {name: content for name, content in before.items() if name not in new}
    for kind in ("snapshot.json", "targets.json", "targets/"):
        old = [name for name in files if kind in name]
        for name in old[:-_OLD_FILES]:
            del files[name]
    return {**files, **new}


@dataclass(slots=True)
class IssueFolder:
    """Issues of all apps, one file each; None: in memory alone. Several processes may share it."""

    folder: Path | None
    _memory: dict[str, Issue] = field(default_factory=dict)
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    _highest: int = 0

    def read(self, app_id: str) -> Issue | None:
        """The newest that any process has issued."""
        if self.folder is None:
            return self._memory.get(app_id)
        path = self._path(app_id)
        try:
            status = path.stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if self._seen.get(app_id) != seen:
                issue, known = msgspec.json.decode(path.read_bytes(), type=Issue), self._memory
                self._seen[app_id] = seen
                if app_id not in known or known[app_id].version < issue.version:
                    known[app_id] = issue  # an older one was restored under a running door
        except FileNotFoundError:
            pass
        except (OSError, ValueError):
            pass  # damaged: versions go on by the clock, and by the other apps'
        return self._memory.get(app_id)

    def write(self, issue: Issue) -> None:
        """Durable before anybody sees it."""
        if self.folder is not None:
            write_private(self._path(issue.app_id), msgspec.json.encode(issue))
        self._memory[issue.app_id] = issue
        self._highest = max(self._highest, issue.version)

    def highest(self) -> int:
        """The highest version of any app, so that no two repositories share one."""
        for path in [] if self.folder is None else self.folder.glob("*.json"):
            try:
                found = msgspec.json.decode(path.read_bytes(), type=_Numbered)
            except (OSError, ValueError):
                continue
            self._highest = max(self._highest, found.version)
        return self._highest

    def _path(self, app_id: str) -> Path:
        assert self.folder is not None  # noqa: S101 - asked by both callers
        return self.folder / f"{sha256(app_id.encode()).hexdigest()[:32]}.json"


class _Numbered(msgspec.Struct):
    version: int
