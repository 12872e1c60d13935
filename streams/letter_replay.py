"""Letters that were mended reach the log once, whatever dies on the way."""

from typing import Final, Protocol

from streams.dead_letters import DeadLetters, Request
from streams.log.base import Append, EmbeddedLog, Log
from streams.usable import check_usable
from wire.errors import PermanentError
from wire.segment import Kind, decode

_READ_BYTES: Final = 8 << 20


class Notes(Protocol):
    """Remembers, durably, how far the replay of a letter has come."""

    def trying(self, request: Request, end: int) -> None:
        """The bytes are about to be appended at or after offset `end` of their partition."""

    def replayed(self, request: Request) -> None:
        """The bytes are in the log."""


def replay_requested(letters: DeadLetters, log: EmbeddedLog) -> int:
    """Append what was asked for; how many letters are done now.

    The state store and the log are two files: a crash between them is settled by looking whether
    the bytes lie in the log since the first try. Raises TransientError when the log takes nothing.
    """
    done = 0
    for request in letters.requested():
        try:
            append_once(letters, request, log)
        except PermanentError:
            letters.refuse(request)
        else:
            done += 1
    return done


def append_once(notes: Notes, request: Request, log: Log) -> None:
    """Append mended bytes unless they lie in the log since the first try, and note it.

    Raises what `entry_of` raises, before anything is written.
    """
    entry = entry_of(request.partition, request.payload)
    if request.tried_from is None:
        notes.trying(request, log.end(request.partition))
    if request.tried_from is None or not _is_in_log(request, request.tried_from, log):
        log.append([entry])
    notes.replayed(request)


def entry_of(partition: int, payload: bytes) -> Append:
    """A mended segment as a record, if the stages will take it: else it would be buried again.

    Raises PermanentError ``segment_undecodable``, ``segment_inconsistent``.
    """
    segment = decode(payload)
    check_usable(segment)
    ids = segment.uploads["batch_id"].tobytes() if segment.kind is Kind.TELEMETRY else b""
    return Append(partition, payload, segment.arrived_ms, ids)


def _is_in_log(request: Request, start: int, log: Log) -> bool:
    at = max(start, log.start(request.partition))
    while records := log.read(request.partition, at, bytes_max=_READ_BYTES):
        if any(record.payload == request.payload for record in records):
            return True
        at = records[-1].offset + 1
    return False
