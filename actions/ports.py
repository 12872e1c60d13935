"""What this room needs of others."""

from typing import Protocol

from actions.results import ActionResult
from analytics.types import Verdict


class Committer(Protocol):
    """Turns a breach into a commit; `actions.git_rollback.Rollback` is one."""

    def perform(self, verdict: Verdict, *, path: str, hold_ms: int) -> ActionResult:
        """Done twice is done once; TransientError if it is worth another try."""


class Messenger(Protocol):
    """Delivers a message; `actions.slack.Slack` is one."""

    def perform(self, message: bytes) -> ActionResult:
        """TransientError if it is worth another try."""
