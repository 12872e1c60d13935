"""How fast this machine computes at the moment: shared ones double and halve within an hour."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_ROUNDS: Final = 100_000
_EVERY_S: Final = 0.5


def loop_s() -> float:
    """CPU-seconds of a fixed loop, the least of three: more means a slower machine."""

    def once() -> float:
        began_s, n = time.thread_time(), 0
        while n < _ROUNDS:
            n += 1
        return time.thread_time() - began_s

    return min(once() for _ in range(3))


@contextmanager
def sampled() -> Iterator[list[float]]:
    """`loop_s` every half second while the block does its work; at least one sample."""
    samples: list[float] = []
    done = threading.Event()

    def sample() -> None:
        samples.append(loop_s())
        while not done.wait(_EVERY_S):
            samples.append(loop_s())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
