"""Log records as bytes and back: Avro (`proto/segment.avsc`), columns inside.

What the log holds is columns, not uploads: one record is what one commit group gave one partition,
decoded, checked and anonymised. Nothing reaches it that is not a column or a registered name.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from itertools import chain
from operator import attrgetter
from typing import Any, Final

import fastavro
import numpy as np
from numpy.typing import NDArray

from wire.avro_table import table_parts
from wire.context import Context
from wire.errors import PermanentError
from wire.packed import pack, unpack
from wire.pb.registry import METRICS
from wire.times import HOUR_MS

Column = NDArray[Any]


class Kind(StrEnum):
    """What a log record is."""

    TELEMETRY = "telemetry"
    TICK = "tick"
    CONTROL = "control"


BATCH_ID: Final = np.dtype("V16")
BATCH_HOUR_BYTES: Final = 2
"""At the head of a batch id: `batch_hour` of the upload, big-endian; the rest is a digest."""
UPLOAD_COLUMNS: Final[Mapping[str, np.dtype[Any]]] = {
    "batch_id": BATCH_ID,
    "n": np.dtype("<i4"),  # accepted observations
    "received": np.dtype("<i4"),  # observations sent
    "context": np.dtype("<i4"),  # row of Segment.contexts
    "enrolled": np.dtype("u1"),
    "enrolled_ms": np.dtype("<i8"),  # coarsened to the cohort width; 0 = not given
}
ROW_COLUMNS: Final[Mapping[str, np.dtype[Any]]] = {
    "event_minute": np.dtype("<i4"),  # minutes since the epoch
    "unit_bet": np.dtype("u1"),
    **{m.column: np.dtype("<f4" if m.wire == "float" else "<u4") for m in METRICS},
}
UNIT_DAY_COLUMNS: Final[Mapping[str, np.dtype[Any]]] = {
    "upload": np.dtype("<i4"),  # row of Segment.uploads
    "day": np.dtype("<i4"),
    "errored": np.dtype("u1"),
    "crashed": np.dtype("u1"),
    "energy_mj": np.dtype("<f4"),
    "data_bytes": np.dtype("<f4"),
}
FEEDBACK_COLUMNS: Final[Mapping[str, np.dtype[Any]]] = {
    "upload": np.dtype("<i4"),
    "label_age_days": np.dtype("<i4"),
    "correct": np.dtype("<i8"),
    "incorrect": np.dtype("<i8"),
    "unit_correct": np.dtype("<i8"),
    "unit_incorrect": np.dtype("<i8"),
}
_TABLES: Final = {
    "uploads": UPLOAD_COLUMNS,
    "rows": ROW_COLUMNS,
    "unit_days": UNIT_DAY_COLUMNS,
    "feedback": FEEDBACK_COLUMNS,
}


@dataclass(frozen=True, slots=True)
class Segment:
    """One log record. Tables map a column's name to its array; a table may be empty.

    The rows of an upload lie together, in the order of `uploads`: upload ``i`` owns the next
    ``uploads["n"][i]`` rows. A column that no upload of the segment sent is absent from `rows`.
    `tallies` counts what was refused or discarded since the last record: ``rows:<code>``,
    ``uploads:<code>``, ``fields:unknown_field``.
    """

    kind: Kind
    arrived_ms: int
    writer: str = ""
    contexts: list[Context] = field(default_factory=list)
    uploads: Mapping[str, Column] = field(default_factory=dict)
    rows: Mapping[str, Column] = field(default_factory=dict)
    unit_days: Mapping[str, Column] = field(default_factory=dict)
    feedback: Mapping[str, Column] = field(default_factory=dict)
    tallies: Mapping[str, int] = field(default_factory=dict)
    control: bytes = b""


def batch_hour(created_ms: int) -> int:
    """What the first `BATCH_HOUR_BYTES` of an upload's id say, in [0, 65,535]: hours go round."""
    return created_ms // HOUR_MS % (1 << 8 * BATCH_HOUR_BYTES)


