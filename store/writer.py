"""Rows into the store: columns in, one Arrow insert per table, idempotent by key.

Arrow and not SQL values: no text is built, and the engine reads the columns as they are. Times come
as Unix milliseconds; a list column comes as `Ragged`, or as anything with its two attributes.
Arrays are laid over numpy's memory by hand, because `pyarrow.array` imports pandas (60 MB).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.pace import MOST, Pace
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


@runtime_checkable
class CodedLike(Protocol):
    """Few names, told by number."""

    @property
    def codes(self) -> NDArray[np.int32]:
        """Row i holds ``names[codes[i]]``."""

    @property
    def names(self) -> Sequence[str]:
        """Distinct names."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """Lists of different lengths, laid end to end; see `RaggedLike`."""

    offsets: NDArray[np.int64]
    values: NDArray[np.integer]


Column = Sequence[object] | NDArray[np.generic] | RaggedLike | CodedLike
Rows = Mapping[str, Mapping[str, Column]]


class Releases(Protocol):
    """Told which windows are stored; `store.released.Released` is one."""

    def stored(self, starts_ms: Iterable[int]) -> None:
        """Windows of these starts are stored, and all before them."""


class ArrowSink(Protocol):
    """Takes Arrow rows; `store.client.Client` is one."""

    def insert_arrow(self, table: str, rows: pa.Table) -> None:
        """Insert all rows or none; answered when they are durable."""


_NUMBERS: Final = {
    "UInt16": (np.uint16, pa.uint16()),
    "UInt32": (np.uint32, pa.uint32()),
    "UInt64": (np.uint64, pa.uint64()),
    "Int64": (np.int64, pa.int64()),
    "Float64": (np.float64, pa.float64()),
    "DateTime64(3, 'UTC')": (np.int64, pa.timestamp("ms", tz="UTC")),
}
_INSERT_ROWS: Final = 50_000  # from here on an insert's own price no longer matters
_FLAT_BYTES_MAX: Final = 2**31 - 1  # of one text column or one flattened list column of an insert


class Writer:
    """Writes the tables of `store.tables` in the database hf_store.

    `pace` says how many inserts may be under way. Threads come with the first need of them.
    `releases` is told of each window once it is durable, before `write_many` answers.
    """

    def __init__(
        self, sink: ArrowSink, pace: Pace | None = None, releases: Releases | None = None
    ) -> None:
        self._releases = releases
        self._sink = sink
        self._pace = pace or Pace()
        self._threads: ThreadPoolExecutor | None = None

    def write(self, rows: Rows) -> int:
        """Insert the rows of each table; how many rows. Writing them again changes nothing.

        Everything is checked before anything is sent: PermanentError ``unknown_table``,
        ``wrong_columns``, ``wrong_length`` or ``wrong_value``.
        """
        return self.write_many([rows])

    def write_many(self, windows: Sequence[Rows]) -> int:
        """Insert the rows of several windows, several inserts at once; how many rows.

        Answered when all are durable. After an error some of them are; all may be written again.
        """
        inserts = joined(windows)
        if len(inserts) == 1:
            self._sink.insert_arrow(*inserts[0])
        elif inserts:
            self._insert_all(inserts)
        if self._releases is not None:
            self._releases.stored(_starts(windows))
        return sum(table.num_rows for _, table in inserts)

    def _insert_all(self, inserts: Iterable[tuple[str, pa.Table]]) -> None:
        self._threads = self._threads or ThreadPoolExecutor(MOST, "store-insert")
        under_way: set[Future[None]] = set()
        errors: list[BaseException] = []
        for name, table in inserts:
            while len(under_way) >= self._pace.limit and not errors:
                under_way = self._some_ended(under_way, errors)
            if errors:
                break
            under_way.add(self._threads.submit(self._sink.insert_arrow, name, table))
        while under_way:
            under_way = self._some_ended(under_way, errors)
        try:
            if errors:
                raise errors[0]
        finally:
            errors.clear()  # or the tables of this frame would stay with the error that it raises

    def _some_ended(
        self, under_way: set[Future[None]], errors: list[BaseException]
    ) -> set[Future[None]]:
        ended, rest = wait(under_way, return_when=FIRST_COMPLETED)
        for insert in ended:
            if (error := insert.exception()) is not None:
                errors.append(error)
            else:
                self._pace.succeeded()
        return rest


def _starts(windows: Sequence[Rows]) -> set[int]:
    columns = (
        np.asarray(w["metric_window"]["window_start"]) for w in windows if "metric_window" in w
    )
    return {int(start) for column in columns for start in np.unique(column)}


def joined(windows: Sequence[Rows]) -> list[tuple[str, pa.Table]]:
    """(table, rows) of each insert: small windows together, since an insert has its own price."""
    waiting: dict[str, list[pa.Table]] = {}
    inserts: list[tuple[str, pa.Table]] = []
    for rows in windows:
        for name, columns in rows.items():
            table = arrow_table(name, columns)
            if not table.num_rows:
                continue
            parts = waiting.setdefault(f"hf_store.{name}", [])
            parts.append(table)
            if sum(part.num_rows for part in parts) >= _INSERT_ROWS:
                inserts.append((f"hf_store.{name}", _as_one(parts)))
                parts.clear()
    return inserts + [(name, _as_one(parts)) for name, parts in waiting.items() if parts]


def _as_one(parts: list[pa.Table]) -> pa.Table:
    if len(parts) == 1:
        return parts[0]
    return pa.concat_tables(parts).unify_dictionaries().combine_chunks()


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
        except (ValueError, TypeError, OverflowError) as error:
            raise PermanentError(
                "wrong_value", f"{name}.{column}: {error}", field=column
            ) from error
    lengths = {column: len(array) for column, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise PermanentError("wrong_length", f"{name}: columns of different length: {lengths}")
    return pa.Table.from_arrays(list(arrays.values()), names=list(arrays))


def _array(kind: str, values: Column) -> pa.Array:
    if match := re.fullmatch(r"Array\((\w+)\)", kind):
        if not isinstance(values, RaggedLike):
            raise TypeError("a list column needs .offsets and .values")
        return _lists(match.group(1), values)
    if isinstance(values, RaggedLike):
        raise TypeError("this is no list column")
    if isinstance(values, CodedLike):
        return _coded(kind, values)
    if kind in _NUMBERS:
        return _numbers(kind, values)
    texts: Sequence[object] = values.tolist() if isinstance(values, np.ndarray) else values
    if kind == "String":
        return _texts(texts)
    vocabulary: dict[object, int] = {}
    codes = [vocabulary.setdefault(text, len(vocabulary)) for text in texts]
    return pa.DictionaryArray.from_arrays(
        _laid_over(np.array(codes, np.int32), pa.int32()), _texts(list(vocabulary))
    )


def _coded(kind: str, values: CodedLike) -> pa.Array:
    codes = np.asarray(values.codes)
    if kind in _NUMBERS or (codes.size and not 0 <= codes.min() <= codes.max() < len(values.names)):
        raise ValueError("names are told by their number, in a text column")
    return pa.DictionaryArray.from_arrays(
        _laid_over(np.ascontiguousarray(codes, np.int32), pa.int32()), _texts(list(values.names))
    )


def _numbers(kind: str, values: Sequence[object] | NDArray[np.generic]) -> pa.Array:
    wanted, arrow = _NUMBERS[kind]
    given = np.asarray(values)
    if given.ndim != 1:
        raise ValueError("one number per row")
    if wanted is not np.float64 and given.size:
        if given.dtype.kind not in "iu":
            raise TypeError("whole numbers only")
        low, high = int(given.min()), int(given.max())
        bounds = np.iinfo(np.dtype(wanted).name)
        if low < bounds.min or high > bounds.max:
            raise OverflowError(f"{low} to {high} does not fit {kind}")
    return _laid_over(np.ascontiguousarray(given, wanted), arrow)


def _laid_over(numbers: NDArray[np.generic], arrow: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(arrow, len(numbers), [None, pa.py_buffer(numbers)])


def _texts(texts: Sequence[object]) -> pa.Array:
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("text only")
    encoded = [str(text).encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return pa.Array.from_buffers(
        pa.string(),
        len(encoded),
        [None, pa.py_buffer(_narrow(offsets)), pa.py_buffer(b"".join(encoded))],
    )


def _lists(kind: str, ragged: RaggedLike) -> pa.Array:
    offsets = np.asarray(ragged.offsets, np.int64)
    flat = _numbers(kind, ragged.values)
    rises = len(offsets) and offsets[0] == 0 and not (np.diff(offsets) < 0).any()
    if not rises or offsets[-1] != len(flat):
        raise ValueError("offsets must rise from 0 to the number of values")
    return pa.ListArray.from_arrays(_laid_over(_narrow(offsets), pa.int32()), flat)


def _narrow(offsets: NDArray[np.int64]) -> NDArray[np.int32]:
    if offsets[-1] > _FLAT_BYTES_MAX:
        raise OverflowError("too much for one insert")
    return offsets.astype(np.int32)
