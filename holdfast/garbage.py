"""The search for cyclic garbage, put off while a process loads its modules.

They make half a million objects that stay; looking among them again and again is a tenth of the
time in which a process that was killed is back.
"""

import gc
from typing import Final

_USUAL: Final = gc.get_threshold()
_LOADING: Final = (50_000, 5, 5)


def seldom() -> None:
    """From the start of a process on; one that ends soon may stay so."""
    gc.set_threshold(*_LOADING)


def as_usual() -> None:
    """Everything is loaded. A cycle may hold megabytes of a segment: it must not wait for long."""
    gc.freeze()
    gc.set_threshold(*_USUAL)
