"""A checked group -> what each upload is told, and what the log counts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.checks import REASONS, Checked
from ingest.receipt import Outcome, Receipt, Refusal, UploadRefused
from ingest.tallies import Tallies, add
from wire.columns import UploadGroup

_OUTSIDE = Refusal("outside_rollout", "unit_days", 0, "unit days of a rollout that stands")
_NO_GRANT = Refusal("grant_missing", "unit_days", 0, "a batch_id from POST /v1/grants")
_NO_DAY = Refusal(
    "unit_day_out_of_bounds", "unit_days", 0, "day 0, 1, 3 or 7; amounts finite and >= 0"
)
_DAY_AGAIN = Refusal("unit_day_repeated", "unit_days", 0, "one of each day per upload")
_LABEL_AGAIN = Refusal("label_unit_repeated", "outcomes", 0, "one unit per upload, over all ages")
_NO_REPORT = Refusal(
    "feedback_out_of_bounds",
    "outcomes",
    0,
    "label_age_days <= 365; counts <= 1000000; at most one unit, within its count",
)


@dataclass(slots=True)
class Account:
    """`outcomes[i]` for upload `i`; tallies per partition, and of what no record holds."""

    outcomes: list[Outcome]
    kept: dict[int, Tallies]
    pending: Tallies


def account(group: UploadGroup, checked: Checked, partition: Sequence[int]) -> Account:
    """Receipts and tallies. Loops over uploads once; over refused rows by reason, not by row."""
    refusals = _refusals(group, checked)
    accepted = _accepted_rows(group, checked)
    sent = group.n.tolist()
    unknown = group.unknown_fields.tolist()
    beside = _sent_beside(group)
    days, reports = (_ints(counts) for counts in beside)
    made = Account([], _kept(group, checked, partition, *beside), {})
    for i, batch_id in enumerate(group.batch_ids):
        error = checked.refused.get(i)
        if error is not None:
            made.outcomes.append(UploadRefused(error, batch_id, sent[i]))
            counts = {"uploads": 1, "rows": sent[i], "units": days[i], "feedback": reports[i]}
            _count_refused(made.pending, error.code, counts)
            add(made.pending, "fields:unknown_field", unknown[i])
            continue
        refused = refusals.get(i, ())
        if any(_counted_as(refusal.field) == "rows" for refusal in refused):
            add(made.kept[partition[i]], "uploads:partly_rejected")
        made.outcomes.append(Receipt(batch_id, sent[i], accepted[i], tuple(refused), unknown[i]))
        for refusal in refused:
            name = f"{_counted_as(refusal.field)}:rejected:{refusal.code}"
            add(made.kept[partition[i]], name, refusal.rows)
    for i in np.flatnonzero(checked.blanked & checked.upload_kept).tolist():
        add(made.kept[partition[i]], "fields:unknown_rollout")
    for i in np.flatnonzero(checked.ungranted).tolist():
        add(made.kept[partition[i]], "fields:ungranted")
    for i, fields in _folded(group, checked):
        for name in fields:
            add(made.kept[partition[i]], f"fields:unregistered_{name}")
    return made


def _kept(
    group: UploadGroup,
    checked: Checked,
    partition: Sequence[int],
    days: NDArray[np.integer],
    reports: NDArray[np.integer],
) -> dict[int, Tallies]:
    """By partition, what its uploads have sent."""
    of = np.where(checked.upload_kept, np.asarray(partition, np.int64), -1)
    counts: dict[str, NDArray[np.integer]] = {
        "uploads:received": np.ones(len(of), np.int64),
        "rows:received": group.n,
        "units:received": days,
        "feedback:received": reports,
        "fields:unknown_field": group.unknown_fields,
    }
    made: dict[int, Tallies] = {}
    for p in np.unique(of[of >= 0]).tolist():
        mine, tallies = of == p, made.setdefault(p, {})
        for name, count in counts.items():
            add(tallies, name, int(count[mine].sum(dtype=np.int64)))
    return made


def _folded(group: UploadGroup, checked: Checked) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Uploads that say what is not registered, and in which fields."""
    fields = [admitted.folded if admitted else () for admitted in checked.admitted]
    if not any(fields):
        return
    for i in np.flatnonzero(checked.upload_kept).tolist():
        if found := fields[group.context[i]]:
            yield i, found


def _count_refused(pending: Tallies, code: str, counts: Mapping[str, int]) -> None:
    for what, count in counts.items():
        add(pending, f"{what}:received", count)
        add(pending, f"{what}:rejected:{code}", count)


def _counted_as(field: str) -> str:
    return {"unit_days": "units", "outcomes": "feedback"}.get(field, "rows")


def _accepted_rows(group: UploadGroup, checked: Checked) -> list[int]:
    if not checked.reason.any():
        return _ints(group.n)
    stands = checked.row_upload[checked.reason == 0]
    return _ints(np.bincount(stands, minlength=len(group.n)))


def _ints(counts: NDArray[np.integer]) -> list[int]:
    listed: list[int] = counts.tolist()
    return listed


def _sent_beside(group: UploadGroup) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Unit days and outcome reports of each upload."""
    uploads = len(group.batch_ids)
    return (
        np.bincount(group.unit_days.upload, minlength=uploads),
        np.bincount(group.feedback.upload, minlength=uploads),
    )


def _refusals(group: UploadGroup, checked: Checked) -> dict[int, list[Refusal]]:
    found: dict[int, list[Refusal]] = {}
    bad = np.flatnonzero(checked.reason)
    for (upload, reason), rows in _counts(checked.row_upload[bad], checked.reason[bad]):
        why = REASONS[reason]
        found.setdefault(upload, []).append(Refusal(why.code, why.field, rows, why.accepted))
    days = group.unit_days
    if len(days.day):
        outside = ~checked.in_rollout[days.upload]
        again = checked.unit_repeated
        _beside(found, days.upload[~checked.unit_kept & ~again], _NO_DAY)
        _beside(found, days.upload[again], _DAY_AGAIN)
        ungranted = checked.ungranted[days.upload]
        _beside(found, days.upload[checked.unit_kept & outside & ~ungranted], _OUTSIDE)
        _beside(found, days.upload[checked.unit_kept & ungranted], _NO_GRANT)
    again = checked.label_repeated
    _beside(found, group.feedback.upload[~checked.feedback_kept & ~again], _NO_REPORT)
    _beside(found, group.feedback.upload[again], _LABEL_AGAIN)
    return found


def _beside(found: dict[int, list[Refusal]], uploads: NDArray[np.int32], refusal: Refusal) -> None:
    for (upload, _), count in _counts(uploads, np.zeros(len(uploads), np.uint16)):
        found.setdefault(upload, []).append(refusal._replace(rows=count))


def _counts(
    uploads: NDArray[np.integer], reasons: NDArray[np.uint16]
) -> list[tuple[tuple[int, int], int]]:
    if not len(uploads):
        return []
    width = len(REASONS)
    pairs, counts = np.unique(uploads.astype(np.int64) * width + reasons, return_counts=True)
    return [
        (divmod(pair, width), count)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True)
    ]
