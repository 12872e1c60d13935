"""The only place that reads the time."""

import time
from collections.abc import Callable


def now_ms() -> int:
    """Unix time in milliseconds, UTC."""
    return time.time_ns() // 1_000_000


def wrong_by(offset_ms: int) -> Callable[[], int]:
    """A clock that is wrong, for tests of what one wrong clock can do."""
    return lambda: now_ms() + offset_ms