_CACHED_MAX: Final = 65_536
_CONTEXT_FIELDS: Final = tuple(f.name for f in fields(Context))
_context_values = attrgetter(*_CONTEXT_FIELDS)


def _schema(name: str) -> Any:  # noqa: ANN401  # fastavro's own type
    return fastavro.parse_schema(json.loads((files("wire") / "pb" / name).read_bytes()))


def _part_of(schema: Any, names: tuple[str, ...]) -> Any:  # noqa: ANN401
    """The record of some of the fields: Avro writes fields one after another."""
    chosen = [f for f in schema["fields"] if f["name"] in names]
    return fastavro.parse_schema({"type": "record", "name": "Part", "fields": chosen})


_SEGMENT: Final = _schema("segment.avsc")
_HEAD, _TAIL = (
    _part_of(_SEGMENT, names)
    for names in (("kind", "arrived_ms", "writer", "contexts"), ("tallies", "control"))
)
_CONTEXT: Final = _schema("context.avsc")


def encode(segment: Segment) -> bytes:
    """Avro bytes without a header, packed; equal segments give equal bytes."""
    head: dict[str, object] = {
        "kind": segment.kind.value,
        "arrived_ms": segment.arrived_ms,
        "writer": segment.writer,
        "contexts": [_context_bytes(context) for context in segment.contexts],
    }
    tail: dict[str, object] = {"tallies": dict(segment.tallies), "control": segment.control}
    tables = chain.from_iterable(table_parts(getattr(segment, name)) for name in _TABLES)
    return pack(b"".join((_avro(_HEAD, head), *tables, _avro(_TAIL, tail))))


def decode(payload: bytes) -> Segment:
    """The inverse of `encode`. Columns of a newer writer that we do not know are left out.

    Raises
    ------
    PermanentError
        ``segment_undecodable``: not a segment, or its columns disagree in length.
    """
    try:
        record: dict[str, Any] = fastavro.schemaless_reader(
            io.BytesIO(unpack(payload)), _SEGMENT, None
        )  # type: ignore[assignment]
        tables = {
            name: {
                key: np.frombuffer(record[name][key], dtype)
                for key, dtype in columns.items()
                if key in record[name]
            }
            for name, columns in _TABLES.items()
        }
        segment = Segment(
            kind=Kind(record["kind"]),
            arrived_ms=record["arrived_ms"],
            writer=record["writer"],
            contexts=[_context_of(body) for body in record["contexts"]],
            tallies=record["tallies"],
            control=record["control"],
            **tables,
        )
    except Exception as error:  # fastavro raises whatever the bytes make it raise
        raise PermanentError("segment_undecodable", type(error).__name__) from error
    _check_shape(segment)
    return segment


@lru_cache(_CACHED_MAX)
def _context_bytes(context: Context) -> bytes:
    return _avro(_CONTEXT, dict(zip(_CONTEXT_FIELDS, _context_values(context), strict=True)))


@lru_cache(_CACHED_MAX)
def _context_of(body: bytes) -> Context:
    return Context(**fastavro.schemaless_reader(io.BytesIO(body), _CONTEXT, None))  # type: ignore[arg-type]


def _avro(schema: Any, record: dict[str, object]) -> bytes:  # noqa: ANN401  # fastavro's own type
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


def _check_shape(segment: Segment) -> None:
    for name in _TABLES:
        lengths = {len(column) for column in getattr(segment, name).values()}
        if len(lengths) > 1:
            raise PermanentError("segment_undecodable", f"columns of {name} differ in length")
    if segment.uploads:
        if "n" not in segment.uploads:
            raise PermanentError("segment_undecodable", "uploads do not say how many rows they own")
        rows = int(segment.uploads["n"].sum())
        if any(len(column) != rows for column in segment.rows.values()):
            raise PermanentError("segment_undecodable", "rows do not add up to the uploads' counts")
