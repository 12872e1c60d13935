"""How much may wait at the door. Beyond it the answer is "come back", never a queue without end."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from wire.errors import TransientError

RETRY_AFTER_MAX_S: Final = 5  # stock clients give up when it exceeds their deadline of 10 s


@dataclass(slots=True)
class Admission:
    """Bytes and uploads in flight: being read, waiting, or in the group that is written."""

    bytes_max: int
    uploads_max: int
    rng: np.random.Generator
    in_flight_bytes: int = 0
    in_flight: int = 0
    refused_count: int = 0

    def take(self, size: int, uploads: int = 1) -> None:
        """Admit, or raise TransientError ``overloaded`` with a jittered Retry-After."""
        if self.in_flight >= self.uploads_max or self.in_flight_bytes + size > self.bytes_max:
            self.refused_count += 1
            raise self.come_back("overloaded", "too much is waiting to be written")
        self.in_flight += uploads
        self.in_flight_bytes += size

    def give_back(self, size: int, uploads: int = 1) -> None:
        """What was taken has been answered."""
        self.in_flight -= uploads
        self.in_flight_bytes -= size

    def come_back(self, code: str, detail: str) -> TransientError:
        """A TransientError whose clients do not all return at once."""
        wait_s = int(self.rng.integers(1, RETRY_AFTER_MAX_S + 1))
        return TransientError(code, detail, retry_after_s=wait_s)
