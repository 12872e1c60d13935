"""Checked columns -> what may be kept. Built anew, column by column, of registered things alone.

Nothing is copied through: what is not named here does not reach the log. Event times become
minutes, enrolment times cohorts, and contexts are those that the vocabulary rebuilt. A batch id
should be random, but its 16 bytes are the sender's to choose: what is kept is a digest of them
under a secret, behind the hour in which the upload was made.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ingest.batch_key import NO_KEY, BatchKey
from ingest.checks import Checked
from ingest.ports import LogEntry
from wire.columns import FLOAT_ABSENT_BITS, UINT_ABSENT, UploadGroup
from wire.context import Context
from wire.pb.registry import METRICS
from wire.segment import BATCH_HOUR_BYTES, BATCH_ID, Kind, Segment, encode
from wire.times import HOUR_MS, MINUTE_MS

_FORGOTTEN: Final = Context(*("",) * 3, 0, *("",) * 8)
Columns = dict[str, NDArray[Any]]


def partition_of(batch_ids: bytes, partitions: int) -> NDArray[np.int64]:
    """Partition of each 16-byte batch id: its first four bytes, little-endian, modulo."""
    return (np.frombuffer(batch_ids, "<u4")[::4] % partitions).astype(np.int64)


def kept_batch_ids(
    batch_ids: Sequence[bytes], made_ms: NDArray[np.int64], key: BatchKey = NO_KEY
) -> NDArray[np.void]:
    """What the log keeps of batch ids, shape ``(U,)`` of 16 bytes: equal for equal uploads.

    Its hour, then a digest with nothing to read. A retry keeps both, so it has the same bytes; and
    ids in sorted order lie by age, so that old ones can be put away (`streams.dedup`).
    """
    kept = np.empty((len(batch_ids), BATCH_ID.itemsize), np.uint8)
    hours = (made_ms // HOUR_MS).astype(">u2")  # `wire.segment.batch_hour`
    kept[:, :BATCH_HOUR_BYTES] = hours.view(np.uint8).reshape(-1, BATCH_HOUR_BYTES)
    size = BATCH_ID.itemsize - BATCH_HOUR_BYTES
    keyed = made_ms >= key.since_ms
    if keyed.all():
        digests = key.digests(list(batch_ids), size)
        kept[:, BATCH_HOUR_BYTES:] = np.frombuffer(digests, np.uint8).reshape(-1, size)
        return kept.reshape(-1).view(BATCH_ID)
    for chosen, under in ((keyed, key), (~keyed, NO_KEY)):
        of = np.flatnonzero(chosen)
        if len(of):
            digests = under.digests([batch_ids[i] for i in of.tolist()], size)
            kept[of, BATCH_HOUR_BYTES:] = np.frombuffer(digests, np.uint8).reshape(-1, size)
    return kept.reshape(-1).view(BATCH_ID)


def entries(
    group: UploadGroup,
    checked: Checked,
    *,
    partition: NDArray[np.int64],
    tallies: Mapping[int, Mapping[str, int]],
    arrived_ms: int,
    writer: str,
    cohort_ms: int,
    made_ms: NDArray[np.int64],
    batch_key: BatchKey = NO_KEY,
) -> list[LogEntry]:
    """One log record per partition that accepted uploads fall to; `tallies` are per partition.

    `made_ms` is when each batch id was made, by the upload or by who issued it.
    """
    kept_ids = kept_batch_ids(group.batch_ids, made_ms, batch_key)
    maker = _Segments(group, checked, cohort_ms, kept_ids)
    kept = np.flatnonzero(checked.upload_kept)
    made = []
    for p in np.unique(partition[kept]).tolist():
        uploads = kept[partition[kept] == p]
        segment = maker.segment(uploads, tallies.get(p, {}), arrived_ms, writer)
        ids = segment.uploads["batch_id"].tobytes()
        made.append(LogEntry(p, encode(segment), arrived_ms, ids))
    return made


class _Segments:
    """What all partitions of one group share."""

    def __init__(
        self, group: UploadGroup, checked: Checked, cohort_ms: int, batch_ids: NDArray[np.void]
    ) -> None:
        self._group = group
        self._checked = checked
        self._batch_ids = batch_ids
        self._row_kept = (checked.reason == 0) & checked.upload_kept[checked.row_upload]
        accepted = checked.row_upload[self._row_kept]
        self._n = np.bincount(accepted, minlength=len(group.n)).astype(np.int32)
        cohort = group.enrolled_ms - group.enrolled_ms % cohort_ms
        self._enrolled_ms = np.where(checked.in_rollout, cohort, 0)
        self._enrolled = np.where(checked.in_rollout, group.enrolled != 0, 0).astype(np.uint8)
        self._rows = _row_columns(group, checked)

    def segment(
        self,
        uploads: NDArray[np.int64],
        tallies: Mapping[str, int],
        arrived_ms: int,
        writer: str,
    ) -> Segment:
        group = self._group
        mine = np.zeros(len(group.n), np.bool_)
        mine[uploads] = True
        chosen = self._row_kept & mine[self._checked.row_upload]
        # most groups are taken whole: nothing is copied then
        rows = slice(None) if chosen.all() else np.flatnonzero(chosen)
        contexts, context = self._contexts(group.context[uploads])
        return Segment(
            kind=Kind.TELEMETRY,
            arrived_ms=arrived_ms,
            writer=writer,
            contexts=contexts,
            uploads={
                "batch_id": self._batch_ids[uploads],
                "n": self._n[uploads],
                "received": group.n[uploads],
                "context": context,
                "enrolled": self._enrolled[uploads],
                "enrolled_ms": self._enrolled_ms[uploads],
            },
            rows={
                name: taken
                for name, column in self._rows.items()
                if _is_said(name, taken := column[rows])
            },
            unit_days=self._unit_days(mine),
            feedback=self._feedback(mine),
            tallies=tallies,
        )

    def _contexts(self, context: NDArray[np.int32]) -> tuple[list[Context], NDArray[np.int32]]:
        """The contexts that these uploads use, and each upload's row in them."""
        rebuilt: dict[Context, int] = {}
        at = np.zeros(len(self._group.contexts), np.int32)
        for i in np.unique(context).tolist():
            admitted = self._checked.admitted[i]
            clean = admitted.context if admitted else _FORGOTTEN
            at[i] = rebuilt.setdefault(clean, len(rebuilt))
        return list(rebuilt), at[context]

    def _unit_days(self, mine: NDArray[np.bool_]) -> Columns:
        days = self._group.unit_days
        if not len(days.day):
            return {}
        # a day counts from enrolment: outside a rollout there is none
        kept = self._checked.unit_kept & mine[days.upload] & self._checked.in_rollout[days.upload]
        return {
            "upload": _positions(mine)[days.upload[kept]],
            "day": days.day[kept],
            "errored": (days.errored[kept] != 0).astype(np.uint8),
            "crashed": (days.crashed[kept] != 0).astype(np.uint8),
            "energy_mj": days.energy_mj[kept],
            "data_bytes": days.data_bytes[kept],
        }

    def _feedback(self, mine: NDArray[np.bool_]) -> Columns:
        feedback = self._group.feedback
        if not len(feedback.upload):
            return {}
        kept = self._checked.feedback_kept & mine[feedback.upload]
        bets = self._checked.in_rollout[feedback.upload[kept]]
        return {
            "upload": _positions(mine)[feedback.upload[kept]],
            "label_age_days": feedback.label_age_days[kept],
            "correct": feedback.correct[kept],
            "incorrect": feedback.incorrect[kept],
            "unit_correct": feedback.unit_correct[kept] * bets,
            "unit_incorrect": feedback.unit_incorrect[kept] * bets,
        }


def _row_columns(group: UploadGroup, checked: Checked) -> Columns:
    bets = group.columns["unit_bet"].astype(np.uint8)
    if bets.any():
        bets *= checked.in_rollout[checked.row_upload]
    return {
        "event_minute": (checked.event_ms // MINUTE_MS).astype(np.int32),
        "unit_bet": bets,
        **{m.column: group.columns[m.column] for m in METRICS},
    }


def _is_said(name: str, column: NDArray[Any]) -> bool:
    """Does any row of the column hold a value? A column of absences is left out."""
    if name in ("event_minute", "unit_bet"):
        return True
    absent = FLOAT_ABSENT_BITS if column.dtype.kind == "f" else UINT_ABSENT
    return bool((column.view("<u4") != absent).any())


def _positions(mine: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Row of each upload of the group in its segment."""
    return (np.cumsum(mine) - 1).astype(np.int32)
