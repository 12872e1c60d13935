"""What ingest needs of the world."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wire.desired import Desired


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One record for the log; `batch_ids` is 16 bytes per upload in it, concatenated."""

    partition: int
    payload: bytes
    arrived_ms: int
    batch_ids: bytes = b""


class Log(Protocol):
    """The durable log, as far as ingest uses it."""

    @property
    def partitions(self) -> int:
        """Fixed when the log is made."""

    def append(self, records: Sequence[LogEntry]) -> list[int]:
        """Write all, durably. Raises TransientError when it cannot now: none may count on it."""


class DesiredSource(Protocol):
    """Where the current desired state comes from."""

    def current(self) -> Desired | None:
        """The desired state that holds now; None until the first has been read."""


class Attestor(Protocol):
    """Tells a phone that runs the app from a program that holds its key."""

    def vouches(self, app_id: str, attestation: str) -> bool:
        """Whether the attestation, the app's words and so a stranger's, is of such a phone."""


class Keys(Protocol):
    """Who may write, and for which app."""

    def app_of(self, token: str) -> str:
        """The app that this key is bound to. Raises PermanentError ``key_missing`` and others."""
