"""How fast this machine computes at the moment: shared ones double and halve within an hour."""

import time
from typing import Final

_ROUNDS: Final = 100_000


def loop_s() -> float:
    """CPU-seconds of a fixed loop, the least of three: more means a slower machine."""

    def once() -> float:
        began_s, n = time.thread_time(), 0
        while n < _ROUNDS:
            n += 1
        return time.thread_time() - began_s

    return min(once() for _ in range(3))
