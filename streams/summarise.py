"""Stage one, per partition: segments -> deduplicated windows. Pure: reads no clock, has no effect.

Files under `dedup_folder` only hold what memory would hold otherwise.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.dedup import DedupIndex
from streams.log.base import Record
from streams.log_time import LogTime
from streams.open_window import OpenWindow
from streams.partial import Closed, Quality
from streams.usable import check_usable
from wire.errors import PermanentError
from wire.segment import Kind, Segment, decode

SKEW_MS: Final = 120_000
"""Added to the accepted age: a phone's clock may run a minute ahead, and so may the log's."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be read, why, and the partition's log time when it was met."""

    record: Record
    code: str
    log_time_ms: int


def fresh_index(horizon_ms: int, folder: Path | None) -> DedupIndex:
    """An index of no ids that remembers each for the accepted age, and some skew."""
    return DedupIndex(horizon_ms + SKEW_MS, folder)


def _forget_ids(arrived_ms: int, ids: NDArray[np.void]) -> None:
    """A log that keeps its own ids needs none from here."""


class Summariser:
    """Takes one partition's records in offset order; gives its windows as they close.

    `on_ids` is told every telemetry record's arrival and batch ids, shape ``(U,)``. `dedup` is an
    index that knows the past already. `given_up` are codes by offset of records to bury as they
    are: mended bytes took their place further on, or they were discarded.
    """

    def __init__(
        self,
        partition: int,
        *,
        window_ms: int,
        horizon_ms: int,
        log_time: LogTime | None = None,
        on_ids: Callable[[int, NDArray[np.void]], None] = _forget_ids,
        dedup_folder: Path | None = None,
        dedup: DedupIndex | None = None,
        given_up: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        self._partition = partition
        self._on_ids = on_ids
        self._given_up = given_up
        self._window_ms = window_ms
        self._log_time = log_time or LogTime()
        self._window: OpenWindow | None = None
        self._controls: list[bytes] = []
        self.dedup = fresh_index(horizon_ms, dedup_folder) if dedup is None else dedup
        self.dead_letters: list[DeadLetter] = []

    def step(self, records: Iterable[Record]) -> list[Closed]:
        """Take records in; the windows that they closed, oldest first."""
        closed: list[Closed] = []
        for record in records:
            if given_up := self._given_up.get(record.offset):
                self._bury(record, given_up)
                continue
            try:
                segment = decode(record.payload)
                check_usable(segment)
            except PermanentError as error:
                self._bury(record, error.code)
                continue
            closed.extend(self._advance(segment, record.offset))
            self._take(segment)
        return closed

    def remember(self, ids: Iterable[tuple[int, bytes]]) -> None:
        """Rebuild the dedup index from the log's (arrived_ms, ids), oldest first."""
        self.dedup.restore(ids, now_ms=self._log_time.now_ms)

    def _bury(self, record: Record, code: str) -> None:
        self.dead_letters.append(DeadLetter(record, code, self._log_time.now_ms))
        if self._window is not None:
            self._window.quality[Quality("segments", "dead_lettered", code)] += 1

    def _advance(self, segment: Segment, offset: int) -> list[Closed]:
        before = self._log_time.state()
        now_ms = self._log_time.advance(segment.arrived_ms, segment.writer)
        start_ms = now_ms // self._window_ms * self._window_ms
        if self._window is None:
            self._window = OpenWindow(start_ms, self._window_ms)
        if start_ms <= self._window.start_ms:
            return []
        closed = Closed(
            self._partition, start_ms, offset, before, self._window.close(), self._controls
        )
        self._window = OpenWindow(start_ms, self._window_ms)
        self._controls = []
        return [closed]

    def _take(self, segment: Segment) -> None:
        window = self._window
        assert window is not None, "a record opens a window"  # noqa: S101
        window.count_tallies(segment.tallies)
        if segment.kind is Kind.CONTROL:
            self._controls.append(segment.control)
        elif segment.kind is Kind.TELEMETRY:
            ids = segment.uploads["batch_id"]
            window.add(segment, self.dedup.add(ids, self._log_time.now_ms))
            self._on_ids(segment.arrived_ms, ids)
