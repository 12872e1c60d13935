"""What the history says of the attempts that the manifests offer now: those that nothing judges.

An attempt ends with its rollback. Offering it again, by a revert or with another candidate under
the same id and number, puts phones on a version that no verdict will ever be about.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from actions.git_history import History, LedgerCommit
from actions.manifest_edit import Offer, find_offer
from wire.desired import Desired, Release
from wire.errors import PermanentError

_NEW_ATTEMPT: Final = "a higher spec.rollout.attempt with a new salt, or share 0"


class AttemptState(StrEnum):
    """Why an offered attempt is not judged, or not as it seems."""

    SPENT = "attempt_spent"
    REVERTED = "rollback_reverted"
    SWAPPED = "candidate_swapped"


@dataclass(frozen=True, slots=True)
class AttemptNote:
    """One attempt that is offered; `commit` is where the history says so."""

    state: AttemptState
    release: Release
    commit: str
    problem: str
    accepted: str = _NEW_ATTEMPT

    def __str__(self) -> str:
        where = f"{self.release.path}: spec.rollout.attempt"
        return f"{where}: {self.state}: {self.problem}; accepted: {self.accepted}"


def attempt_notes(
    history: History, tip: str, desired: Desired, names: Mapping[str, bytes]
) -> list[AttemptNote]:
    """At most one note for each release that offers a candidate. `names`: path -> name in git."""
    notes = []
    for release in desired.releases:
        rollout = release.rollout
        if rollout is None or rollout.share == 0 or release.path not in names:
            continue
        note = next(_notes(history, tip, release, names[release.path]), None)
        notes += [note] if note is not None else []
    return notes


def _notes(history: History, tip: str, release: Release, name: bytes) -> Iterator[AttemptNote]:
    """What the newest commits of the manifest say, the newest first."""
    assert release.rollout is not None  # noqa: S101 - by `attempt_notes`
    rollout, swapped = release.rollout, None
    candidate = rollout.candidate.version
    for commit in history.of_file(tip, name):
        offer = _offer(history, commit, release, name)
        if offer is None or (offer.rollout_id, offer.attempt) != (
            rollout.rollout_id,
            rollout.attempt,
        ):
            continue
        short = commit.commit[:12]
        if commit.values and commit.is_ours and offer.share == 0:
            if offer.candidate == candidate:
                said = f"the rollback {short} was reverted; {candidate} is offered and not judged"
                yield AttemptNote(AttemptState.REVERTED, release, commit.commit, said)
            said = f"the rollback {short} ended this attempt; nothing judges {candidate}"
            yield AttemptNote(AttemptState.SPENT, release, commit.commit, said)
        if offer.candidate != candidate and swapped is None:
            said = f"up to {short} this attempt offered {offer.candidate}; evidence would be mixed"
            swapped = AttemptNote(AttemptState.SWAPPED, release, commit.commit, said)
    if swapped is not None:
        yield swapped


def _offer(history: History, commit: LedgerCommit, release: Release, name: bytes) -> Offer | None:
    content = history.file_at(commit.commit, name)
    if content is None:
        return None
    try:
        return find_offer(content, app_id=release.app_id, model_id=release.model_id)
    except PermanentError:
        return None
