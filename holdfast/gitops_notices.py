"""What people are told about the GitOps repository, and when it is worth telling."""

from dataclasses import dataclass
from typing import Final

from actions.messages import Notice
from wire.desired import Release

LOOKS_BEFORE_TOLD: Final = 3
"""A remote that is away for a moment is nobody's business."""


@dataclass(slots=True)
class Trouble:
    """A repository that cannot be read, from the first look that found it so."""

    code: str = ""
    since_ms: int = 0
    looks: int = 0
    is_told: bool = False

    def counts(self, code: str, *, now_ms: int, for_good: bool) -> bool:
        """Count one more failed look; True if it is time to tell people, once."""
        if not self.looks:
            self.since_ms = now_ms
        self.code, self.looks = code, self.looks + 1
        is_time = not self.is_told and (for_good or self.looks >= LOOKS_BEFORE_TOLD)
        self.is_told = self.is_told or is_time
        return is_time


def unreadable(trouble: Trouble, detail: str, address: str, in_force: str) -> Notice:
    """The repository cannot be read."""
    state = f"the last good state, of commit {in_force}" if in_force else "nothing yet"
    facts = (("Address", address), ("Why", f"{trouble.code}: {detail}"), ("In force", state))
    return Notice(
        "gitops_unreadable",
        str(trouble.since_ms),
        "The GitOps repository cannot be read",
        facts,
    )


def good_again(what: str, key: str, before: str) -> Notice:
    """What was in trouble is not any more."""
    title = f"GitOps: the {what} can be read again"
    return Notice("gitops_good_again", f"{what}|{key}", title, (("Before", before),))


def vanished_release(release: Release, commit: str) -> Notice:
    """A release is not declared any more; its phones are."""
    return Notice(
        "release_vanished",
        f"{release.app_id}|{release.model_id}|{commit}",
        f"Release removed: {release.model_id} of {release.app_id}",
        (
            ("Commit", f"{commit[:12]} removed {release.path}"),
            ("Uploads", "are still taken and counted; nothing of them is judged"),
        ),
    )
