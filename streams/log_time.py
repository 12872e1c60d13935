"""Log time of a partition: the running maximum of arrival, safe from one clock that jumps.

A jump of more than five minutes ahead is held back until a second writer agrees, or the same writer
has ticked on for thirty seconds and nobody has told another time meanwhile: one ingest clock in
2099 must not close every window for good, however long it stays there.
"""

from dataclasses import dataclass
from typing import Final

JUMP_MS: Final = 300_000
CONFIRM_MS: Final = 30_000


@dataclass(slots=True)
class LogTime:
    """`now_ms` never decreases; 0 before the first record."""

    now_ms: int = 0
    _jump_writer: str = ""
    _jump_first_ms: int = 0

    def advance(self, arrived_ms: int, writer: str) -> int:
        """Take one record's arrival in; log time after it."""
        if self.now_ms == 0:
            self.now_ms = arrived_ms
        elif arrived_ms - self.now_ms <= JUMP_MS:
            self.now_ms = max(self.now_ms, arrived_ms)
            self._jump_writer = ""  # its clock came back, or somebody else's says that it is wrong
        elif self._confirmed(arrived_ms, writer):
            self.now_ms = arrived_ms
            self._jump_writer = ""
        return self.now_ms

    def _confirmed(self, arrived_ms: int, writer: str) -> bool:
        if not self._jump_writer:
            self._jump_writer, self._jump_first_ms = writer, arrived_ms
            return False
        if writer != self._jump_writer:
            return abs(arrived_ms - self._jump_first_ms) <= JUMP_MS
        return arrived_ms - self._jump_first_ms >= CONFIRM_MS

    def state(self) -> list[int | str]:
        """Plain values; `LogTime(*state)` is equal."""
        return [self.now_ms, self._jump_writer, self._jump_first_ms]
