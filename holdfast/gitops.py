"""Watches the GitOps repository: what it desires goes to ingest at once and into the log.

A broken manifest keeps the last good state and is reported. The control record takes effect at a
window's start that is still to come, so that every stage, and every replay, switches at the same
place in the log.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from actions.desired_files import BrokenManifestsError, read_desired
from actions.repository import Repository
from streams.log.base import Append, Log
from wire.desired import Desired, sha256, to_json
from wire.errors import TransientError
from wire.segment import Kind, Segment, encode

_log = logging.getLogger("holdfast.gitops")


class Broken(Protocol):
    """Who is told of broken manifests."""

    def __call__(self, commit: str, error: BrokenManifestsError) -> None: ...


@dataclass(slots=True)
class DesiredWatch:
    """Call `look` now and then, from one thread. `current` may be read from any.

    `check` raises BrokenManifestsError for a state that cannot be served here. `log` takes the
    control records; None if another process writes them.
    """

    repository: Repository
    log: Log | None
    writer: str
    now_ms: Callable[[], int]
    on_broken: Broken
    desired: Desired | None = None
    check: Callable[[Desired], None] = lambda _: None
    broken: str = ""  # the commit that could not be read, if the newest could not
    _looked_at: str = ""

    def current(self) -> Desired | None:
        """The desired state that holds for new uploads; None until the first good one."""
        return self.desired

    def look(self) -> bool:
        """Fetch, and take a new good state in; True if there was one.

        A remote that is away is nothing new; the last state holds.
        """
        try:
            tip = self.repository.fetch()
            contents = self.repository.manifests(tip) if tip != self._looked_at else {}
        except TransientError as error:
            _log.warning("gitops_unreachable", extra={"code": error.code})
            return False
        if tip == self._looked_at:
            return False
        try:
            found = read_desired(contents, commit=tip)
            self.check(found)
        except BrokenManifestsError as error:
            self._looked_at = self.broken = tip
            _log.warning("manifests_broken", extra={"commit": tip, "mistakes": error.detail})
            self.on_broken(tip, error)
            return False
        taken = self._take(found)
        self._looked_at, self.broken = tip, ""  # only now: a log that is away is asked again
        return taken

    def _take(self, found: Desired) -> bool:
        if self.desired is not None and sha256(self.desired) == sha256(found):
            return False
        now_ms = self.now_ms()
        window_ms = found.policy.window_ms
        effective_ms = (now_ms // window_ms + 2) * window_ms
        found = replace(found, effective_ms=effective_ms)
        if self.log is not None:
            record = Segment(Kind.CONTROL, now_ms, self.writer, control=to_json(found))
            self.log.append([Append(0, encode(record), now_ms)])
        self.desired = found
        _log.info("desired_state_taken", extra={"commit": found.commit})
        return True
