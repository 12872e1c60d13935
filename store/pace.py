"""How many inserts may be under way: more while the store answers, half when it says no."""

import threading
from typing import Final

FIRST: Final = 2.0
MOST: Final = 8
"""As many connections as a client keeps; ClickHouse's advice is few, large inserts."""


class Pace:
    """Additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP does it.

    A whole round of successes adds one; a failure halves. Never below 1, never above `most`. May be
    used from any thread.
    """

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._limit = min(FIRST, most)
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """Inserts that may be under way now."""
        return int(self._limit)

    def succeeded(self) -> None:
        """An insert was answered."""
        with self._lock:
            self._limit = min(self._limit + 1.0 / self._limit, float(self._most))

    def failed(self) -> None:
        """The store was busy, slow or away."""
        with self._lock:
            self._limit = max(self._limit / 2.0, 1.0)
