"""Watches the GitOps repository: what it desires goes to ingest at once and into the log.

Whatever the remote, the branch or the manifests are like, the last good state stays in force, and
people are told once when it begins and once when it is over. The control record takes effect at a
window's start that is still to come, so that every stage, and every replay, switches at the same
place in the log.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from actions.desired_files import BrokenManifestsError
from actions.messages import Notice
from actions.repository import Repository
from holdfast.desired_state import read_state
from holdfast.gitops_notices import Trouble, good_again, unreadable, vanished_release
from holdfast.kept_state import keep
from streams.log.base import Append, Log
from wire.desired import Desired, sha256, to_json
from wire.errors import PermanentError, TransientError
from wire.known import carried_on, vanished
from wire.segment import Kind, Segment, encode

_log = logging.getLogger("holdfast.gitops")


class Broken(Protocol):
    """Who is told of broken manifests."""

    def __call__(self, commit: str, error: BrokenManifestsError) -> None: ...


@dataclass(slots=True)
class DesiredWatch:
    """Call `look` now and then, from one thread. `current` may be read from any.

    `check` raises BrokenManifestsError for a state that cannot be served here. `log` takes the
    control records; None if another process writes them. `on_notice` tells people, `on_taken`
    looks at a state that was just taken; `kept` is the file that the last good one is written to.
    """

    repository: Repository
    log: Log | None
    writer: str
    now_ms: Callable[[], int]
    on_broken: Broken
    desired: Desired | None = None
    check: Callable[[Desired], None] = lambda _: None
    on_notice: Callable[[Notice], None] = lambda _: None
    on_taken: Callable[[Desired], None] = lambda _: None
    kept: Path | None = None
    broken: str = ""  # the commit that could not be read, if the newest could not
    trouble: Trouble = field(default_factory=Trouble)
    _looked_at: str = ""

    def current(self) -> Desired | None:
        """The desired state that holds for new uploads; None until the first good one."""
        return self.desired

    def look(self) -> bool:
        """Fetch, and take a new good state in; True if there was one.

        Raises TransientError of the log alone: a state that it did not take is looked at again.
        """
        try:
            tip = self.repository.fetch()
            if tip == self._looked_at:
                self._readable()
                return False
            found = self._read(tip)
        except (TransientError, PermanentError) as error:
            self._unreadable(error.code, error.detail, for_good=isinstance(error, PermanentError))
            return False
        except Exception as error:  # noqa: BLE001 - a repository is not ours: nothing in it ends us
            _log.exception("gitops_failed")
            self._unreadable("gitops_failed", type(error).__name__, for_good=True)
            return False
        self._readable()
        if found is None:
            self._looked_at = self.broken = tip
            return False
        taken = self._take(found)
        if self.broken:
            _log.info("manifests_good_again", extra={"commit": tip})
            self.on_notice(good_again("manifests", tip, f"since {self.broken[:12]}"))
        self._looked_at, self.broken = tip, ""  # only now: a log that is away is asked again
        return taken

    def _read(self, tip: str) -> Desired | None:
        """The state that a commit declares; None, and told, if it has mistakes."""
        seen = self.repository.see(tip)
        try:
            found = read_state(seen.contents, commit=tip, last=self.desired, unread=seen.unread)
            self.check(found)
        except BrokenManifestsError as error:
            _log.error("manifests_broken", extra={"commit": tip, "mistakes": error.detail})
            self.on_broken(tip, error)
            return None
        return found

    def _unreadable(self, code: str, detail: str, *, for_good: bool) -> None:
        said = {"code": code, "detail": detail, "address": self.repository.address}
        if self.trouble.code != code:
            _log.warning("gitops_unreachable", extra=said)
        if self.trouble.counts(code, now_ms=self.now_ms(), for_good=for_good):
            in_force = self.desired.commit[:12] if self.desired is not None else ""
            _log.error("gitops_unreadable", extra={**said, "in_force": in_force})
            self.on_notice(unreadable(self.trouble, detail, self.repository.address, in_force))

    def _readable(self) -> None:
        if self.trouble.is_told:
            _log.info("gitops_readable_again", extra={"address": self.repository.address})
            self.on_notice(good_again("repository", str(self.trouble.since_ms), self.trouble.code))
        self.trouble = Trouble()

    def _take(self, found: Desired) -> bool:
        before = self.desired
        if before is not None and sha256(before) == sha256(found):
            return False
        now_ms = self.now_ms()
        window_ms = found.policy.window_ms
        effective_ms = (now_ms // window_ms + 2) * window_ms
        known = carried_on(before, found) if before is not None else ()
        found = replace(found, effective_ms=effective_ms, known=known)
        if self.log is not None:
            record = Segment(Kind.CONTROL, now_ms, self.writer, control=to_json(found))
            self.log.append([Append(0, encode(record), now_ms)])
        self.desired = found
        if self.kept is not None:
            keep(self.kept, found)
        _log.info("desired_state_taken", extra={"commit": found.commit})
        for release in vanished(before, found) if before is not None else []:
            said = {"app_id": release.app_id, "model_id": release.model_id, "path": release.path}
            _log.warning("release_vanished", extra={**said, "commit": found.commit})
            self.on_notice(vanished_release(release, found.commit))
        self.on_taken(found)
        return True
