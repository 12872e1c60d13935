"""When a partition has too many dead letters it waits, loudly, until enough of them are settled.

What is buried is counted as it happens; what was done about letters is read from their topic: once
when partitions are given to us, and while one of them waits. A letter is settled when it was
replayed or discarded, or when retention has taken it. Counts are of sets, so the order of news does
not matter.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from streams.ports import Meter
from wire.errors import TransientError

_log = logging.getLogger("holdfast.summarise")
_LOOK_S: Final = 1.0
_NOT_READ: Final = 1 << 63  # where a letter of our own lies, until it is read
LETTERS_MAX: Final = 1000


class LetterNews(NamedTuple):
    """A letter, or that it is settled. `at` is where that lies in the letters' own topic."""

    partition: int
    offset: int
    is_settled: bool
    at: int


class LetterNewsSource(Protocol):
    """Tells what happened to letters."""

    async def letter_news(self, start: int) -> tuple[list[LetterNews], int, int]:
        """News from `start` on, the oldest that is held, and where the next will lie.

        Raises TransientError.
        """


@dataclass(slots=True)
class LetterLimit:
    """More than `most` unsettled letters stop a partition. Lives in one event loop."""

    source: LetterNewsSource
    meter: Meter
    most: int = LETTERS_MAX
    _mine: set[int] = field(default_factory=set)
    _held: set[int] = field(default_factory=set)
    _said: set[int] = field(default_factory=set)
    _letters: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    _settled: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    _next: int = 0
    _is_stale: bool = False
    _following: "asyncio.Task[None] | None" = None

    def is_held(self, partition: int) -> bool:
        """Whether this partition must take nothing now."""
        return partition in self._held

    def waiting(self, partition: int) -> int:
        """Letters of this partition that are not settled, as far as is known."""
        return len(self._letters[partition].keys() - self._settled[partition].keys())

    def assigned(self, partitions: set[int]) -> None:
        """Others may have buried and replayed for those that are new to us."""
        self._mine = set(partitions)
        self._held &= partitions
        self._said &= partitions
        if partitions:
            self._follow_soon()

    def buried(self, partition: int, offset: int) -> None:
        """A letter more. If it is one too many the partition is held at once."""
        self._letters[partition].setdefault(offset, _NOT_READ)
        waiting = self.waiting(partition)
        self.meter.gauge("dead_letters_waiting", waiting, str(partition))
        if waiting > self.most and partition in self._mine:
            self._held.add(partition)
            self._follow_soon()

    def check(self) -> None:
        """Raise what ended the following."""
        following = self._following
        if following is not None and following.done() and not following.cancelled():
            following.result()

    async def close(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    def _follow_soon(self) -> None:
        self._is_stale = True
        if self._following is None or self._following.done():
            self.check()
            self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while self._is_stale or self._held:
            self._is_stale = False
            try:
                news, first, self._next = await self.source.letter_news(self._next)
            except TransientError as error:
                _log.warning("away", extra={"code": error.code, "detail": error.detail})
                self._is_stale = True
                await asyncio.sleep(_LOOK_S)
                continue
            self._take(news, first)
            if not self._is_stale:
                self._judge()
            if self._held:
                await asyncio.sleep(_LOOK_S)

    def _take(self, news: Iterable[LetterNews], first: int) -> None:
        for partition, offset, is_settled, at in news:
            known = self._settled if is_settled else self._letters
            known[partition][offset] = at
        for letters in (*self._letters.values(), *self._settled.values()):
            for offset in [offset for offset, at in letters.items() if at < first]:
                del letters[offset]

    def _judge(self) -> None:
        for partition in sorted(self._mine):
            waiting = self.waiting(partition)
            if waiting > self.most:
                self._held.add(partition)
            else:
                self._held.discard(partition)
            self.meter.gauge("dead_letters_waiting", waiting, str(partition))
            self.meter.gauge("partition_stopped", partition in self._held, str(partition))
            self._say(partition, waiting)

    def _say(self, partition: int, waiting: int) -> None:
        """Once: it lasts until somebody comes."""
        if partition in self._held and partition not in self._said:
            self._said.add(partition)
            said = {
                "code": "dead_letters_full",
                "detail": f"partition {partition} has {waiting} records that cannot be read",
                "do": f"at most {self.most}: holdfast dead-letters list, then replay or discard",
            }
            _log.error("partition_stopped", extra=said)
        elif partition not in self._held and partition in self._said:
            self._said.discard(partition)
            _log.info("partition_goes_on", extra={"partition": partition})
