"""What the stages need of the world."""

from collections.abc import Mapping
from typing import Protocol

from streams.rows import Columns


class Sink(Protocol):
    """Takes rows, idempotent by key. Raises TransientError if it is away: nothing was lost."""

    def write(self, rows: Mapping[str, Columns]) -> int:
        """Write tables durably; the number of rows."""
