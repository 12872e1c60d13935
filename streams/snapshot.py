"""A decider as bytes and back, bit for bit: what a restart needs besides the log."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from analytics.evidence.admission import Admission
from analytics.evidence.rollout import RolloutEvidence
from analytics.types import Arithmetic, Verdict
from streams.clocks import check_window
from streams.codec import pack, unpack
from streams.decide import Decider
from streams.enrolment_burst import EnrolmentBurst
from streams.monitors import Monitors
from streams.partial import Cohort
from streams.rollout_specs import specs_of, tree_of
from streams.rollout_watch import Level, RolloutWatch, attempt_alpha
from streams.series import UnitSeries
from streams.state import StateStore
from streams.told_units import ToldUnits
from streams.trial import misfits
from wire.desired import Desired, Policy, Release, Rollout, from_json, to_json
from wire.errors import PermanentError

FORMAT: Final = 2
"""Raised with every change of the state's shape: a newer shape must not be read as an older one."""


def decider_parts(decider: Decider) -> dict[str, bytes]:
    """Everything the decider knows of decided windows. Markers not yet decided are re-read.

    What changes seldom is a part of its own, and the same object until it changes.
    """
    stages = pack(
        {
            "format": FORMAT,
            "window_ms": decider.window_ms,
            "decided_until_ms": decider.decided_until_ms,
            "desired": to_json(decider.desired) if decider.desired else b"",
            "pending": [to_json(d) for d in decider.pending],
            "attempts": decider.attempts,
            "watches": {name: _watch_state(w) for name, w in decider.watches.items()},
            "monitors": decider.monitors.state(),
        }
    )
    return {"stages": stages, **decider.monitors.large_parts()}


def restore_decider(parts: dict[str, bytes], *, partitions: int, window_ms: int) -> Decider:
    """The inverse of `decider_parts`.

    Raises PermanentError ``state_format_unknown``, ``state_of_other_clocks``.
    """
    state = unpack(parts["stages"])
    check_format(state)
    check_window(state.get("window_ms", window_ms), window_ms)
    return Decider(
        partitions=partitions,
        window_ms=window_ms,
        monitors=Monitors.restore(state["monitors"], parts),
        desired=from_json(state["desired"]) if state["desired"] else None,
        pending=[from_json(d) for d in state["pending"]],
        watches={name: _restore_watch(w) for name, w in state["watches"].items()},
        attempts=state["attempts"],
        decided_until_ms=state["decided_until_ms"],
    )


def check_format(state: Mapping[str, object]) -> None:
    """Raises PermanentError ``state_format_unknown``, of an older shape or of a newer one."""
    if state.get("format") != FORMAT:
        raise PermanentError(
            "state_format_unknown",
            f"the stages' state has format {state.get('format')}, this version reads {FORMAT}",
            accepted="the version that wrote it; let it store the whole log, then begin a new one",
        )


def last_desired(state: StateStore) -> Desired | None:
    """The newest usable desired state that the stages had seen when they last saved, or None.

    Raises PermanentError ``state_format_unknown``.
    """
    snapshot = state.load()
    if snapshot is None:
        return None
    saved = unpack(snapshot.parts["stages"])
    check_format(saved)
    bodies = [*saved["pending"], saved["desired"]]
    known = sorted((from_json(b) for b in bodies if b), key=lambda d: -d.effective_ms)
    return next((d for d in known if not misfits(d)), None)


def _watch_state(watch: RolloutWatch) -> dict[str, object]:
    return {
        "release": watch.release,
        "rollout": watch.rollout,
        "policy": watch.policy,
        "policy_sha256": watch.policy_sha256,
        "attempt": watch.attempt,
        "evidence": watch.evidence.state(),
        "enrolled": _cohort_list(watch.enrolled),
        "bets": _cohort_list(watch.bets),
        "admission": watch.admission.state(),
        "burst": watch.burst,
        "input_sha256": watch.input_sha256,
        "breach": watch.breach,
        "at_breach": watch.at_breach,
        "recovering_windows": watch.recovering_windows,
        "recovered": watch.recovered,
        "told": watch.told.state(),
        "last_told": watch.last_told,
    }


def _restore_watch(state: dict[str, Any]) -> RolloutWatch:
    release = msgspec.convert(state["release"], Release)
    policy = msgspec.convert(state["policy"], Policy)
    breach = state["breach"]
    return RolloutWatch(
        release=release,
        rollout=msgspec.convert(state["rollout"], Rollout),
        policy=policy,
        policy_sha256=state["policy_sha256"],
        attempt=state["attempt"],
        evidence=RolloutEvidence.restore(
            specs_of(release, policy),
            tree_of(release, policy),
            state["evidence"],
            alpha=attempt_alpha(policy.alpha, state["attempt"]),
            alpha_margin=policy.alpha_margin,
            rules=policy.evidence,
        ),
        enrolled=_cohort_counter(state["enrolled"]),
        bets=_cohort_counter(state["bets"]),
        admission=Admission.restore(state["admission"]),
        burst=msgspec.convert(state["burst"], EnrolmentBurst),
        input_sha256=state["input_sha256"],
        breach=msgspec.convert(breach, Verdict) if breach else None,
        at_breach=msgspec.convert(state["at_breach"], Level),
        recovering_windows=state["recovering_windows"],
        recovered=state["recovered"],
        told=ToldUnits.restore(state.get("told", ())),  # earlier versions told everything
        last_told=msgspec.convert(state.get("last_told", {}), Arithmetic),
    )


def _cohort_list(counter: Counter[Cohort]) -> list[list[object]]:
    return [[list(c.series), c.enrolled_ms, n] for c, n in sorted(counter.items())]


def _cohort_counter(items: list[Any]) -> Counter[Cohort]:
    return Counter({Cohort(UnitSeries(*series), ms): n for series, ms, n in items})
