"""A figure that is looked at again and again while something goes on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def sampled(look: Callable[[], float], *, every_s: float) -> Iterator[list[float]]:
    """What `look` said, in a thread of its own, while the block did its work: once at least."""
    samples: list[float] = []
    done = threading.Event()

    def sample() -> None:
        samples.append(look())
        while not done.wait(every_s):
            samples.append(look())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
