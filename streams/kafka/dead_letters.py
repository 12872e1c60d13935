"""Dead letters in their topic, and what was done about them: notes in the same topic.

A replay that died between the notes ``trying`` and ``replayed`` is settled by looking in the log.
One command replays or discards at a time: two could both look, and then both append.
"""

from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from streams.dead_letters import Letter, Place, Request
from streams.kafka.appender import Appender, Outgoing
from streams.kafka.broker import KafkaSettings
from streams.kafka.letter_notes import CODE, DISCARDED, REPLAYED, TRYING, key_of, place_of
from streams.kafka.loop_thread import LoopThread
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.replay_claim import CLAIM, CLAIM_KEY, RELEASE, TAKE_OVER, ReplayClaim
from streams.kafka.topics import DEAD_LETTERS
from streams.letter_replay import append_once
from streams.log.kafka import KafkaLog
from wire.errors import PermanentError, TransientError

_T = TypeVar("_T")
_READ_BYTES: Final = 8 << 20
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Found:
    """A letter, where its bytes lie in our topic, and where a replay began."""

    letter: Letter
    at: int
    tried_from: int | None = None


class KafkaLetters:
    """Lists, replays and discards; satisfies the commands' `Letters`. Call `close` in the end.

    `name` is of this life alone. With `take_over` it works although another has begun to: only
    when that one has ended. Raises TransientError ``kafka_away``: then take over from this one.
    """

    def __init__(self, settings: KafkaSettings, *, name: str, take_over: bool = False) -> None:
        self._settings = settings
        self._name, self._take_over = name, take_over
        self._claim = ReplayClaim()
        self._has_asked = False
        self._is_unsure = False  # an append may still be on its way
        self._topic = settings.topic(DEAD_LETTERS)
        self._thread = LoopThread("dead-letters")
        self._log = KafkaLog(settings, client_id="holdfast-replay")
        self._appender: Appender | None = None
        self._found: dict[Place, _Found] = {}
        self._next = 0  # what lies before it in the topic has been read

    def listed(self) -> list[Letter]:
        """Every letter that the topic still holds, by partition and offset.

        `log_time_ms` is when the broker took it.
        """
        self._call(self._read_on())
        return [self._found[place].letter for place in sorted(self._found)]

    def payload(self, partition: int, offset: int) -> bytes:
        """The bytes as they were read. The letter must have been listed."""
        return self._call(self._payload(self._found[partition, offset].at))

    def request(self, partition: int, offset: int, payload: bytes) -> bool:
        """Append these bytes in place of a listed letter; False if it is settled.

        Raises PermanentError ``replay_claimed`` if another command replays, or has taken over.
        """
        self._hold_claim()
        found = self._found[partition, offset]
        if found.letter.is_settled:
            return False
        self._is_unsure = True
        append_once(self, Request(partition, offset, payload, found.tried_from), self._log)
        self._is_unsure = False
        return True

    def discard(self, places: Iterable[Place], reason: str) -> set[Place]:
        """Give listed letters up for good: those that wait, and no replay of which has begun.

        With `take_over` a replay that has begun does not count, since it has ended.
        Raises PermanentError ``replay_claimed``, as `request` does.
        """
        self._hold_claim()
        done = {place for place in places if self._may_discard(self._found[place])}
        value = ((DISCARDED, reason.encode()),)
        self._is_unsure = True
        self._call(self._append(Outgoing(0, b"", key_of(*place), value) for place in sorted(done)))
        self._is_unsure = False
        for place in done:
            found = self._found[place]
            self._found[place] = replace(found, letter=replace(found.letter, discarded=reason))
        return done

    def _may_discard(self, found: _Found) -> bool:
        has_begun = found.tried_from is not None and not self._take_over
        return not (found.letter.is_settled or has_begun)

    def trying(self, request: Request, end: int) -> None:
        """Note that the bytes are about to be appended at or after offset `end`."""
        self._note(_key(request), TRYING, b"%d" % end)

    def replayed(self, request: Request) -> None:
        """Note that the bytes are in the log."""
        self._note(_key(request), REPLAYED, b"")
        place = request.partition, request.offset
        found = self._found[place]
        self._found[place] = replace(found, letter=replace(found.letter, is_replayed=True))

    def close(self) -> None:
        """Disconnect. Another may go on now, unless an append of ours may still arrive."""
        self._log.close()
        if self._claim.holder == self._name and not self._is_unsure:
            with suppress(TransientError):
                self._note(CLAIM_KEY, RELEASE, self._name.encode())
        if self._appender is not None:
            self._call(self._appender.close())
        self._thread.close()

    def _hold_claim(self) -> None:
        """Whatever others did until now is in `_found` afterwards."""
        if not self._has_asked:
            what = TAKE_OVER if self._take_over else CLAIM
            self._note(CLAIM_KEY, what, self._name.encode())
            self._has_asked = True
        self._call(self._read_on())
        if self._claim.holder != self._name:
            raise PermanentError(
                "replay_claimed",
                f"{self._claim.holder} replays or discards, or was killed while it did",
                accepted="wait for its end; if it has ended without one: --take-over",
            )

    def _note(self, key: bytes, what: str, value: bytes) -> None:
        self._call(self._append([Outgoing(0, b"", key, ((what, value),))]))

    async def _append(self, notes: Iterable[Outgoing]) -> None:
        if self._appender is None:
            self._appender = Appender(self._settings, "holdfast-dead-letters")
        await self._appender.append(self._topic, notes)

    async def _payload(self, at: int) -> bytes:
        reader = PartitionReader(self._settings, self._topic, 0)
        await reader.start()
        try:
            (record,) = await reader.read(at, until=at + 1, bytes_max=1)
        finally:
            await reader.close()
        return bytes(record.value)

    async def _read_on(self) -> None:
        """Take in what has come to the topic."""
        reader = PartitionReader(self._settings, self._topic, 0)
        await reader.start()
        try:
            end = await reader.end()
            async for record in reader.all_until(end, bytes_max=_READ_BYTES, start=self._next):
                self._next = record.offset + 1
                if record.key == CLAIM_KEY:
                    self._claim.take(dict(record.headers))
                else:
                    _take(self._found, record)
        finally:
            await reader.close()

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._thread.call(work, timeout_s=_TIMEOUT_S)


def _key(request: Request) -> bytes:
    return key_of(request.partition, request.offset)


def _take(found: dict[Place, _Found], record: Any) -> None:  # noqa: ANN401  # aiokafka's
    headers = dict(record.headers)
    place = place_of(record.key)
    if CODE in headers:  # a letter that a second worker buried as well stays what it is
        letter = Letter(
            *place,
            code=headers[CODE].decode(),
            size_bytes=len(record.value),
            log_time_ms=record.timestamp,
        )
        found.setdefault(place, _Found(letter, record.offset))
    elif place in found:  # else retention has taken the letter and left the note
        known = found[place]
        if TRYING in headers:
            found[place] = replace(known, tried_from=int(headers[TRYING]))
        elif REPLAYED in headers:
            found[place] = replace(known, letter=replace(known.letter, is_replayed=True))
        elif DISCARDED in headers:
            reason = headers[DISCARDED].decode()
            found[place] = replace(known, letter=replace(known.letter, discarded=reason))
