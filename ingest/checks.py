"""Is what an upload says possible? Vectorised: once per commit group, never per row.

Whole uploads are refused for their key, context or clock; single rows for their values. (A row
cannot lie further ahead than its upload: offsets only point back, so ``created_in_future`` is the
one check of the future.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.vocabulary import Admitted, Vocabulary
from wire.columns import FLOAT_ABSENT_BITS, UINT_ABSENT, Feedback, UnitDays, UploadGroup
from wire.errors import PermanentError
from wire.pb.registry import METRICS

AHEAD_MAX_MS: Final = 60_000
ENROLLED_AGE_MAX_MS: Final = 90 * 86_400_000
UNIT_DAYS: Final = (0, 1, 3, 7)
UNIT_ENERGY_MJ_MAX: Final = 1e10  # 100 W for a day
UNIT_DATA_BYTES_MAX: Final = 1e13
LABEL_AGE_DAYS_MAX: Final = 365
LABELS_MAX: Final = 1_000_000

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row is refused."""

    code: str
    field: str
    accepted: str


def _reasons() -> tuple[Reason, ...]:
    fixed = (
        Reason("", "", ""),  # 0: the row is accepted
        Reason("event_too_old", "event_offset_ms", "no older than the policy's accepted_age_ms"),
        Reason("unit_bet_not_a_flag", "unit_bet", "0 or 1"),
        Reason("unit_bet_repeated", "unit_bet", "one betting event per upload"),
        Reason("class_not_registered", "prediction_class", "below the release's class_groups"),
    )
    bounds = [f"{m.low:g} to {m.high:g} {m.unit}" for m in METRICS]
    return (
        *fixed,
        *(
            Reason("metric_out_of_bounds", m.column, b)
            for m, b in zip(METRICS, bounds, strict=True)
        ),
        *(Reason("metric_not_finite", m.column, b) for m, b in zip(METRICS, bounds, strict=True)),
    )


REASONS: Final = _reasons()
_TOO_OLD, _NOT_A_FLAG, _REPEATED, _NO_CLASS, _FIRST_BOUND = 1, 2, 3, 4, 5
_FIRST_NOT_FINITE: Final = _FIRST_BOUND + len(METRICS)


@dataclass(frozen=True, slots=True)
class Checked:
    """What stands of a group. `reason[r]` is 0 for an accepted row, else a row of `REASONS`."""

    refused: dict[int, PermanentError]
    admitted: list[Admitted | None]  # per context of the group; None = refused
    upload_kept: Bools
    in_rollout: Bools  # per upload
    ungranted: Bools  # says a unit that does not count, for want of a grant: its rows are kept
    blanked: Bools  # per upload
    row_upload: NDArray[np.int64]
    event_ms: NDArray[np.int64]
    reason: NDArray[np.uint16]
    unit_kept: Bools
    unit_repeated: Bools  # of the possible ones
    feedback_kept: Bools
    label_repeated: Bools  # of the possible ones


def check(
    group: UploadGroup,
    apps: Sequence[str],
    vocabulary: Vocabulary,
    arrived_ms: int,
    *,
    counts: Bools | None = None,
) -> Checked:
    """Check a decoded group; `apps[i]` is the app that upload `i`'s key is bound to.

    `counts[i]` says whether it may count in a verdict; None: each may.
    """
    found = [vocabulary.check(c) for c in group.contexts]
    admitted = [a if isinstance(a, Admitted) else None for a in found]
    age_ms = vocabulary.policy.accepted_age_ms
    refused = _refused_uploads(group, apps, found)
    _refuse_clocks(group, refused, arrived_ms, age_ms)
    kept = np.ones(len(group.batch_ids), np.bool_)
    kept[list(refused)] = False
    upload = np.repeat(np.arange(len(kept)), group.n)
    event_ms = np.repeat(group.created_ms, group.n)
    event_ms = event_ms - group.columns["event_offset_ms"].astype(np.int64)
    reason = np.zeros(len(upload), np.uint16)
    _mark(reason, event_ms < arrived_ms - age_ms, _TOO_OLD)
    _mark_values(reason, group)
    classes = np.array([a.class_groups if a else 0 for a in admitted], np.int64)
    _mark_classes(reason, group, classes)
    in_rollout = np.array([a is not None and a.in_rollout for a in admitted], np.bool_)
    _mark_bets(reason, group, upload, in_rollout)
    blanked = np.array([a is not None and a.blanked for a in admitted], np.bool_)
    days, feedback = group.unit_days, group.feedback
    day_possible, report_possible = _possible_days(days), _possible_feedback(feedback)
    day_again = _again(days.upload.astype(np.int64) << 32 | days.day, day_possible)
    says_unit = report_possible & (feedback.unit_correct + feedback.unit_incorrect > 0)
    label_again = _again(feedback.upload.astype(np.int64), says_unit)
    offered = in_rollout[group.context]
    granted = np.ones(len(kept), np.bool_) if counts is None else counts
    ungranted = offered & ~granted & kept
    if ungranted.any():
        ungranted &= _says_unit(group, upload)
    return Checked(
        refused=refused,
        admitted=admitted,
        upload_kept=kept,
        in_rollout=offered & granted,
        ungranted=ungranted,
        blanked=blanked[group.context],
        row_upload=upload,
        event_ms=event_ms,
        reason=reason,
        unit_kept=day_possible & ~day_again,
        unit_repeated=day_again,
        feedback_kept=report_possible & ~label_again,
        label_repeated=label_again,
    )


