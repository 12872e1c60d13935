"""Says, when a new desired state is taken, which offered attempts nothing judges."""

import logging
from collections.abc import Callable

from actions.attempts import AttemptNote, attempt_notes
from actions.messages import Notice
from actions.repository import Repository
from wire.desired import Desired
from wire.errors import PermanentError, TransientError

_log = logging.getLogger("holdfast.attempts")
_TITLES = {
    "attempt_spent": "Not judged: {model} {candidate}",
    "rollback_reverted": "Unprotected: {model} {candidate}",
    "candidate_swapped": "Mixed evidence: {model} {candidate}",
}


def tell_attempts(
    repository: Repository, desired: Desired, on_notice: Callable[[Notice], None]
) -> None:
    """Log and tell each; a history that cannot be read now is no reason to stop."""
    try:
        tip = repository.fetch()
        names = {file.path: file.name for file in repository.tree(tip)}
        notes = attempt_notes(repository.history, tip, desired, names)
    except (TransientError, PermanentError) as error:
        _log.warning("attempts_not_checked", extra={"code": error.code, "detail": error.detail})
        return
    for note in notes:
        _log.warning(note.state.value, extra=_said(note))
        on_notice(_notice(note))


def _said(note: AttemptNote) -> dict[str, object]:
    release = note.release
    return {
        "app_id": release.app_id,
        "model_id": release.model_id,
        "rollout_id": release.rollout.rollout_id if release.rollout is not None else "",
        "commit": note.commit,
        "detail": note.problem,
        "do": note.accepted,
    }


def _notice(note: AttemptNote) -> Notice:
    release = note.release
    candidate = release.rollout.candidate.version if release.rollout is not None else ""
    title = _TITLES[note.state].format(model=release.model_id, candidate=candidate)
    key = f"{release.app_id}|{release.model_id}|{note.commit}|{candidate}"
    facts = (("What", note.problem), ("Where", release.path), ("To do", note.accepted))
    return Notice(note.state.value, key, title, facts)
