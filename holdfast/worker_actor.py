"""The effects of a scaled-out act stage: GitOps repository, Slack, and the rows about them.

The same parts as in a single node, with an outbox in memory that the stage publishes.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from actions.desired_files import BrokenManifestsError
from actions.messages import Notice
from actions.outbox import Outbox
from actions.perform import Performer
from actions.ports import Committer, Messenger
from actions.repository import Repository
from analytics.types import Verdict
from holdfast.attempt_watch import tell_attempts
from holdfast.gitops import DesiredWatch
from holdfast.policy_check import all_of, clocks_check
from holdfast.worker_clocks import CLOCKS, packed, unpacked, window_alone
from streams.clocks import Clocks
from streams.log.base import Log
from streams.ports import Sink
from streams.trial import misfits
from wire.desired import Desired, from_json, to_json
from wire.errors import PermanentError, TransientError

_log = logging.getLogger("holdfast.actor")
_OUTBOX: Final = "outbox"
_REPORT_PAUSE_MS: Final = 30_000
DESIRED: Final = "desired"


@dataclass(slots=True)
class World:
    """What the actor reaches. `sink` is made at the first use, since the store may be away."""

    committer: Committer
    messenger: Messenger | None
    watched: Repository
    log: Log
    make_sink: Callable[[], Sink]
    now_ms: Callable[[], int]
    poll_ms: int
    writer: str
    acting: Repository | None = None  # the committer's, with the history
    check: Callable[[Desired], None] = lambda _: None  # of a desired state, as `DesiredWatch` has


@dataclass(slots=True)
class GitOpsActor:
    """Satisfies `streams.ports.Actor`."""

    world: World
    _performer: Performer = field(init=False)
    _watch: DesiredWatch = field(init=False)
    _pinned: Clocks | None = None
    _sink: Sink | None = None
    _look_at_ms: int = 0
    _report_at_ms: int = 0
    _outbox_body: tuple[int, bytes] = (-1, b"")
    _desired_body: tuple[Desired | None, bytes] = (None, b"")

    def restore(self, parts: Mapping[str, bytes]) -> None:
        """Go on from an older life's parts."""
        world = self.world
        body, desired = parts.get(_OUTBOX, b""), parts.get(DESIRED, b"")
        self._performer = Performer(Outbox(None, body=body), world.committer, world.messenger)
        self._outbox_body = (self._performer.outbox.changes, body) if body else (-1, b"")
        self._watch = DesiredWatch(
            world.watched,
            world.log,
            world.writer,
            world.now_ms,
            self._report_broken,
            desired=_usable(desired),
            check=all_of(world.check, clocks_check(self._window_pinned)),
            on_notice=self._report,
            on_taken=self._tell_attempts,
        )
        self._desired_body = (self._watch.desired, desired)
        clocks = parts.get(CLOCKS)
        self._pinned = unpacked(clocks) if clocks else None
        self._look_at_ms = 0

    def receive(self, verdicts: Sequence[Verdict]) -> None:
        """Queue what they call for."""
        self._performer.receive(verdicts, now_ms=self.world.now_ms())

    def step(self) -> None:
        """Look at Git when it is time, perform what is due, tell the store."""
        now_ms = self.world.now_ms()
        try:
            if now_ms >= self._look_at_ms:
                self._watch.look()
                self._look_at_ms = now_ms + self.world.poll_ms
            if self._performer.step(self._watch.current(), now_ms=now_ms):
                self._look_at_ms = 0  # our own commit changes what is desired
        except TransientError as error:  # the log; it is asked again
            _log.warning("away", extra={"code": error.code})
        if now_ms >= self._report_at_ms:
            self._report_actions(now_ms)

    def parts(self) -> dict[str, bytes]:
        """Outbox, desired state and clocks; what did not change is the same object."""
        outbox = self._performer.outbox
        if self._outbox_body[0] != outbox.changes:
            self._outbox_body = (outbox.changes, outbox.body())
        desired = self._watch.desired
        if desired is not None and self._desired_body[0] is not desired:
            self._desired_body = (desired, to_json(desired))
        found = {_OUTBOX: self._outbox_body[1]}
        if desired is None:
            return found
        return found | {DESIRED: self._desired_body[1], CLOCKS: self._clocks(desired)}

    def _clocks(self, desired: Desired) -> bytes:
        """The first window width holds for life: no other one becomes a desired state."""
        policy = desired.policy
        window_ms = self._pinned.window_ms if self._pinned else policy.window_ms
        self._pinned = Clocks(window_ms, policy.accepted_age_ms)
        return packed(self._pinned)

    def _window_pinned(self) -> Clocks | None:
        return self._pinned and window_alone(self._pinned)

    def _report_actions(self, now_ms: int) -> None:
        entries, columns = self._performer.rows()
        if not entries:
            return
        try:
            self._sink = self._sink or self.world.make_sink()
            self._sink.write({"action": columns})
        except (TransientError, PermanentError) as error:
            # the entries stay unreported; effects must not wait for the store again and again
            self._report_at_ms = now_ms + _REPORT_PAUSE_MS
            _log.warning("actions_not_reported", extra={"code": error.code})
            return
        self._performer.reported(entries)

    def _tell_attempts(self, desired: Desired) -> None:
        if self.world.acting is not None:
            tell_attempts(self.world.acting, desired, self._report)

    def _report(self, notice: Notice) -> None:
        self._performer.report(notice, now_ms=self.world.now_ms())

    def _report_broken(self, commit: str, error: BrokenManifestsError) -> None:
        self._performer.report_broken(commit, error, now_ms=self.world.now_ms())


def _usable(body: bytes) -> Desired | None:
    """A state that an older version may have saved; None if it cannot be worked under."""
    try:
        desired = from_json(body) if body else None
    except msgspec.MsgspecError:
        return None
    return None if desired is None or misfits(desired) else desired
