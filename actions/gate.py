"""What an automatic rollback must pass. Pure: past rollbacks and the time come in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from analytics.types import Verdict
from wire.desired import Gate
from wire.times import DAY_MS


@dataclass(frozen=True, slots=True)
class PastRollback:
    """A rollback that was committed."""

    incident_id: str
    app_id: str
    model_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Allowed:
    """Nothing stands in the way."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """All gates are open, but the policy says to commit nothing."""


@dataclass(frozen=True, slots=True)
class Held:
    """`reason` is a stable word, `detail` for people; worth another look from `until_ms` on."""

    reason: str
    detail: str
    until_ms: int


ALLOWED: Final = Allowed()


def decide(
    verdict: Verdict, gate: Gate, past: Sequence[PastRollback], *, at_ms: int
) -> Allowed | DryRun | Held:
    """Whether this incident may be rolled back at `at_ms`.

    Past rollbacks of the same incident do not count against it: a second try is not a second one.
    """
    others = [p for p in past if p.incident_id != verdict.incident_id and p.at_ms <= at_ms]
    held = (
        _frozen(gate, at_ms)
        or _cooling(verdict, gate, others, at_ms)
        or _capped(gate, others, at_ms)
        or _spreading(verdict, gate, others, at_ms)
    )
    if held is not None:
        return held
    return DryRun() if gate.dry_run else ALLOWED


def _frozen(gate: Gate, at_ms: int) -> Held | None:
    for start_ms, end_ms in gate.freezes:
        if start_ms <= at_ms < end_ms:
            return Held("freeze", "a freeze of the policy is in force", end_ms)
    return None


def _cooling(
    verdict: Verdict, gate: Gate, others: Sequence[PastRollback], at_ms: int
) -> Held | None:
    model = (verdict.app_id, verdict.model_id)
    last_ms = max((p.at_ms for p in others if (p.app_id, p.model_id) == model), default=None)
    if last_ms is None or at_ms >= last_ms + gate.cooldown_ms:
        return None
    detail = f"the model was rolled back less than {gate.cooldown_ms / 1000:g} s ago"
    return Held("cooldown", detail, last_ms + gate.cooldown_ms)


def _capped(gate: Gate, others: Sequence[PastRollback], at_ms: int) -> Held | None:
    today = sorted(p.at_ms for p in others if p.at_ms > at_ms - DAY_MS)
    if len(today) < gate.rollbacks_per_day:
        return None
    until_ms = (today[-gate.rollbacks_per_day] if gate.rollbacks_per_day else at_ms) + DAY_MS
    return Held("daily_cap", f"{len(today)} rollbacks within 24 h; a person decides", until_ms)


def _spreading(
    verdict: Verdict, gate: Gate, others: Sequence[PastRollback], at_ms: int
) -> Held | None:
    recent = [p for p in others if p.at_ms > at_ms - gate.cooldown_ms]
    models = {(p.app_id, p.model_id) for p in recent} - {(verdict.app_id, verdict.model_id)}
    if len(models) < gate.concurrent_rollbacks_max:
        return None
    detail = f"{len(models)} other models were rolled back just now; suspect the telemetry"
    return Held("blast_radius", detail, min(p.at_ms for p in recent) + gate.cooldown_ms)
