"""Uploads in pieces -> one set of columns."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wire.columns import FLOAT_ABSENT_BITS, UINT_ABSENT, Feedback, UnitDays, UploadGroup
from wire.context import Context
from wire.errors import PermanentError
from wire.pb.registry import METRICS

ROWS_MAX: Final = 10_000
"""Observations in one upload; more is refused as ``rows_max``."""
REPORTS_MAX: Final = 1_000
"""Unit days, and outcome reports, in one upload; more is refused as ``reports_max``."""
BARE_ROWS_MAX: Final = 256
"""Observations of an upload that says nothing of them; more is refused as ``rows_max``, or a
hundred bytes would be worth 10,000 rows."""
BATCH_ID_BYTES: Final = 16

COLUMNS: Final[tuple[str, ...]] = ("event_offset_ms", "unit_bet", *(m.column for m in METRICS))
"""Column names in the order of `Pieces.columns`."""
DTYPES: Final = (
    np.dtype("<u4"),
    np.dtype("<u4"),
    *(np.dtype("<f4" if m.wire == "float" else "<u4") for m in METRICS),
)
_FILL: Final = (0, 0, *(FLOAT_ABSENT_BITS if m.wire == "float" else UINT_ABSENT for m in METRICS))
_ABSENT: Final = tuple(np.full(ROWS_MAX, bits, "<u4").tobytes() for bits in _FILL)

UnitDay = tuple[int, int, int, float, float]
Outcomes = tuple[int, int, int, int, int]


class Pieces(NamedTuple):
    """One upload, decoded as far as is cheap: each column's bytes, 4 n of them, or empty."""

    batch_id: bytes
    created_ms: int
    n: int
    context: Context
    enrolled: int
    enrolled_ms: int
    unknown_fields: int
    columns: tuple[bytes, ...]
    unit_days: list[UnitDay]
    outcomes: list[Outcomes]


class Gather:
    """Collects pieces; `group` joins each column once."""

    def __init__(self) -> None:
        self._uploads: list[Pieces] = []
        self._contexts: dict[int, tuple[int, Context]] = {}  # by identity: hashing costs more

    def add(self, pieces: Pieces) -> int:
        """Take one upload in, and give its row. Refuses what no encoding may say."""
        if len(pieces.batch_id) != BATCH_ID_BYTES:
            raise PermanentError(
                "batch_id_length",
                f"batch_id has {len(pieces.batch_id)} bytes",
                field="batch_id",
                accepted="16 random bytes",
            )
        check_rows(pieces.n)
        if pieces.n > BARE_ROWS_MAX and not any(pieces.columns):
            raise PermanentError(
                "rows_max",
                f"the upload has {pieces.n} observations and no column",
                field="n",
                accepted=f"at most {BARE_ROWS_MAX} without a column",
            )
        context = pieces.context
        if id(context) not in self._contexts:  # alive as long as its upload is held here
            self._contexts[id(context)] = (len(self._contexts), context)
        self._uploads.append(pieces)
        return len(self._uploads) - 1

    def group(self) -> UploadGroup:
        """Everything taken in, as columns."""
        uploads = self._uploads
        n = [u.n for u in uploads]
        sent = zip(*[u.columns for u in uploads], strict=True) if uploads else ((),) * len(COLUMNS)
        joined = {
            name: _join(parts, n, c)
            for c, (name, parts) in enumerate(zip(COLUMNS, sent, strict=True))
        }
        return UploadGroup(
            batch_ids=[u.batch_id for u in uploads],
            # a fixed64 above 2**63 is a time that no clock has: keep it absurd, not negative
            created_ms=np.array([min(u.created_ms, 2**62) for u in uploads], np.int64),
            n=np.array(n, np.int32),
            context=np.array([self._contexts[id(u.context)][0] for u in uploads], np.int32),
            contexts=[context for _, context in self._contexts.values()],
            enrolled=np.array([u.enrolled for u in uploads], np.uint8),
            enrolled_ms=np.array([min(u.enrolled_ms, 2**62) for u in uploads], np.int64),
            unknown_fields=np.array([u.unknown_fields for u in uploads], np.int32),
            columns=joined,
            unit_days=_unit_days(uploads),
            feedback=_feedback(uploads),
        )


def check_rows(n: int) -> None:
    """Refuse more observations than one upload may carry."""
    if n > ROWS_MAX:
        raise PermanentError(
            "rows_max",
            f"the upload has {n} observations",
            field="n",
            accepted=f"at most {ROWS_MAX}",
        )


def check_reports(field: str, count: int) -> None:
    """Refuse more unit days or outcome reports than one upload may carry."""
    if count > REPORTS_MAX:
        raise PermanentError(
            "reports_max",
            f"the upload has {count} {field}",
            field=field,
            accepted=f"at most {REPORTS_MAX}",
        )


def unknown_fields_max(accepted: str) -> PermanentError:
    """The error of an upload that is mostly what no schema names."""
    return PermanentError(
        "unknown_fields_max",
        "the upload has too many fields that the schema does not have",
        accepted=f"at most {accepted} of fields that the schema does not have",
    )


def _join(parts: tuple[bytes, ...], n: list[int], column: int) -> NDArray[Any]:
    if not all(parts):
        absent = _ABSENT[column]
        parts = tuple([b or absent[: 4 * k] for b, k in zip(parts, n, strict=True)])
    return np.frombuffer(b"".join(parts), DTYPES[column])


def _unit_days(uploads: list[Pieces]) -> UnitDays:
    table = [(i, *day) for i, u in enumerate(uploads) for day in u.unit_days]
    upload, day, errored, crashed, energy, nbytes = zip(*table, strict=True) if table else ((),) * 6
    return UnitDays(
        upload=np.array(upload, np.int32),
        day=np.array(day, np.int64).clip(0, 2**31 - 1).astype(np.int32),
        errored=np.array(errored, np.uint8),
        crashed=np.array(crashed, np.uint8),
        energy_mj=np.array(energy, np.float32),
        data_bytes=np.array(nbytes, np.float32),
    )


def _feedback(uploads: list[Pieces]) -> Feedback:
    table = [(i, *counts) for i, u in enumerate(uploads) for counts in u.outcomes]
    columns = np.array(table, np.int64).reshape(-1, 6).T
    return Feedback(
        upload=columns[0].astype(np.int32),
        label_age_days=columns[1].clip(0, 2**31 - 1).astype(np.int32),
        correct=columns[2],
        incorrect=columns[3],
        unit_correct=columns[4],
        unit_incorrect=columns[5],
    )
