"""How much may wait at the door. Beyond it the answer is "come back", never a queue without end."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from wire.errors import TransientError

RETRY_AFTER_MAX_S: Final = 5  # stock clients give up when it exceeds their deadline of 10 s


_PARTS_SHARE: Final = 0.5
"""Of all bytes, at most so much may be bodies that are not whole yet: whole ones find room."""
_OWNER_FREE_SHARE: Final = 3.0
"""One app may hold so many times what is free: alone 3/4 of it, and another always finds room."""


@dataclass(slots=True)
class Admission:
    """Bytes and uploads in flight: being read, waiting, or in the group that is written.

    What counts is what has arrived, never what was announced. `owner` is the app of the key.
    """

    bytes_max: int
    uploads_max: int
    rng: np.random.Generator
    in_flight_bytes: int = 0
    in_flight: int = 0
    refused_count: int = 0
    part_bytes: int = 0
    _of_owner: Counter[str] = field(default_factory=Counter)

    def take(self, size: int, owner: str = "") -> None:
        """Admit an upload, or raise TransientError ``overloaded`` with a jittered Retry-After."""
        if self.in_flight >= self.uploads_max:
            raise self._overloaded()
        self._take_bytes(size, owner)
        self.in_flight += 1

    def give_back(self, size: int, owner: str = "") -> None:
        """What was taken has been answered."""
        self.in_flight -= 1
        self._give_bytes(size, owner)

    def take_part(self, size: int, owner: str) -> None:
        """Admit a piece of a body that is not whole yet. Raises as `take` does."""
        if self.part_bytes + size > self.bytes_max * _PARTS_SHARE:
            raise self._overloaded()
        self._take_bytes(size, owner)
        self.part_bytes += size

    def give_part_back(self, size: int, owner: str) -> None:
        """The body has become whole, or was refused."""
        self.part_bytes -= size
        self._give_bytes(size, owner)

    def come_back(self, code: str, detail: str) -> TransientError:
        """A TransientError whose clients do not all return at once."""
        wait_s = int(self.rng.integers(1, RETRY_AFTER_MAX_S + 1))
        return TransientError(code, detail, retry_after_s=wait_s)

    def _take_bytes(self, size: int, owner: str) -> None:
        wanted = self._of_owner[owner] + size
        free = self.bytes_max - self.in_flight_bytes - size
        if free < 0 or wanted > _OWNER_FREE_SHARE * (free + 1):
            raise self._overloaded()
        self.in_flight_bytes += size
        self._of_owner[owner] = wanted

    def _give_bytes(self, size: int, owner: str) -> None:
        self.in_flight_bytes -= size
        self._of_owner[owner] -= size
        if not self._of_owner[owner]:
            del self._of_owner[owner]

    def _overloaded(self) -> TransientError:
        self.refused_count += 1
        return self.come_back("overloaded", "too much is waiting to be written")
