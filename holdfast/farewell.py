"""The last step of a process: its threads end in time, or it leaves them behind."""

import asyncio
import logging
import os
import threading
from collections.abc import Sequence
from typing import Final

_log = logging.getLogger("holdfast.farewell")
_FAREWELL_S: Final = 5.0


async def wait_for(threads: Sequence[threading.Thread]) -> None:
    """Give threads that were told to end some time for it."""
    await asyncio.gather(*(asyncio.to_thread(t.join, _FAREWELL_S) for t in threads))


def leave(threads: Sequence[threading.Thread], code: int) -> int:
    """The exit code; ends the process at once if one of them is still there.

    A store or a remote that says nothing holds it. What it was about is in the log, the state, the
    outbox or Git, and will be done again: leave within the time of a drain.
    """
    held = [thread.name for thread in threads if thread.is_alive()]
    if held:
        _log.warning("left_while_waiting", extra={"threads": held})
        os._exit(code)
    return code
