"""Slack messages as JSON: what, how bad with its interval, how sure, where, how to undo it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from actions.evidence_text import effect, margin, one_line, strata
from actions.results import ActionResult, State
from analytics.types import Outcome, Verdict, VerdictKind

HEADER_MAX: Final = 150  # Slack's limits, characters
SECTION_MAX: Final = 3000
MISTAKES_SHOWN: Final = 10

_ROLLBACK: Final = {
    State.DONE: "Rolled back",
    State.DRY_RUN: "Would be rolled back (dry run)",
    State.HELD: "Rollback held",
    State.REFUSED: "Rollback refused",
    State.FAILED: "Rollback failing",
    State.SUPERSEDED: "Rollback no longer needed",
}
_UNDO: Final = {
    State.DONE: "`git revert {commit}`; the same attempt will not be rolled back twice.",
    State.DRY_RUN: "Nothing was committed. Set `spec.gate.dryRun: false` in the policy to act.",
    State.HELD: "Nothing was committed. It is looked at again when the gate opens.",
    State.REFUSED: "Nothing was committed, and it will not be tried again. Withdraw it by hand.",
    State.FAILED: "Nothing was committed so far; it is being tried again.",
    State.SUPERSEDED: "Nothing was committed.",
}


def rollback_message(verdict: Verdict, result: ActionResult) -> bytes:
    """A breach, and what was done about it."""
    a = verdict.arithmetic
    model, candidate = one_line(verdict.model_id), one_line(verdict.candidate_version)
    commit = result.commit[:12]
    worse = f"ln E {a.log_e_equal_sup:.1f} of {a.log_threshold_equal:.1f}"
    enough = f"{a.log_e_margin_sup:.1f} of {a.log_threshold_margin:.1f}"
    facts = [
        ("How bad", f"{a.metric}: {effect(a)}"),
        ("How sure", f"{worse} that it is worse; {enough} by over {margin(a)}"),
        ("From", f"{a.units_candidate:,} and {a.units_control:,} phones, {a.windows} windows"),
        ("Where", ", ".join(a.named_cohorts) or f"no cohort named; strongest: {strata(a)}"),
    ]
    if commit:
        facts.append(("Commit", f"`{commit}` in `{one_line(result.path)}`"))
    if result.detail:
        facts.append(("Detail", result.detail))
    title = f"{_ROLLBACK[result.state]}: {model} {candidate} to {verdict.stable_version}"
    undo = _UNDO[result.state].format(commit=commit)
    return _message(title, facts, [f"*Undo:* {undo}"], _context(verdict))


def alert_message(verdict: Verdict) -> bytes:
    """Drift, cost, an assignment that looks wrong, a recovery: no commit belongs to these."""
    a = verdict.arithmetic
    name = one_line(verdict.model_id)
    titles = {
        VerdictKind.DRIFT: f"Drift: {a.metric} of {name}",
        VerdictKind.COST: f"Cost: {a.metric} of {name}",
        VerdictKind.RECOVERY: f"Recovered: {name} is back on {verdict.stable_version}",
        VerdictKind.ENROLMENT: f"Many enrolments: {name} {verdict.candidate_version}",
        VerdictKind.RELEASE: f"No verdict: {name} {verdict.candidate_version}",
    }
    facts = [("What", a.reason or a.metric), ("How bad", effect(a)), ("Windows", str(a.windows))]
    if verdict.outcome is Outcome.ERROR:
        facts = [("What", a.reason), ("In force", "the last good state")]
        return _message("A desired state is ignored", facts, [], "holdfast")
    if a.log_threshold_equal:
        sure = f"ln E {a.log_e_equal_sup:.1f} of {a.log_threshold_equal:.1f}"
        facts.append(("How sure", sure))
    if a.strata or a.named_cohorts:
        facts.append(("Where", ", ".join(a.named_cohorts) or strata(a)))
    if verdict.kind in (VerdictKind.RECOVERY, VerdictKind.ENROLMENT):
        facts = facts[:1]
    return _message(titles[verdict.kind], facts, [], _context(verdict))


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people should know and that no verdict says. `code` is a stable word.

    `key` tells one occurrence from the next: equal ones are told once.
    """

    code: str
    key: str
    title: str
    facts: tuple[tuple[str, str], ...]


def notice_message(notice: Notice) -> bytes:
    """A notice for people."""
    return _message(notice.title, notice.facts, [], f"holdfast · {notice.code}")


def broken_message(commit: str, mistakes: Sequence[str]) -> bytes:
    """The repository does not say one clear thing; the last good state stays in force."""
    shown = [_escaped(one_line(m)) for m in mistakes[:MISTAKES_SHOWN]]
    if len(mistakes) > MISTAKES_SHOWN:
        shown.append(f"and {len(mistakes) - MISTAKES_SHOWN} more; see `holdfast check-config`")
    facts = [("Commit", f"`{commit[:12]}`"), ("In force", "the last good state")]
    bullets = "\n".join(f"• {line}" for line in shown)
    return _message("Broken manifests in the GitOps repository", facts, [bullets], "holdfast")


def _context(verdict: Verdict) -> str:
    names = (verdict.app_id, verdict.rollout_id, verdict.verdict_id, verdict.incident_id)
    app, rollout, verdict_id, incident = map(one_line, names)
    return f"app {app} · rollout {rollout} · verdict {verdict_id} · incident {incident}"


def _message(
    title: str, facts: Iterable[tuple[str, str]], sections: Iterable[str], context: str
) -> bytes:
    """Block Kit JSON; `facts` and `context` are escaped here, `sections` by the caller."""
    lines = "\n".join(f"*{label}:* {_escaped(one_line(value))}" for label, value in facts)
    title = one_line(title)[:HEADER_MAX]
    header = {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}
    bodies = [
        {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text)}}
        for text in [lines, *sections]
    ]
    small = {"type": "mrkdwn", "text": _cut(_escaped(context))}
    blocks = [header, *bodies, {"type": "context", "elements": [small]}]
    return json.dumps({"text": _escaped(title), "blocks": blocks}, ensure_ascii=False).encode()


def _escaped(text: str) -> str:
    """Slack's three control characters; without this a name could mention everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str) -> str:
    return text if len(text) <= SECTION_MAX else text[: SECTION_MAX - 1] + "…"
