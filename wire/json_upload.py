"""JSON uploads: context once and columns, or row objects. The readable door, not the fast one.

    {"batch_id": "<32 hex digits>", "created_ms": 1, "context": {"app_id": "keyboard", ...},
     "columns": {"latency_ms": [12.5, null]}}            or  "rows": [{"latency_ms": 12.5}, {}]

`null` or a missing key means "not measured". Enumerations are lower-case words.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
import numpy as np

from wire.columns import FLOAT_ABSENT_BITS, UINT_ABSENT
from wire.context import Context
from wire.errors import PermanentError
from wire.gather import (
    BATCH_ID_BYTES,
    COLUMNS,
    DTYPES,
    Pieces,
    check_reports,
    unknown_fields_max,
)

UNKNOWN_KEYS_MAX: Final = 16_384
"""Keys that the schema does not have, one on each row among them; more is refused."""
_Uint32 = Annotated[int, msgspec.Meta(ge=0, le=UINT_ABSENT)]
_Uint64 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_FLOATS: Final = frozenset(
    name for name, dtype in zip(COLUMNS, DTYPES, strict=True) if dtype.kind == "f"
)
_ZERO_IF_ABSENT: Final = frozenset(("event_offset_ms", "unit_bet"))


_CELL: Final[dict[str, Any]] = {
    name: float | None if name in _FLOATS else _Uint32 | None for name in COLUMNS
}


Row = msgspec.defstruct("Row", [(name, _CELL[name], None) for name in COLUMNS])
Columns = msgspec.defstruct(
    "Columns",
    [(name, list[cell] | None, None) for name, cell in _CELL.items()],  # type: ignore[valid-type]  # made of the registry
)


class JsonUnitDay(msgspec.Struct):
    """`UnitDay` of the public schema."""

    day: _Uint32
    errored: bool = False
    crashed: bool = False
    energy_mj: float = 0.0
    data_bytes: float = 0.0


class JsonOutcomes(msgspec.Struct):
    """`OutcomeFeedback` of the public schema."""

    label_age_days: _Uint32 = 0
    correct: _Uint32 = 0
    incorrect: _Uint32 = 0
    unit_correct: _Uint32 = 0
    unit_incorrect: _Uint32 = 0


class JsonUpload(msgspec.Struct):
    """`UploadRequest` of the public schema, with columns or with rows."""

    batch_id: str
    created_ms: _Uint64
    context: Context
    n: _Uint32 | None = None
    enrolled: bool = False
    enrolled_ms: _Uint64 = 0
    columns: Columns | None = None  # type: ignore[valid-type]  # made of the registry
    rows: list[Row] | None = None  # type: ignore[valid-type]  # made of the registry
    unit_days: list[JsonUnitDay] = []
    outcomes: list[JsonOutcomes] = []


def pieces_of_json(body: bytes) -> Pieces:
    """Decode one JSON upload. Raises PermanentError naming the field that is wrong."""
    try:
        raw = msgspec.json.decode(body)
        upload = msgspec.convert(raw, JsonUpload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from error
    try:
        batch_id = bytes.fromhex(upload.batch_id)
    except ValueError as error:
        raise PermanentError(
            "batch_id_length",
            "batch_id is not hexadecimal",
            field="batch_id",
            accepted=f"{2 * BATCH_ID_BYTES} hex digits",
        ) from error
    check_reports("unit_days", len(upload.unit_days))
    check_reports("outcomes", len(upload.outcomes))
    unknown = _unknown_fields(raw)
    if unknown > UNKNOWN_KEYS_MAX:
        raise unknown_fields_max(f"{UNKNOWN_KEYS_MAX} keys")
    columns, n = _columns(upload)
    return Pieces(
        batch_id,
        upload.created_ms,
        n,
        upload.context,
        int(upload.enrolled),
        upload.enrolled_ms,
        unknown,
        columns,
        [
            (d.day, int(d.errored), int(d.crashed), d.energy_mj, d.data_bytes)
            for d in upload.unit_days
        ],
        [
            (o.label_age_days, o.correct, o.incorrect, o.unit_correct, o.unit_incorrect)
            for o in upload.outcomes
        ],
    )


def _columns(upload: Any) -> tuple[tuple[bytes, ...], int]:  # noqa: ANN401  # a made struct
    if upload.columns is not None and upload.rows is not None:
        raise PermanentError(
            "malformed_json",
            "both columns and rows are given",
            field="rows",
            accepted="one of them",
        )
    if upload.rows is not None:
        cells = {name: [getattr(row, name) for row in upload.rows] for name in COLUMNS}
        given = {name: v for name, v in cells.items() if any(x is not None for x in v)}
        rows = len(upload.rows)
    else:
        given = {
            name: values
            for name in COLUMNS
            if upload.columns is not None and (values := getattr(upload.columns, name)) is not None
        }
        rows = max((len(values) for values in given.values()), default=0)
    n = rows if upload.n is None else upload.n
    for name, values in given.items():
        if len(values) != n:
            raise PermanentError(
                "column_length",
                f"{name} has {len(values)} values, n is {n}",
                field=name,
                accepted=f"{n} values, or none",
            )
    return tuple(
        _packed(name, given[name], dtype) if name in given else b""
        for name, dtype in zip(COLUMNS, DTYPES, strict=True)
    ), n


def _packed(name: str, values: list[float | None], dtype: np.dtype[Any]) -> bytes:
    if name in _FLOATS:
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as out of bounds
            column = np.array([0.0 if v is None else v for v in values]).astype(dtype)
        column.view("<u4")[[v is None for v in values]] = FLOAT_ABSENT_BITS
        return column.tobytes()
    absent = 0 if name in _ZERO_IF_ABSENT else UINT_ABSENT
    return np.array([absent if v is None else v for v in values], dtype).tobytes()


def _unknown_fields(raw: dict[str, Any]) -> int:
    """How many keys the schema does not have. They are discarded, like protobuf's."""
    count = _strange(raw, JsonUpload.__struct_fields__)
    count += _strange(raw["context"], Context.__dataclass_fields__)
    if isinstance(raw.get("columns"), dict):
        count += _strange(raw["columns"], COLUMNS)
    for key, known in (
        ("rows", COLUMNS),
        ("unit_days", JsonUnitDay.__struct_fields__),
        ("outcomes", JsonOutcomes.__struct_fields__),
    ):
        count += sum(_strange(item, known) for item in raw.get(key) or ())
    return count


def _strange(given: dict[str, Any], known: Iterable[str]) -> int:
    return len(given.keys() - known)


def _malformed(error: Exception) -> PermanentError:
    """The message names the path (``$.context.os_major``) and never quotes the value."""
    text = str(error) if isinstance(error, msgspec.ValidationError) else "not JSON"
    named = re.search(r"`\$\.?([\w.\[\]]*)`$", text) or re.search(r"required field `(\w+)`", text)
    field = named[1] if named else ""
    return PermanentError(
        "malformed_json", text, field=field, accepted="holdfast.v1.UploadRequest as JSON"
    )
