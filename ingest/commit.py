"""One commit group: decode, check, anonymise, append. Runs in one thread, a group at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ingest.account import account
from ingest.anonymise import entries, partition_of
from ingest.batch_key import NO_KEY, BatchKey
from ingest.checks import check
from ingest.grants import Grants, life_ms
from ingest.ports import DesiredSource, Log, LogEntry
from ingest.receipt import Outcome, UploadRefused
from ingest.tallies import Tallies, add, merge
from ingest.vocabulary import Vocabulary
from wire.columns import Decoded
from wire.decode import Encoding, decode_group
from wire.desired import Desired
from wire.errors import PermanentError, TransientError
from wire.segment import Kind, Segment, encode


class Sent(NamedTuple):
    """An upload's bytes, decompressed, and the app that its key is bound to."""

    encoding: Encoding
    body: bytes
    app_id: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What a group comes to before anything is written.

    `pending` is what no record of it holds; `counted` is all that was counted anew.
    """

    outcomes: list[Outcome]
    written: list[LogEntry]
    pending: Tallies
    counted: Tallies


class Committer:
    """Writes groups to the log. Keeps what the log does not hold yet: pending tallies."""

    def __init__(
        self,
        *,
        log: Log,
        desired: DesiredSource,
        now_ms: Callable[[], int],
        writer: str,
        batch_key: BatchKey = NO_KEY,
    ) -> None:
        self._batch_key = batch_key
        self.grants = Grants(batch_key)
        self.totals: Tallies = {}
        self.groups = 0
        self.appends_failed = 0
        self.is_log_failing = False
        self._log = log
        self._desired = desired
        self._now_ms = now_ms
        self._writer = writer
        self._pending: Tallies = {}
        self._known: tuple[Desired, Vocabulary] | None = None

    def commit(
        self, group: Sequence[Sent], *, early: Tallies, with_tick: bool
    ) -> list[Outcome] | TransientError:
        """Outcomes in order, all durable; or one error for all. Then none has a receipt; a log of
        several brokers may have written some, which the dedup index knows when they come again.

        `early` counts what was refused before it came here.
        """
        merge(self._pending, early)
        merge(self.totals, early)
        arrived_ms = self._now_ms()
        try:
            judged = self.judge(group, arrived_ms, self._pending)
            ticks = self._ticks(judged.pending, arrived_ms) if with_tick else []
            if judged.written or ticks:
                self._append([*judged.written, *ticks])
        except TransientError as error:
            return error
        self._pending = {} if ticks else judged.pending
        merge(self.totals, judged.counted)
        self.groups += 1
        return judged.outcomes

    def judge(self, group: Sequence[Sent], arrived_ms: int, pending: Tallies) -> Judged:
        """Everything but the append. `pending` tallies ride in the first record if there is one."""
        if not group:
            return Judged([], [], dict(pending), {})
        try:
            with np.errstate(all="ignore"):  # absurd numbers are refused by value, not by a trap
                return self._judge(group, arrived_ms, pending)
        except (TransientError, MemoryError):
            raise
        except Exception:  # noqa: BLE001  # the batch loop: input must never end it
            if len(group) == 1:
                return _undecodable(pending)
            half = len(group) // 2
            first = self.judge(group[:half], arrived_ms, pending)
            second = self.judge(group[half:], arrived_ms, first.pending)
            counted = dict(first.counted)
            merge(counted, second.counted)
            return Judged(
                first.outcomes + second.outcomes,
                first.written + second.written,
                second.pending,
                counted,
            )

    def _judge(self, group: Sequence[Sent], arrived_ms: int, pending: Tallies) -> Judged:
        vocabulary = self._vocabulary()
        decoded = decode_group([(sent.encoding, sent.body) for sent in group])
        uploads = decoded.group
        apps = [sent.app_id for sent, at in zip(group, decoded.index, strict=True) if at >= 0]
        policy = vocabulary.policy
        spent = self.grants.spent(
            uploads.batch_ids,
            apps,
            uploads.created_ms,
            now_ms=arrived_ms,
            life_ms=life_ms(policy.accepted_age_ms),
        )
        counts = spent.is_granted if policy.proof == "grant" else None
        checked = check(uploads, apps, vocabulary, arrived_ms, counts=counts)
        partition = partition_of(b"".join(uploads.batch_ids), self._log.partitions)
        made = account(uploads, checked, partition.tolist())
        counted = dict(made.pending)
        for error in decoded.errors.values():
            add(counted, "uploads:received")
            add(counted, f"uploads:rejected:{error.code}")
        waiting = dict(pending)
        merge(waiting, counted)
        for tallies in made.kept.values():
            merge(counted, tallies)
        if made.kept:
            merge(made.kept[min(made.kept)], waiting)
            waiting = {}
        written = entries(
            uploads,
            checked,
            partition=partition,
            tallies=made.kept,
            arrived_ms=arrived_ms,
            writer=self._writer,
            cohort_ms=policy.cohort_ms,
            made_ms=spent.made_ms,
            batch_key=self._batch_key,
        )
        return Judged(_in_order(decoded, made.outcomes), written, waiting, counted)

    def _append(self, records: Sequence[LogEntry]) -> None:
        try:
            self._log.append(records)
        except TransientError:
            self.appends_failed += 1
            self.is_log_failing = True
            raise
        self.is_log_failing = False

    def _ticks(self, pending: Tallies, arrived_ms: int) -> list[LogEntry]:
        return [
            LogEntry(
                partition,
                encode(
                    Segment(
                        Kind.TICK,
                        arrived_ms,
                        self._writer,
                        tallies=pending if not partition else {},
                    )
                ),
                arrived_ms,
            )
            for partition in range(self._log.partitions)
        ]

    def _vocabulary(self) -> Vocabulary:
        desired = self._desired.current()
        if desired is None:
            raise TransientError("desired_state_missing", "no desired state has been read yet")
        if self._known is None or self._known[0] is not desired:
            self._known = (desired, Vocabulary(desired))
        return self._known[1]


def _in_order(decoded: Decoded, outcomes: Sequence[Outcome]) -> list[Outcome]:
    if not decoded.errors:
        return list(outcomes)
    return [
        outcomes[at] if at >= 0 else UploadRefused(decoded.errors[i])
        for i, at in enumerate(decoded.index)
    ]


def _undecodable(pending: Tallies) -> Judged:
    error = PermanentError("undecodable", "the upload could not be read")
    counted = {"uploads:received": 1, "uploads:rejected:undecodable": 1}
    waiting = dict(pending)
    merge(waiting, counted)
    return Judged([UploadRefused(error)], [], waiting, counted)
