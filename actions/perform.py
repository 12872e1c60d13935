"""From verdicts to effects: gate, ledger, push, Slack, in this order of trust.

`receive` only queues, durably; `step` does what is due; `rows` are for the store and stay
unreported until the caller says that the store has them. So a crash anywhere repeats work that is
harmless to repeat, and loses none.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from actions.desired_files import BrokenManifestsError
from actions.gate import Allowed, DryRun, Held, decide
from actions.messages import (
    Notice,
    alert_message,
    broken_message,
    notice_message,
    rollback_message,
)
from actions.outbox import Action, Effect, Entry, Outbox
from actions.ports import Committer, Messenger
from actions.results import ActionResult, State
from analytics.types import Outcome, Verdict, VerdictKind
from wire.desired import Desired, Release
from wire.errors import TransientError
from wire.times import DAY_MS

BACKOFF_MS_MAX: Final = 300_000
TRIES_MAX: Final = 300
"""With the longest pause that is a day; then a person must look."""

TRIES_BEFORE_TOLD: Final = 3
"""A remote that is away for a moment is nobody's business."""


@dataclass(slots=True)
class Performer:
    """One per GitOps repository. `messenger` None: nobody is told, rows tell all the same."""

    outbox: Outbox
    committer: Committer
    messenger: Messenger | None
    tries_max: int = TRIES_MAX

    def receive(self, verdicts: Iterable[Verdict], *, now_ms: int) -> int:
        """Queue what these verdicts call for; how many effects were new."""
        effects = [e for verdict in verdicts if (e := self._called_for(verdict)) is not None]
        return self.outbox.queue(effects, now_ms=now_ms) if effects else 0

    def report_broken(self, commit: str, error: BrokenManifestsError, *, now_ms: int) -> None:
        """Tell people, once per set of mistakes, that the last good state stays in force."""
        mistakes = [str(m) for m in error.mistakes]
        incident = hashlib.sha256("\n".join(mistakes).encode()).hexdigest()[:16]
        effect = Effect(incident, Action.SLACK, broken_message(commit, mistakes), "broken")
        if self.messenger is not None:
            self.outbox.queue([effect], now_ms=now_ms)

    def report(self, notice: Notice, *, now_ms: int) -> None:
        """Tell people, once per `notice.key`."""
        key = f"{notice.code}|{notice.key}"
        incident = hashlib.sha256(key.encode(errors="replace")).hexdigest()[:16]
        effect = Effect(incident, Action.SLACK, notice_message(notice), notice.code)
        if self.messenger is not None:
            self.outbox.queue([effect], now_ms=now_ms)

    def step(self, desired: Desired | None, *, now_ms: int) -> int:
        """Do what is due under the desired state; how many effects were tried.

        Without a desired state (no good one was ever read) nothing is rolled back, but told.
        """
        tried = 0
        with_dry_runs = desired is not None and not desired.policy.gate.dry_run
        for _ in range(2):  # the effects, then the messages that follow from them
            for entry in self.outbox.due(now_ms, with_dry_runs=with_dry_runs):
                if desired is None and entry.effect.action is Action.ROLLBACK:
                    continue
                if entry.effect.action is Action.SLACK and self.messenger is None:
                    continue  # nobody to tell now; a later start may have somebody
                tried += 1
                self._do(entry, desired, now_ms)
        return tried

    def rows(self) -> tuple[list[Entry], Mapping[str, Sequence[object]]]:
        """Unreported entries, and their columns of table ``action``; then `reported`."""
        entries = self.outbox.unreported()
        return entries, action_columns(entries)

    def reported(self, entries: Iterable[Entry]) -> None:
        """The store holds these rows durably."""
        self.outbox.mark_reported(entries)

    def _called_for(self, verdict: Verdict) -> Effect | None:
        match verdict.kind, verdict.outcome:
            case VerdictKind.RELEASE, Outcome.BREACH:
                return _effect(verdict, Action.ROLLBACK, encoded(verdict))
            case VerdictKind.RECOVERY, Outcome.PASS:
                return _effect(verdict, Action.RECOVERY, encoded(verdict))
            case ((VerdictKind.DRIFT | VerdictKind.COST | VerdictKind.ENROLMENT), Outcome.BREACH):
                return self._alert(verdict)
            case VerdictKind.RELEASE, Outcome.INCONCLUSIVE if _assignment_fired(verdict):
                return self._alert(verdict)
            case VerdictKind.RELEASE, Outcome.ERROR:
                return self._alert(verdict)
            case _:
                return None

    def _alert(self, verdict: Verdict) -> Effect | None:
        if self.messenger is None:
            return None
        return _effect(verdict, Action.SLACK, alert_message(verdict), verdict.kind.value)

    def _do(self, entry: Entry, desired: Desired | None, now_ms: int) -> None:
        try:
            result, next_ms = self._outcome(entry, desired, now_ms)
        except TransientError as error:
            result = ActionResult(State.FAILED, path=entry.result.path, detail=str(error))
            next_ms = self._next_try_ms(entry, error, now_ms)
        then = self._told(entry, result)
        self.outbox.record(entry, result, now_ms=now_ms, next_ms=next_ms, then=then)

    def _outcome(
        self, entry: Entry, desired: Desired | None, now_ms: int
    ) -> tuple[ActionResult, int | None]:
        match entry.effect.action:
            case Action.SLACK:
                assert self.messenger is not None, "step skips messages to nobody"  # noqa: S101
                return self.messenger.perform(entry.effect.payload), None
            case Action.RECOVERY:
                return ActionResult(State.DONE, detail=decoded(entry).arithmetic.reason), None
            case Action.ROLLBACK:
                assert desired is not None, "step skips rollbacks without a state"  # noqa: S101
                return self._roll_back(decoded(entry), desired, now_ms)

    def _roll_back(
        self, verdict: Verdict, desired: Desired, now_ms: int
    ) -> tuple[ActionResult, int | None]:
        release = _release(desired, verdict)
        path = release.path if release is not None else ""
        gate = desired.policy.gate
        since_ms = now_ms - max(DAY_MS, gate.cooldown_ms)
        past = self.outbox.past_rollbacks(since_ms=since_ms)
        match decide(verdict, gate, past, at_ms=now_ms):
            case Held(reason, detail, until_ms):
                held = ActionResult(State.HELD, path=path, detail=f"{reason}: {detail}")
                return held, max(until_ms, now_ms + 1)
            case DryRun():
                detail = "would set spec.rollout.share to 0 and a hold"
                return ActionResult(State.DRY_RUN, path=path, detail=detail), None
            case Allowed():
                return self.committer.perform(verdict, path=path, hold_ms=gate.hold_ms), None

    def _next_try_ms(self, entry: Entry, error: TransientError, now_ms: int) -> int | None:
        if entry.tries + 1 >= self.tries_max:
            return None
        backoff_ms = min(1000 << min(entry.tries, 20), BACKOFF_MS_MAX)
        return now_ms + max(backoff_ms, 1000 * error.retry_after_s)

    def _told(self, entry: Entry, result: ActionResult) -> list[Effect]:
        """Messages that follow from a result: one per incident and state."""
        effect = entry.effect
        if self.messenger is None or effect.action is Action.SLACK:
            return []
        verdict = decoded(entry)
        if effect.action is Action.RECOVERY:
            return [_effect(verdict, Action.SLACK, alert_message(verdict), "recovery")]
        if result.state is State.FAILED and entry.tries + 1 < TRIES_BEFORE_TOLD:
            return []
        message = rollback_message(verdict, result)
        return [_effect(verdict, Action.SLACK, message, f"rollback {result.state.value}")]


