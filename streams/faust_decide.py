"""The decide agent: `windows` -> rows in the store, verdicts to act on, and its own state.

Records are taken while older windows are on their way to the store. A store that is away holds
records back only once many windows wait, so memory is bounded and an outage is caught up with.
Markers that run far ahead of a partition that stands still are left in the topic for later.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, Protocol

from analytics.types import Verdict
from streams.clocks import Clocks
from streams.decide import Decided
from streams.faust_summarise import Ack, pause, until_there
from streams.kafka.chunks import Whole
from streams.kafka.topics import WINDOWS
from streams.kept import Kept
from streams.local_worker import write_rows
from streams.marker_codec import decode_marker
from streams.marker_intake import MarkerIntake
from streams.parked import Rereading
from streams.ports import Meter, Sink
from streams.stage_decide import Captured, DecideStage
from wire.errors import TransientError

_log = logging.getLogger("holdfast.decide")
WAITING_MAX: Final = 64
"""Decided windows that may wait for the store before no more are taken."""
_DRAIN_S: Final = 5.0


class DecideTopics(Protocol):
    """What the stage reads and writes besides the records that it is brought.

    Raises TransientError while the broker is away: call again, twice is once.
    """

    async def state(self) -> dict[str, bytes]:
        """The newest state by part; {} if there is none."""

    async def start(self, position: int | None) -> int:
        """Where to read `windows` on: at `position`, that of the state; None: at its beginning.

        PermanentError ``log_trimmed``, ``log_replaced``, ``log_behind_position``.
        """

    def records(self, start: int, end: int) -> AsyncGenerator[tuple[int, bytes], None]:
        """(offset, value) of `windows` in ``[start, end)``; PermanentError ``log_trimmed``."""

    async def verify(self) -> None:
        """PermanentError ``log_replaced`` if the topics are not those of our positions."""

    async def publish(self, verdicts: Iterable[Verdict]) -> None:
        """Verdicts that somebody must act on, durable."""

    async def save(
        self, parts: dict[str, bytes], *, position: int, marks: Mapping[int, bytes]
    ) -> None:
        """The state, durable as a whole; `marks` are of what was read, by offset.

        PermanentError ``log_replaced``, ``log_behind_position`` if it was read of another log.
        """


@dataclass(slots=True)
class Deciding:
    """The one decider, or one that stands by; satisfies `faust_app.Stage`.

    `open_sink` is called in a thread, again after a TransientError.
    """

    topics: DecideTopics
    open_sink: Callable[[], Sink]
    partitions: int
    clocks: Clocks
    meter: Meter
    now_ms: Callable[[], int]
    topic: str = WINDOWS
    _sink: Sink | None = None
    _mine: MarkerIntake | None = None
    _kept: Kept[Ack] = field(default_factory=Kept)
    _stepping: asyncio.Lock = field(default_factory=asyncio.Lock)  # the state, one at a time
    _due: asyncio.Event = field(default_factory=asyncio.Event)
    _flushed: asyncio.Event = field(default_factory=asyncio.Event)
    _flushing: "asyncio.Task[None] | None" = None
    _is_flushing: bool = False
    _preparing: "asyncio.Task[MarkerIntake] | None" = None
    _was_assigned: bool = False
    _last_given: int = -1  # offset of the chunk that came last
    _is_stale: bool = False  # another may have decided since `_mine` was read

    def prepare(self) -> None:
        """Begin to restore while the group is still being joined; the first record waits for it.

        Should another worker be active until then, its later state is read at that record.
        """
        self._preparing = asyncio.create_task(self._resumed())

    async def assigned(self, partitions: set[int]) -> None:
        """A new assignment starts from what is durable: another may have decided before it.

        The first one may start from what was prepared for it.
        """
        self._kept.forget()
        self._is_stale = self._was_assigned
        self._was_assigned = True

    async def take(self, partition: int, offset: int, value: bytes, ack: Ack) -> None:
        """Take a chunk; skip it if it was taken, read what lies before it if that was not."""
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush_for_ever())
        self.check()
        if self._preparing is not None:
            await self._preparing
            self._preparing = None
        mine = self._mine
        if mine is None or self._is_stale or offset > mine.next_offset:
            mine = await self._resumed()
            await self._catch_up(mine, offset)
        self._kept.keep(offset, ack)
        if offset == mine.next_offset:
            await self._advance(mine, offset, value)
        elif offset != self._last_given + 1:
            # a run of chunks that were taken begins: after a restart, or of a topic made anew
            await until_there(self.topics.verify)
        self._last_given = offset

    def check(self) -> None:
        """Raise what ended the flusher, if anything did."""
        if self._flushing is not None and self._flushing.done():
            self._flushing.result()

    async def close(self) -> None:
        """Write what was decided, if the store is there; else it is decided again."""
        if self._preparing is not None:
            self._preparing.cancel()
        if self._flushing is None:
            return
        end_ms = self.now_ms() + int(_DRAIN_S * 1000)
        while not self._is_drained() and self.now_ms() < end_ms and not self._flushing.done():
            await self._until_flushed()
        self._flushing.cancel()

    def _is_drained(self) -> bool:
        undurable = self._mine.stage.undurable if self._mine is not None else 0
        return not undurable and not self._is_flushing

    async def _resumed(self) -> MarkerIntake:
        while not self._is_drained():  # or our older state would be saved over what we read
            await self._until_flushed()
        self._is_stale = False
        parts = await until_there(self.topics.state)
        clocks = {"partitions": self.partitions, "window_ms": self.clocks.window_ms}
        if parts:
            stage = await asyncio.to_thread(DecideStage.restore, parts, **clocks)
        else:
            stage = DecideStage.begin(**clocks)
        position = stage.next_offset if parts else None
        start = await until_there(lambda: self.topics.start(position))
        async with self._stepping:
            self._mine = mine = MarkerIntake.begin(stage, start)
        _log.info("state_resumed", extra={"offset": start})
        return mine

    async def _catch_up(self, mine: MarkerIntake, end: int) -> None:
        while mine.next_offset < end:
            try:
                async for offset, value in self.topics.records(mine.next_offset, end):
                    await self._advance(mine, offset, value)
            except TransientError as error:
                await pause(error)

    async def _advance(self, mine: MarkerIntake, offset: int, value: bytes) -> None:
        await self._take_chunk(mine, offset, value)
        while mine.parked.has_room(mine.stage.held_bytes):
            await self._read_again(mine, mine.parked.read_again(mine.stage.held_bytes))
            mine.parked.end_rereading()

    async def _read_again(self, mine: MarkerIntake, again: Rereading) -> None:
        """Take what was passed over, as far as there is room for it."""
        while again.at is not None and again.at < mine.next_offset:
            try:
                await self._read_stretch(mine, again.at, again)
            except TransientError as error:
                await pause(error)

    async def _read_stretch(self, mine: MarkerIntake, start: int, again: Rereading) -> None:
        async with aclosing(self.topics.records(start, mine.next_offset)) as found:
            async for offset, value in found:
                await self._take_chunk(mine, offset, value)
                if not again.come_to(offset + 1):
                    return

    async def _take_chunk(self, mine: MarkerIntake, offset: int, value: bytes) -> None:
        while mine.stage.undurable >= WAITING_MAX:
            await self._until_flushed()
        async with self._stepping:
            try:
                whole = mine.take(offset, value)
                if whole is not None:
                    await self._accept(mine.stage, whole)
            except Exception:
                self._mine = None  # a position that is saved now would be beyond what was not taken
                raise
        self.meter.gauge("markers_waiting", mine.waiting)

    async def _accept(self, stage: DecideStage, whole: Whole) -> None:
        marker, size_bytes = decode_marker(whole.value), len(whole.value)
        due = await asyncio.to_thread(
            stage.take, marker, first_offset=whole.first_offset, size_bytes=size_bytes
        )
        self.meter.count("markers_taken", partition=str(marker.partition))
        if due:
            self._due.set()

    async def _until_flushed(self) -> None:
        """Wait for a flush or a moment; raises what ended the flusher."""
        assert self._flushing is not None, "made with the first record"  # noqa: S101
        self._flushed.clear()
        waiting = asyncio.create_task(self._flushed.wait())
        await asyncio.wait(
            [waiting, self._flushing], timeout=1.0, return_when=asyncio.FIRST_COMPLETED
        )
        waiting.cancel()
        self.check()

    async def _flush_for_ever(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            async with self._stepping:
                mine = self._mine
                if mine is None or not mine.stage.undurable:
                    continue
                self._is_flushing = True
                captured = await asyncio.to_thread(
                    mine.stage.capture,
                    read_until=mine.next_offset,
                    unfinished=mine.unfinished(),
                )
                marks = mine.take_marks(keep=captured.next_offset - 1)
            await self._flush(captured, marks)

    async def _flush(self, captured: Captured, marks: Mapping[int, bytes]) -> None:
        began_ms = self.now_ms()
        await until_there(lambda: asyncio.to_thread(self._write, captured.batch))
        if captured.effects:
            await until_there(lambda: self.topics.publish(captured.effects))
        position = captured.next_offset
        await until_there(lambda: self.topics.save(captured.parts, position=position, marks=marks))
        for finished in self._kept.finish(below=position):
            finished()
        self.meter.observe("flush_seconds", (self.now_ms() - began_ms) / 1000)
        self.meter.count("windows_decided", len(captured.batch))
        self.meter.gauge("decided_until_ms", captured.decided_until_ms)
        self._is_flushing = False
        self._flushed.set()

    def _write(self, batch: list[Decided]) -> None:
        self._sink = self._sink or self.open_sink()  # the store may be away when we start
        write_rows(self._sink, batch)