def _refused_uploads(
    group: UploadGroup, apps: Sequence[str], found: Sequence[Admitted | PermanentError]
) -> dict[int, PermanentError]:
    names = [c.app_id for c in group.contexts]
    refused: dict[int, PermanentError] = {}
    for i, context in enumerate(group.context.tolist()):
        if names[context] != apps[i]:
            refused[i] = PermanentError(
                "key_other_app",
                "the key is bound to another app",
                field="context.app_id",
                accepted=apps[i],
            )
        elif isinstance(error := found[context], PermanentError):
            refused[i] = error
    return refused


def _refuse_clocks(
    group: UploadGroup, refused: dict[int, PermanentError], arrived_ms: int, age_ms: int
) -> None:
    created, enrolled = group.created_ms, group.enrolled_ms
    oldest, newest = arrived_ms - age_ms, arrived_ms + AHEAD_MAX_MS
    needed = group.enrolled != 0
    impossible = (enrolled != 0) & (
        (enrolled > newest) | (enrolled < arrived_ms - ENROLLED_AGE_MAX_MS)
    )
    for wrong, code, name, accepted in (
        (created < oldest, "created_too_old", "created_ms", f"at most {age_ms} ms ago"),
        (created > newest, "created_in_future", "created_ms", f"at most {AHEAD_MAX_MS} ms ahead"),
        (impossible, "enrolled_ms_out_of_bounds", "enrolled_ms", "the last 90 days"),
        (
            needed & (enrolled == 0),
            "enrolled_ms_missing",
            "enrolled_ms",
            "the time of enrolment, with enrolled",
        ),
    ):
        for i in np.flatnonzero(wrong).tolist() if wrong.any() else ():
            refused.setdefault(
                i, PermanentError(code, f"{name} is not possible", field=name, accepted=accepted)
            )


def _mark(reason: NDArray[np.uint16], wrong: Bools, code: int) -> None:
    """The first reason found stays."""
    if wrong.any():
        reason[wrong & (reason == 0)] = code


def _mark_values(reason: NDArray[np.uint16], group: UploadGroup) -> None:
    for m, metric in enumerate(METRICS):
        column = group.columns[metric.column]
        if column.dtype.kind == "f":
            wrong = ~((column >= metric.low) & (column <= metric.high))  # NaN too
            if wrong.any():
                wrong &= column.view("<u4") != FLOAT_ABSENT_BITS
                _mark(reason, wrong & ~np.isfinite(column), _FIRST_NOT_FINITE + m)
                _mark(reason, wrong, _FIRST_BOUND + m)
        else:
            wrong = column > metric.high
            if metric.low > 0:
                wrong |= column < metric.low
            if wrong.any():
                _mark(reason, wrong & (column != UINT_ABSENT), _FIRST_BOUND + m)


def _mark_classes(
    reason: NDArray[np.uint16], group: UploadGroup, class_groups: NDArray[np.int64]
) -> None:
    if not class_groups.any():
        return
    limit = np.where(class_groups > 0, class_groups, UINT_ABSENT)[group.context]
    column = group.columns["prediction_class"]
    _mark(reason, (column >= np.repeat(limit, group.n)) & (column != UINT_ABSENT), _NO_CLASS)


def _mark_bets(
    reason: NDArray[np.uint16],
    group: UploadGroup,
    upload: NDArray[np.int64],
    in_rollout: Bools,
) -> None:
    """An installation bets once per rollout, so an upload has one betting event at most."""
    bet = group.columns["unit_bet"]
    at = np.flatnonzero(bet)
    if not len(at):
        return
    _mark(reason, bet > 1, _NOT_A_FLAG)
    repeated = np.zeros(len(bet), np.bool_)
    repeated[at[1:]] = upload[at[1:]] == upload[at[:-1]]
    _mark(reason, repeated & in_rollout[group.context][upload], _REPEATED)


def _again(key: NDArray[np.int64], counts: Bools) -> Bools:
    """Which of the rows that count come after another of the same key: an upload is one phone."""
    again = np.zeros(len(key), np.bool_)
    if not len(key):
        return again
    at = np.flatnonzero(counts)
    if len(at):
        _, first = np.unique(key[at], return_index=True)
        again[np.delete(at, first)] = True
    return again


def _says_unit(group: UploadGroup, upload: NDArray[np.int64]) -> Bools:
    """Which uploads say something that would count in a verdict."""
    says: Bools = group.enrolled != 0
    says[upload[np.flatnonzero(group.columns["unit_bet"])]] = True
    says[group.unit_days.upload] = True
    feedback = group.feedback
    says[feedback.upload[feedback.unit_correct + feedback.unit_incorrect > 0]] = True
    return says


def _possible_days(days: UnitDays) -> Bools:
    if not len(days.day):
        return np.ones(0, np.bool_)
    return (
        np.isin(days.day, UNIT_DAYS)
        & _amount(days.energy_mj, UNIT_ENERGY_MJ_MAX)
        & _amount(days.data_bytes, UNIT_DATA_BYTES_MAX)
    )


def _amount(column: NDArray[np.float32], most: float) -> Bools:
    is_absent: Bools = column.view("<u4") == FLOAT_ABSENT_BITS
    return is_absent | ((column >= 0) & (column <= most))


def _possible_feedback(feedback: Feedback) -> Bools:
    possible: Bools = (
        (feedback.label_age_days <= LABEL_AGE_DAYS_MAX)
        & (feedback.correct <= LABELS_MAX)
        & (feedback.incorrect <= LABELS_MAX)
        & (feedback.unit_correct <= feedback.correct)
        & (feedback.unit_incorrect <= feedback.incorrect)
        & (feedback.unit_correct + feedback.unit_incorrect <= 1)
    )
    return possible
