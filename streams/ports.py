"""What the stages need of the world."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from analytics.types import Verdict
from streams.rows import Columns

Measured = Literal[
    "segments_taken",
    "segments_waiting",
    "closed_until_ms",
    "dead_letters",
    "dead_letters_waiting",
    "partition_stopped",
    "markers_taken",
    "markers_waiting",
    "windows_decided",
    "decided_until_ms",
    "flush_seconds",
    "verdicts_taken",
]
"""What a worker measures of itself."""


class Sink(Protocol):
    """Takes rows, idempotent by key. Raises TransientError if it is away: nothing was lost."""

    def write(self, rows: Mapping[str, Columns]) -> int:
        """Write tables durably; the number of rows."""

    def write_many(self, windows: Sequence[Mapping[str, Columns]]) -> int:
        """Write the tables of several windows; all are durable at the return.

        After an error some are; write all of them again.
        """


class Meter(Protocol):
    """Takes our own measurements; `holdfast/worker_metrics.py` has their names."""

    def count(self, name: Measured, amount: int = 1, partition: str = "") -> None:
        """Add to a counter."""

    def gauge(self, name: Measured, value: float, partition: str = "") -> None:
        """Set a level."""

    def observe(self, name: Measured, seconds: float) -> None:
        """Take one duration."""

    def forget(self, partition: str) -> None:
        """Tell no levels of a partition any more: another worker has it, and tells its own."""


class NoMeter:
    """Measures nothing."""

    def count(self, name: Measured, amount: int = 1, partition: str = "") -> None: ...
    def gauge(self, name: Measured, value: float, partition: str = "") -> None: ...
    def observe(self, name: Measured, seconds: float) -> None: ...
    def forget(self, partition: str) -> None: ...


class Actor(Protocol):
    """Performs effects. One thread at a time; may block for as long as a push takes."""

    def restore(self, parts: Mapping[str, bytes]) -> None:
        """Go on from an older life's `parts`; {} is the first life."""

    def receive(self, verdicts: Sequence[Verdict]) -> None:
        """Take verdicts on: from now on they are in `parts`. Twice is once."""

    def step(self) -> None:
        """Do what is due."""

    def parts(self) -> dict[str, bytes]:
        """The state by part; an unchanged part is the same object."""
