"""Can this segment be counted? Asked before any of it is: half a segment must not be.

Ingest writes none that cannot. But what ends the stage at one record ends it at every restart, so
a record that a faulty writer made, or a disk has spoilt, is buried and the rest goes on.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from wire.columns import UINT_ABSENT
from wire.desired import from_json
from wire.errors import PermanentError
from wire.pb.registry import METRICS
from wire.segment import (
    FEEDBACK_COLUMNS,
    UNIT_DAY_COLUMNS,
    UPLOAD_COLUMNS,
    Column,
    Kind,
    Segment,
)
from wire.times import MINUTE_MS

_AHEAD_MINUTES: Final = 5
_BEHIND_MINUTES: Final = 400 * 1440  # more than any accepted age
_LABELS_MAX: Final = 1_000_000
_AMOUNT_MAX: Final = 1e13
_NEEDED: Final = {
    "uploads": frozenset(UPLOAD_COLUMNS),
    "rows": frozenset(("event_minute", "unit_bet")),
    "unit_days": frozenset(UNIT_DAY_COLUMNS),
    "feedback": frozenset(FEEDBACK_COLUMNS),
}


def check_usable(segment: Segment) -> None:
    """Raise PermanentError ``segment_inconsistent`` if the stages could not count it."""
    if segment.kind is Kind.CONTROL:
        try:
            from_json(segment.control)
        except msgspec.MsgspecError as error:
            raise _inconsistent("control is not a desired state") from error
    elif segment.kind is Kind.TELEMETRY:
        _check_columns(segment)
        _check_references(segment)
        _check_minutes(segment)
        _check_values(segment)


def _check_columns(segment: Segment) -> None:
    for name, needed in _NEEDED.items():
        table: Mapping[str, Column] = getattr(segment, name)
        if (table or name == "uploads") and not needed <= table.keys():
            raise _inconsistent(f"{name} lacks {', '.join(sorted(needed - table.keys()))}")
    n = segment.uploads["n"]
    if _outside(n, 0, 2**31) or (n.sum() and not segment.rows):
        raise _inconsistent("uploads have rows that are not there")


def _check_references(segment: Segment) -> None:
    uploads = len(segment.uploads["n"])
    if _outside(segment.uploads["context"], 0, len(segment.contexts)):
        raise _inconsistent("an upload names a context that is not there")
    for name in ("unit_days", "feedback"):
        table: Mapping[str, Column] = getattr(segment, name)
        if table and _outside(table["upload"], 0, uploads):
            raise _inconsistent(f"{name} names an upload that is not there")
    for name in FEEDBACK_COLUMNS.keys() - {"upload"} if segment.feedback else ():
        if _outside(segment.feedback[name], 0, _LABELS_MAX + 1):
            raise _inconsistent(f"feedback says an impossible {name}")


def _check_minutes(segment: Segment) -> None:
    if segment.rows:
        now = segment.arrived_ms // MINUTE_MS
        if _outside(segment.rows["event_minute"], now - _BEHIND_MINUTES, now + _AHEAD_MINUTES):
            raise _inconsistent("a row lies at an impossible minute")


def _check_values(segment: Segment) -> None:
    """Sums are integers of 64 bits: a value beyond its metric's bounds could overflow them."""
    for metric in METRICS:
        column = segment.rows.get(metric.column)
        if column is not None and len(column):
            absent = np.isnan(column) if column.dtype.kind == "f" else column == UINT_ABSENT
            if not _within(column, absent, metric.low, metric.high):
                raise _inconsistent(f"{metric.column} is out of bounds")
    for name in ("energy_mj", "data_bytes"):
        column = segment.unit_days.get(name)
        if column is not None and not _within(column, np.isnan(column), 0.0, _AMOUNT_MAX):
            raise _inconsistent(f"{name} of a unit day is out of bounds")


def _within(column: Column, absent: NDArray[np.bool_], low: float, high: float) -> bool:
    """Whether every value that is there lies in ``[low, high]``."""
    if absent.any():
        column = column[~absent]
    return not len(column) or low <= column.min() <= column.max() <= high


def _outside(column: Column, least: int, end: int) -> bool:
    """Whether any value is not in ``[least, end)``."""
    return bool(len(column)) and not least <= int(column.min()) <= int(column.max()) < end


def _inconsistent(detail: str) -> PermanentError:
    return PermanentError("segment_inconsistent", detail)
