"""What came of an action: always a value, refused by the world included."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where an effect stands. ``QUEUED`` is the outbox's own; it is never reported as a row."""

    QUEUED = "queued"
    DONE = "done"
    DRY_RUN = "dry_run"
    HELD = "held"
    REFUSED = "refused"
    SUPERSEDED = "superseded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ActionResult:
    """`commit` and `path` of a rollback; `detail` is for people and holds no secret."""

    state: State
    commit: str = ""
    path: str = ""
    detail: str = ""
