"""The summarise agent: telemetry -> `windows`, with the batch ids and the position in `seen`."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from streams.clocks import Clocks
from streams.kafka.topics import TELEMETRY
from streams.kept import Kept
from streams.letter_limit import LetterLimit, LetterNewsSource
from streams.log.base import Record
from streams.ports import Meter
from streams.stage_summarise import ClosedWindow, PartitionStage, Resume
from streams.summarise import DeadLetter
from wire.errors import TransientError

_log = logging.getLogger("holdfast.summarise")
_AWAY_S: Final = 0.5
_T = TypeVar("_T")
Ack = Callable[[], Any]


class SummariseTopics(LetterNewsSource, Protocol):
    """What the stage reads and writes besides the records that it is brought.

    Raises TransientError while the broker is away: call again, twice is once.
    """

    async def resume(self, partition: int) -> Resume:
        """Where a partition goes on, by what is durable; at the log's start if nothing is."""

    def records(self, partition: int, start: int, end: int) -> AsyncGenerator[Record, None]:
        """Records of ``[start, end)``; PermanentError ``log_trimmed`` if some are gone."""

    async def publish(self, window: ClosedWindow) -> None:
        """The marker durable first, then the window's ids with the position after it.

        PermanentError ``log_replaced``, ``log_behind_position`` if it was read of another log.
        """

    async def verify(self) -> None:
        """PermanentError ``log_replaced`` if the topics are not those of our positions."""

    async def bury(self, letter: DeadLetter) -> None:
        """A record that cannot be read, durable with the reason."""


@dataclass(slots=True)
class _Mine:
    """A partition of ours: its stage, how far that is durable, and what was not acknowledged.

    `is_behind` if records were not taken because of dead letters. The stage is still right up to
    where it stands, and read anew it would bury the letters of its open window again.
    """

    stage: PartitionStage
    durable: int
    is_behind: bool = False
    last_given: int = -1  # offset of the record that came last
    kept: Kept[Ack] = field(default_factory=Kept)


@dataclass(slots=True)
class Summarising:
    """Every partition that this worker has; satisfies `faust_app.Stage`.

    A partition with too many dead letters takes nothing, and its records are not acknowledged.
    Once it goes on, with the next record of it (a tick of a door, at the latest), it reads what it
    has missed from the log.
    """

    topics: SummariseTopics
    clocks: Clocks
    meter: Meter
    letters: LetterLimit
    topic: str = TELEMETRY
    _partitions: dict[int, _Mine] = field(default_factory=dict)

    async def assigned(self, partitions: set[int]) -> None:
        """Forget what others have now. What stayed ours is still right, up to where it stands."""
        self._partitions = {p: mine for p, mine in self._partitions.items() if p in partitions}
        for mine in self._partitions.values():
            mine.kept.forget()
        self.letters.assigned(partitions)

    async def take(self, partition: int, offset: int, value: bytes, ack: Ack) -> None:
        """Take a record; skip it if it was taken, read what lies before it if that was not."""
        mine = self._partitions.get(partition)
        if self.letters.is_held(partition):
            if mine is not None:
                mine.is_behind = True
            return
        if mine is None or (offset > mine.stage.next_offset and not mine.is_behind):
            # the first record, or another worker has moved on, or Faust has passed some over
            mine = await self._resumed(partition)
        await self._catch_up(mine, offset)
        mine.is_behind = mine.stage.next_offset < offset
        if mine.is_behind:  # too many dead letters on the way
            return
        mine.kept.keep(offset, ack)
        if offset == mine.stage.next_offset:
            await self._advance(mine, Record(partition, offset, value))
        elif offset != mine.last_given + 1:
            # a run of records that were taken begins: after a restart, or of a log made anew
            await until_there(self.topics.verify)
        mine.last_given = offset
        for finished in mine.kept.finish(below=mine.durable):
            finished()

    def check(self) -> None:
        """Raise what ended the following of dead letters."""
        self.letters.check()

    async def close(self) -> None:
        """Nothing to finish: an open window is read again by whoever comes next."""
        await self.letters.close()

    async def _resumed(self, partition: int) -> _Mine:
        resume = await until_there(lambda: self.topics.resume(partition))
        mine = _Mine(PartitionStage(partition, self.clocks, resume), resume.next_offset)
        self._partitions[partition] = mine
        _log.info("partition_resumed", extra={"partition": partition, "offset": mine.durable})
        return mine

    async def _catch_up(self, mine: _Mine, end: int) -> None:
        stage = mine.stage
        while stage.next_offset < end and not self.letters.is_held(stage.partition):
            missed = self.topics.records(stage.partition, stage.next_offset, end)
            try:
                async with aclosing(missed):
                    async for record in missed:
                        await self._advance(mine, record)
                        if self.letters.is_held(stage.partition):
                            return
            except TransientError as error:
                await pause(error)

    async def _advance(self, mine: _Mine, record: Record) -> None:
        stage = mine.stage
        taken = stage.take(record)
        label = str(stage.partition)
        if taken.dead_letter is not None:
            letter = taken.dead_letter
            await until_there(lambda: self.topics.bury(letter))
            self.meter.count("dead_letters", partition=label)
            self.letters.buried(stage.partition, letter.record.offset)
        if taken.window is not None:
            window = taken.window
            await until_there(lambda: self.topics.publish(window))
            mine.durable = window.closed.next_offset
            self.meter.gauge("closed_until_ms", stage.closed_until_ms, label)
        self.meter.count("segments_taken", partition=label)


async def until_there(attempt: Callable[[], Awaitable[_T]]) -> _T:
    """Try until the broker answers. Meant for what may be done twice."""
    while True:
        try:
            return await attempt()
        except TransientError as error:
            await pause(error)


async def pause(error: TransientError) -> None:
    """Say what is away, and wait a moment."""
    _log.warning("away", extra={"code": error.code, "detail": error.detail})
    await asyncio.sleep(_AWAY_S)
