"""May the stages go on with this log and this state? Asked before anything is read or opened."""

import secrets
from typing import Final

from streams.clocks import Clocks
from streams.log.base import EmbeddedLog, Pins
from streams.log.mark import check_bounds, check_mark, replaced
from streams.state import Snapshot

_ID: Final = "id"
_WINDOW: Final = "window_ms"
_HORIZON: Final = "horizon_ms"


def log_id_of(log: Pins) -> str:
    """The log's own id, made when it is first asked for."""
    return log.pin(_ID, secrets.token_hex(8))


def pin_clocks(log: Pins, clocks: Clocks) -> Clocks:
    """Pin the clocks unless some are; those that stand."""
    return Clocks(
        int(log.pin(_WINDOW, str(clocks.window_ms))),
        int(log.pin(_HORIZON, str(clocks.horizon_ms))),
    )


def pinned_clocks(log: Pins) -> Clocks | None:
    """The clocks that stand; None before the first window."""
    window_ms, horizon_ms = log.pinned(_WINDOW), log.pinned(_HORIZON)
    if window_ms is None or horizon_ms is None:
        return None
    return Clocks(int(window_ms), int(horizon_ms))


def check_fits(log: EmbeddedLog, snapshot: Snapshot) -> None:
    """Is this the log that the state has read, and does it hold what comes next?

    Raises PermanentError ``log_replaced``, ``log_behind_position``, ``log_trimmed``.
    """
    for partition, at in sorted(snapshot.positions.items()):
        marked = snapshot.marks.get(partition)
        if marked is not None and marked.log_id != log_id_of(log):
            raise replaced("log.db is not the log that state.db is of")
        if partition >= log.partitions:
            continue  # the log says so itself
        name = f"log.db:{partition}"
        start, end = log.start(partition), log.end(partition)
        least = at.offset + 1 if marked is not None else at.offset
        check_bounds(name, least if least > end else at.offset, start=start, end=end)
        if marked is not None:
            found = log.read(partition, at.offset, bytes_max=1)
            check_mark(name, at.offset, marked.mark, found[0].payload if found else None)
