"""Rows into the store: columns in, one Arrow insert per table, idempotent by key.

Arrow and not SQL values: no text is built, and the engine reads the columns as they are. Times come
as Unix milliseconds; a list column comes as `Ragged`, or as anything with its two attributes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.tables import TABLES
from wire.errors import PermanentError


@runtime_checkable
class RaggedLike(Protocol):
    """Lists of different lengths, laid end to end."""

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Shape ``(rows + 1,)``; list i is ``values[offsets[i]:offsets[i + 1]]``."""

    @property
    def values(self) -> NDArray[np.integer]:
        """All lists, one after the other."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """Lists of different lengths, laid end to end; see `RaggedLike`."""

    offsets: NDArray[np.int64]
    values: NDArray[np.integer]


Column = Sequence[object] | NDArray[np.generic] | RaggedLike
Rows = Mapping[str, Mapping[str, Column]]


class ArrowSink(Protocol):
    """Takes Arrow rows; `store.client.Client` is one."""

    def insert_arrow(self, table: str, rows: pa.Table) -> None:
        """Insert all rows or none; answered when they are durable."""


_SCALARS: Final = {
    "UInt16": pa.uint16(),
    "UInt32": pa.uint32(),
    "UInt64": pa.uint64(),
    "Int64": pa.int64(),
    "Float64": pa.float64(),
    "String": pa.string(),
    "LowCardinality(String)": pa.string(),
    "DateTime64(3, 'UTC')": pa.timestamp("ms", tz="UTC"),
}


class Writer:
    """Writes the tables of `store.tables` in the database hf_store."""

    def __init__(self, sink: ArrowSink) -> None:
        self._sink = sink

    def write(self, rows: Rows) -> int:
        """Insert the rows of each table; how many rows. Writing them again changes nothing.

        Everything is checked before anything is sent: PermanentError ``unknown_table``,
        ``wrong_columns``, ``wrong_length`` or ``wrong_value``.
        """
        tables = {name: arrow_table(name, columns) for name, columns in rows.items()}
        for name, table in tables.items():
            if table.num_rows:
                self._sink.insert_arrow(f"hf_store.{name}", table)
        return sum(table.num_rows for table in tables.values())


def arrow_table(name: str, columns: Mapping[str, Column]) -> pa.Table:
    """The rows as Arrow with the table's own types, columns in the table's order."""
    wanted = TABLES.get(name)
    if wanted is None:
        raise PermanentError("unknown_table", f"there is no table {name!r}", field=name)
    if set(columns) != set(wanted):
        missing, extra = sorted(set(wanted) - set(columns)), sorted(set(columns) - set(wanted))
        raise PermanentError("wrong_columns", f"{name}: missing {missing}, unknown {extra}")
    arrays = {}
    for column, kind in wanted.items():
        try:
            arrays[column] = _array(kind, columns[column])
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise PermanentError(
                "wrong_value", f"{name}.{column}: {error}", field=column
            ) from error
    lengths = {column: len(array) for column, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise PermanentError("wrong_length", f"{name}: columns of different length: {lengths}")
    return pa.table(arrays)


def _array(kind: str, values: Column) -> pa.Array:
    if match := re.fullmatch(r"Array\((\w+)\)", kind):
        if not isinstance(values, RaggedLike):
            raise TypeError("a list column needs .offsets and .values")
        return _lists(_SCALARS[match.group(1)], values)
    arrow = _SCALARS[kind]
    if pa.types.is_timestamp(arrow):
        return pa.array(np.asarray(values, np.int64), pa.int64()).cast(arrow)
    if pa.types.is_string(arrow):
        return pa.array(values, arrow)
    return pa.array(np.asarray(values)).cast(arrow)


def _lists(arrow: pa.DataType, ragged: RaggedLike) -> pa.Array:
    offsets = np.asarray(ragged.offsets, np.int64)
    flat = np.asarray(ragged.values)
    if (
        not len(offsets)
        or offsets[0] != 0
        or offsets[-1] != len(flat)
        or (np.diff(offsets) < 0).any()
    ):
        raise ValueError("offsets must rise from 0 to the number of values")
    return pa.ListArray.from_arrays(pa.array(offsets).cast(pa.int32()), pa.array(flat).cast(arrow))
