"""Does a log still hold what our position in it was made of? Pure.

A position is a number, and a log that was deleted and made again, cut at its end, or restored from
a backup counts the same numbers. So beside a position lies a mark: the digest of a record that we
read there. A record that is gone, or another one at its place, ends the reader with a name for it;
to go on would skip records with a receipt as if they had been taken.
"""

import hashlib
from typing import Final

from streams.log.base import trimmed
from wire.errors import PermanentError

_DIGEST_BYTES: Final = 16
_END_BYTES: Final = 512
WAY_ON: Final = "bring the old log back, or see the runbook: a log does not fit our position"


def mark_of(payload: bytes) -> bytes:
    """16 bytes that tell records apart: of the length and both ends, since every record is marked.

    A segment begins with its arrival and its writer, and its compressed end depends on all of it.
    """
    ends = payload[:_END_BYTES] + payload[-_END_BYTES:]
    key = len(payload).to_bytes(8, "big")
    return hashlib.blake2b(ends, digest_size=_DIGEST_BYTES, key=key).digest()


def check_bounds(log: str, position: int, *, start: int, end: int) -> None:
    """Raises PermanentError ``log_trimmed``, ``log_behind_position``.

    `position` is the next record; the log holds ``[start, end)`` and is called `log` to people.
    """
    if position < start:
        raise trimmed(log, position, start)
    if position > end:
        raise PermanentError(
            "log_behind_position",
            f"{log} ends at {end}, and {position} records of it were taken: it was made anew, or"
            " has lost its end; what has come since would be passed over as taken",
            field="offset",
            accepted=WAY_ON,
        )


def check_mark(log: str, offset: int, mark: bytes, payload: bytes | None) -> None:
    """Compare what lies at `offset` now with what we read there; None: there is nothing any more.

    An empty mark says nothing. Raises PermanentError ``log_replaced``.
    """
    if mark and payload is not None and mark_of(payload) != mark:
        raise other_record(log, offset)


def other_record(log: str, offset: int) -> PermanentError:
    """The error of a place where we read something else."""
    return replaced(f"{log} has another record at {offset} than the one that was taken there")


def replaced(detail: str) -> PermanentError:
    """The error of a log that is not the one that our positions are of."""
    return PermanentError("log_replaced", detail, field="offset", accepted=WAY_ON)
