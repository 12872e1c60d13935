"""The act agent: `verdicts` -> effects. What was done and is to be done lives in `act-state`.

Only who has the partition acts. The state is published after every change, before a verdict
counts as taken: whoever comes next knows all that was promised and nearly all that was done; what
it does again, the ledger in Git makes once.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from analytics.types import Verdict
from streams.faust_summarise import Ack, pause, until_there
from streams.kafka.topics import VERDICTS
from streams.kept import Kept
from streams.log.mark import mark_of
from streams.ports import Actor, Meter
from wire.errors import TransientError

_log = logging.getLogger("holdfast.act")
_STEP_S: Final = 0.5
_DRAIN_S: Final = 6.0
_POSITION: Final = "position"


class ActTopics(Protocol):
    """What the stage reads and writes besides the records that it is brought.

    Raises TransientError while the broker is away: call again, twice is once.
    """

    async def state(self) -> dict[str, bytes]:
        """The newest state by part; {} if there is none."""

    async def start(self, position: int | None) -> int:
        """Where to read `verdicts` on: at `position`, that of the state; None: at its beginning.

        PermanentError ``log_trimmed``, ``log_replaced``, ``log_behind_position``.
        """

    def records(self, start: int, end: int) -> AsyncGenerator[tuple[int, bytes], None]:
        """(offset, value) of `verdicts` in ``[start, end)``; PermanentError ``log_trimmed``."""

    async def verify(self) -> None:
        """PermanentError ``log_replaced`` if the topics are not those of our positions."""

    async def save(
        self, parts: dict[str, bytes], *, position: int, marks: Mapping[int, bytes]
    ) -> None:
        """The state, durable as a whole; `marks` are of what was read, by offset.

        PermanentError ``log_replaced``, ``log_behind_position`` if it was read of another log.
        """


@dataclass(slots=True)
class Acting:
    """The one actor, or one that stands by; satisfies `faust_app.Stage`."""

    topics: ActTopics
    actor: Actor
    meter: Meter
    topic: str = VERDICTS
    _is_ours: bool = False
    _next_offset: int = 0
    _last_given: int = -1  # offset of the verdict that came last
    _is_restored: bool = False  # in this assignment: another worker may have acted before it
    _saved: dict[str, bytes] = field(default_factory=dict)
    _marks: dict[int, bytes] = field(default_factory=dict)  # of the verdict that was read last
    _kept: Kept[Ack] = field(default_factory=Kept)
    _acting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _loop: "asyncio.Task[None] | None" = None

    async def assigned(self, partitions: set[int]) -> None:
        """Act while the partition is ours; a new assignment starts from what is durable.

        An effect that is being performed ends first: its thread cannot be stopped.
        """
        self._kept.forget()
        self._is_restored = False
        self._is_ours = bool(partitions)
        self.check()
        if self._is_ours and (self._loop is None or self._loop.done()):
            self._loop = asyncio.create_task(self._act_while_ours())

    async def take(self, partition: int, offset: int, value: bytes, ack: Ack) -> None:
        """Take a verdict on; skip it if it was taken, read what lies before it if that was not."""
        self.check()
        async with self._acting:
            await self._resume()
            while self._next_offset < offset:
                await self._catch_up(offset)
            self._kept.keep(offset, ack)
            if offset == self._next_offset:
                await self._receive(offset, value)
                await self._save()
            elif offset != self._last_given + 1:
                # a run of verdicts that were taken begins: after a restart, or of a topic made anew
                await until_there(self.topics.verify)
            self._last_given = offset
        for finished in self._kept.finish(below=self._next_offset):
            finished()

    async def close(self) -> None:
        """Let the effect that is being performed end, and publish what came of it."""
        if self._loop is None:
            return
        try:
            async with asyncio.timeout(_DRAIN_S), self._acting:
                self._loop.cancel()
        except TimeoutError:
            _log.warning("effect_cut_short")  # it will be done again, once

    async def _act_while_ours(self) -> None:
        while True:
            async with self._acting:
                await self._resume()
                if not self._is_ours:
                    return
                await asyncio.to_thread(self.actor.step)
                await self._save()
            await asyncio.sleep(_STEP_S)

    def check(self) -> None:
        """Raise what ended the loop of effects, if anything did."""
        if self._loop is not None and self._loop.done():
            self._loop.result()

    async def _resume(self) -> None:
        """Start from what is durable, unless that was done in this assignment."""
        while not self._is_restored:  # it may be over before we have read
            self._is_restored = True
            parts = await until_there(self.topics.state)
            body = parts.get(_POSITION)
            position = msgspec.msgpack.decode(body, type=int) if body is not None else None
            await asyncio.to_thread(self.actor.restore, parts)
            self._next_offset = await until_there(lambda: self.topics.start(position))  # noqa: B023
            self._marks = {}
            self._saved = {}
            _log.info("state_resumed", extra={"offset": self._next_offset})

    async def _catch_up(self, end: int) -> None:
        try:
            async for offset, value in self.topics.records(self._next_offset, end):
                await self._receive(offset, value)
        except TransientError as error:
            await pause(error)

    async def _receive(self, offset: int, value: bytes) -> None:
        verdict = msgspec.msgpack.decode(value, type=Verdict)
        await asyncio.to_thread(self.actor.receive, [verdict])
        self._next_offset = offset + 1
        self._marks = {offset: mark_of(value)}
        self.meter.count("verdicts_taken")

    async def _save(self) -> None:
        parts = self.actor.parts() | {_POSITION: msgspec.msgpack.encode(self._next_offset)}
        if parts != self._saved:
            at, marks = self._next_offset, self._marks
            await until_there(lambda: self.topics.save(parts, position=at, marks=marks))
            self._saved = parts