def _assignment_fired(verdict: Verdict) -> bool:
    a = verdict.arithmetic
    return 0.0 < a.log_threshold_equal <= a.assignment_log_e


def _release(desired: Desired, verdict: Verdict) -> Release | None:
    for release in desired.releases:
        if (release.app_id, release.model_id) == (verdict.app_id, verdict.model_id):
            return release
    return None


def _effect(verdict: Verdict, action: Action, payload: bytes, subject: str = "") -> Effect:
    return Effect(
        incident_id=verdict.incident_id,
        action=action,
        payload=payload,
        subject=subject,
        verdict_id=verdict.verdict_id,
        app_id=verdict.app_id,
        model_id=verdict.model_id,
        rollout_id=verdict.rollout_id,
        from_version=verdict.candidate_version,
        to_version=verdict.stable_version,
    )


def encoded(verdict: Verdict) -> bytes:
    """A verdict as bytes; MessagePack, because JSON has no NaN."""
    return msgspec.msgpack.encode(verdict)


def decoded(entry: Entry) -> Verdict:
    """The verdict that a rollback or a recovery carries."""
    return msgspec.msgpack.decode(entry.effect.payload, type=Verdict)


def action_columns(entries: Sequence[Entry]) -> dict[str, Sequence[object]]:
    """Columns of table ``action`` (`store/tables.py`)."""
    effects = [entry.effect for entry in entries]
    results = [entry.result for entry in entries]
    return {
        "acted_at": [entry.acted_ms for entry in entries],
        "incident_id": [e.incident_id for e in effects],
        "verdict_id": [e.verdict_id for e in effects],
        "action": [e.action.value for e in effects],
        "state": [r.state.value for r in results],
        "app_id": [e.app_id for e in effects],
        "model_id": [e.model_id for e in effects],
        "rollout_id": [e.rollout_id for e in effects],
        "from_version": [e.from_version for e in effects],
        "to_version": [e.to_version for e in effects],
        "commit": [r.commit for r in results],
        "path": [r.path for r in results],
        "detail": [r.detail for r in results],
    }
