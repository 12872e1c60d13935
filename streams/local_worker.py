"""The embedded runner: one loop that drives the stages over every partition of a local log.

Order of effects: rows into the store, then the snapshot with its positions and the verdicts owed,
in one transaction. A crash in between replays the window: the same rows under the same keys.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from analytics.types import Outcome, Verdict, VerdictKind
from streams.clocks import Clocks, check_clocks
from streams.decide import Decided, Decider, Position
from streams.letter_replay import replay_requested
from streams.log.base import EmbeddedLog, Record
from streams.log.mark import mark_of
from streams.log_time import LogTime
from streams.ports import Sink
from streams.resume import check_fits, log_id_of, pin_clocks
from streams.snapshot import decider_parts, restore_decider
from streams.state import Marked, Snapshot, StateStore
from streams.summarise import SKEW_MS, Summariser
from wire.errors import PermanentError

READ_BYTES_MAX: Final = 8 << 20
WRITE_WINDOWS_MAX: Final = 64
"""Windows that are handed to the store at once: what catching up takes of memory is bounded."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """`horizon_ms` is the accepted age of an upload: how long its id is remembered.

    `retention_ms` is how long payloads stay in the log after their window was stored.
    `dedup_folder` takes the ids that are too many for memory; it must exist. None: all in memory.
    A partition stops when more than `dead_letters_max` of its dead letters wait.
    """

    window_ms: int
    horizon_ms: int
    retention_ms: int = 0
    dedup_folder: Path | None = None
    dead_letters_max: int = 1000

    @property
    def clocks(self) -> Clocks:
        """What is pinned with the first window."""
        return Clocks(self.window_ms, self.horizon_ms)


@dataclass(slots=True)
class Progress:
    """What one worker has done since it started."""

    records: int = 0
    windows: int = 0
    rows: int = 0
    decided_until_ms: int = 0
    dead_letters: int = 0


class LocalWorker:
    """Resumes from the state store; `step` until it says that nothing was there."""

    def __init__(
        self,
        log: EmbeddedLog,
        sink: Sink,
        state: StateStore,
        settings: WorkerSettings,
        *,
        on_decided: Callable[[Decided], None] = lambda _: None,
    ) -> None:
        self._log, self._sink, self._state, self._settings = log, sink, state, settings
        self._on_decided = on_decided
        self.progress = Progress()
        self._clocks = check_clocks(
            pin_clocks(log, settings.clocks), settings.clocks
        )  # before the first window is made
        self._log_id = log_id_of(log)
        snapshot = state.load()
        if snapshot:
            check_fits(log, snapshot)
        self._positions: dict[int, Position] = snapshot.positions if snapshot else {}
        self.decider = (
            restore_decider(
                snapshot.parts, partitions=log.partitions, window_ms=self._clocks.window_ms
            )
            if snapshot
            else Decider(log.partitions, self._clocks.window_ms)
        )
        self._summarisers = [self._resume(p) for p in range(log.partitions)]
        self._next = [
            self._positions[p].offset if p in self._positions else log.start(p)
            for p in range(log.partitions)
        ]
        self._waiting = [state.letters.waiting(p) for p in range(log.partitions)]
        self._marks: dict[tuple[int, int], bytes] = {}  # of records that closed a window
        self._unwritten: list[Decided] = []
        self._stored: deque[tuple[int, dict[int, int]]] = deque()  # window start, next offsets

    def step(self) -> bool:
        """Read what is there, decide what is due, make it durable; False if there was nothing.

        Raises TransientError if the store is away; call again, nothing is lost or done twice.
        Raises PermanentError ``dead_letters_full`` while a partition has too many letters; call
        again then too: it goes on once they are replayed or discarded. Until then the others are
        read only as far as windows wait for them: what cannot be decided yet is in memory.
        """
        self._flush()
        moved = self._see_to_letters()
        for partition, summariser in enumerate(self._summarisers):
            if self._is_full(partition) or (self.decider.waiting(partition) and self._full()):
                continue
            records = self._log.read(partition, self._next[partition], bytes_max=READ_BYTES_MAX)
            if not records:
                continue
            moved = True
            self._next[partition] = records[-1].offset + 1
            self.progress.records += len(records)
            closed = summariser.step(records)
            for marker in closed:
                at = marker.next_offset
                self._marks[partition, at] = mark_of(records[at - records[0].offset].payload)
            self._bury(partition, summariser)
            self._unwritten.extend(self.decider.step(closed))
        self._flush()
        self._refuse_when_full()
        return moved

    def _resume(self, partition: int) -> Summariser:
        at = self._positions.get(partition)
        letters = self._state.letters
        summariser = Summariser(
            partition,
            window_ms=self._clocks.window_ms,
            horizon_ms=self._clocks.horizon_ms,
            log_time=LogTime(*at.log_time) if at else None,  # type: ignore[arg-type]  # [int, str, int]
            dedup_folder=self._settings.dedup_folder,
            given_up=letters.meet_again(partition, at.offset if at else 0),
        )
        if at:
            self._log.drop_batch_ids(partition, letters.below(partition, at.offset))
            since_ms = int(at.log_time[0]) - self._clocks.horizon_ms - SKEW_MS
            ids = self._log.batch_ids(partition, before=at.offset, since_ms=since_ms)
            summariser.remember(ids)
        return summariser

    def _bury(self, partition: int, summariser: Summariser) -> None:
        if summariser.dead_letters:
            self._state.letters.bury(summariser.dead_letters)
            self.progress.dead_letters += len(summariser.dead_letters)
            summariser.dead_letters = []
            self._waiting[partition] = self._state.letters.waiting(partition)

    def _see_to_letters(self) -> bool:
        """Append what somebody asked to replay; it is read from the log like everything else."""
        replayed = replay_requested(self._state.letters, self._log)
        if replayed or self._full():  # some may have been discarded
            self._waiting = [self._state.letters.waiting(p) for p in range(self._log.partitions)]
        return replayed > 0

    def _is_full(self, partition: int) -> bool:
        return self._waiting[partition] > self._settings.dead_letters_max

    def _full(self) -> list[int]:
        return [p for p in range(self._log.partitions) if self._is_full(p)]

    def _refuse_when_full(self) -> None:
        limit = self._settings.dead_letters_max
        if full := self._full():
            raise PermanentError(
                "dead_letters_full",
                f"partitions {full} have too many records that cannot be read",
                field="dead_letters_max",
                accepted=f"at most {limit}: holdfast dead-letters list, then replay or discard",
            )

    def _flush(self) -> None:
        """Write decided windows in order; the state follows the last one written."""
        if not self._unwritten:
            return
        self.progress.rows += write_rows(self._sink, self._unwritten)
        batch, self._unwritten = self._unwritten, []
        marks: dict[int, Marked] = {}
        for decided in batch:
            self._positions.update(decided.positions)
            for partition, at in decided.positions.items():
                mark = self._marks.pop((partition, at.offset))
                marks[partition] = Marked(self._log_id, mark)
        self._state.save(
            Snapshot(decider_parts(self.decider), self._positions, marks),
            [v for decided in batch for v in decided.verdicts if is_effect(v)],
        )
        self.progress.windows += len(batch)
        self.progress.decided_until_ms = self.decider.decided_until_ms
        for decided in batch:
            self._on_decided(decided)
        self._trim(batch)

    def _trim(self, batch: list[Decided]) -> None:
        """The store has synced these windows: in time their payloads may go, their ids stay."""
        self._stored.extend(
            (d.window_start_ms, {p: at.offset for p, at in d.positions.items()}) for d in batch
        )
        past_ms = self.decider.decided_until_ms - self._settings.retention_ms
        before: dict[int, int] = {}
        while self._stored and self._stored[0][0] < past_ms:
            before |= self._stored.popleft()[1]
        for partition, offset in before.items():
            self._log.trim(partition, before=offset)
        if before:
            ids_past_ms = self.decider.decided_until_ms - self._clocks.horizon_ms - SKEW_MS
            self._log.forget_batch_ids(before_ms=ids_past_ms)


def write_rows(sink: Sink, batch: Sequence[Decided]) -> int:
    """Write the rows of any number of windows durably; the number of rows.

    Raises TransientError if the store is away: then some are durable; write all of them again.
    """
    rows = [decided.rows for decided in batch]
    return sum(
        sink.write_many(rows[first : first + WRITE_WINDOWS_MAX])
        for first in range(0, len(rows), WRITE_WINDOWS_MAX)
    )


def is_effect(verdict: Verdict) -> bool:
    """Whether somebody must act on it: a breach, an alert, an error, or a recovery."""
    acted_on = (Outcome.BREACH, Outcome.ERROR)
    return verdict.outcome in acted_on or verdict.kind is VerdictKind.RECOVERY


def replay(
    records: Iterable[Record], *, partitions: int, window_ms: int, horizon_ms: int
) -> list[Decided]:
    """Run the stages over records from the log's beginning; the same log gives the same answer."""
    summarisers = [
        Summariser(p, window_ms=window_ms, horizon_ms=horizon_ms) for p in range(partitions)
    ]
    decider = Decider(partitions, window_ms)
    decided: list[Decided] = []
    for record in records:
        decided += decider.step(summarisers[record.partition].step([record]))
    return decided
