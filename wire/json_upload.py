"""JSON uploads: context once and columns, or row objects. The readable door, not the fast one.

    {"batch_id": "<32 hex digits>", "created_ms": 1, "context": {"app_id": "keyboard", ...},
     "columns": {"latency_ms": [12.5, null]}}            or  "rows": [{"latency_ms": 12.5}, {}]

`null` or a missing key means "not measured". Enumerations are lower-case words.
"""

import re
from collections import Counter
from dataclasses import MISSING, fields
from itertools import chain
from operator import attrgetter
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
    REPORTS_MAX,
    ROWS_MAX,
    Pieces,
    check_reports,
    check_rows,
    unknown_fields_max,
)

UNKNOWN_KEYS_MAX: Final = 16_384
"""Keys that the schema does not have, one on each row among them; more is refused."""
_SPARE: Final = 1_024  # brackets of what the schema does not have, or inside strings
_LISTS_MAX: Final = len(COLUMNS) + _SPARE
_CELLS_MAX: Final = ROWS_MAX * len(COLUMNS)
_MARKS_MAX: Final = {
    b"{": ROWS_MAX + 2 * REPORTS_MAX + _SPARE,
    b",": _CELLS_MAX + ROWS_MAX + 12 * REPORTS_MAX + UNKNOWN_KEYS_MAX + _SPARE,
    b":": _CELLS_MAX + 10 * REPORTS_MAX + UNKNOWN_KEYS_MAX + _SPARE,
}
"""How often each mark of JSON may stand in an upload, wherever: counted before anything is made."""
_Uint32 = Annotated[int, msgspec.Meta(ge=0, le=UINT_ABSENT)]
_Uint64 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_FLOATS: Final = frozenset(
    name for name, dtype in zip(COLUMNS, DTYPES, strict=True) if dtype.kind == "f"
)
_ZERO_IF_ABSENT: Final = frozenset(("event_offset_ms", "unit_bet"))
_CELL: Final[dict[str, Any]] = {
    name: float | None if name in _FLOATS else _Uint32 | None for name in COLUMNS
}
_CONTEXT: Final = tuple(
    (f.name, f.type, f.default) if f.default is not MISSING else (f.name, f.type)
    for f in fields(Context)
)


def _schema(*, knows_all: bool) -> dict[str, type]:
    """The public schema by the names of its parts; with `knows_all`, other keys are refused."""

    def made(name: str, parts: list[Any]) -> Any:  # noqa: ANN401  # a made struct
        return msgspec.defstruct(name, parts, forbid_unknown_fields=knows_all)

    row = made("Row", [(name, _CELL[name], None) for name in COLUMNS])
    columns = made("Columns", [(name, list[cell] | None, None) for name, cell in _CELL.items()])  # type: ignore[valid-type]  # made of the registry
    amounts = [(name, float, 0.0) for name in ("energy_mj", "data_bytes")]
    day = made(
        "UnitDay", [("day", _Uint32), ("errored", bool, False), ("crashed", bool, False), *amounts]
    )
    counts = ("label_age_days", "correct", "incorrect", "unit_correct", "unit_incorrect")
    outcome = made("OutcomeFeedback", [(name, _Uint32, 0) for name in counts])
    context = made("Context", list(_CONTEXT))
    upload = made(
        "UploadRequest",
        [
            ("batch_id", str),
            ("created_ms", _Uint64),
            ("context", context),
            ("n", _Uint32 | None, None),
            ("enrolled", bool, False),
            ("enrolled_ms", _Uint64, 0),
            ("columns", columns | None, None),
            ("rows", list[row] | None, None),  # type: ignore[valid-type]  # made of the registry
            ("unit_days", list[day], []),  # type: ignore[valid-type]  # made of the registry
            ("outcomes", list[outcome], []),  # type: ignore[valid-type]  # made of the registry
        ],
    )
    return {
        "": upload,
        "context": context,
        "columns": columns,
        "rows": row,
        "unit_days": day,
        "outcomes": outcome,
    }


_DIGITS: Final = bytes.maketrans(b"123456789E+", b"000000000e-")
_SUSPECT: Final = (b"0e0", b"0e-0", b".e", b"0" * 33)
_COSTLY: Final = re.compile(
    rb"[\[,:\s]-?(?:\d{33}|\d*+\.\d{33}|[\d.]*+[eE][+-]?(?:\d{3}|[5-9]\d))"  # one pass, no way back
)
"""A number that takes the decoder microseconds: far from 1, or of more digits than a float has."""
_STRETCH_BYTES: Final = 64 * 1024
_NUMBER_BYTES: Final = 128  # of a longer one, what is here is too much
_LISTS: Final = ("rows", "unit_days", "outcomes")
_OPEN: Final = _schema(knows_all=False)
_strict: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_schema(knows_all=True)[""])
_open: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_OPEN[""])
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])  # values are passed over, not made
_objects: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)


def pieces_of_json(body: bytes) -> Pieces:
    """Decode one JSON upload. Raises PermanentError naming the field that is wrong."""
    check_marks(body)
    check_numbers(body)
    upload, knows_all = _decoded(body)
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
    columns, n = _columns(upload, body)
    unknown = 0 if knows_all else _count_unknown(upload, body)
    return Pieces(
        batch_id,
        upload.created_ms,
        n,
        Context(*msgspec.structs.astuple(upload.context)),
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


def check_marks(body: bytes) -> None:
    """Refuse more objects, lists, values or keys than an upload can have, before any is made."""
    if body.count(b"[") > _LISTS_MAX:
        raise _malformed(ValueError())  # no schema of ours, now or later, has so many
    for mark, most in _MARKS_MAX.items():
        if body.count(mark) > most:
            raise PermanentError(
                "elements_max",
                f"the upload has more than {most} times '{mark.decode()}'",
                accepted=f"at most {ROWS_MAX} rows and {REPORTS_MAX} reports of each kind",
            )


def check_numbers(body: bytes) -> None:
    """Refuse numbers that no metric can have and that cost a thousand times a plain one.

    In stretches: other threads wait for the interpreter for one of them, not for the body.
    """
    for at in range(0, len(body), _STRETCH_BYTES):
        stretch = body[at : at + _STRETCH_BYTES + _NUMBER_BYTES]
        plain = stretch.translate(_DIGITS)  # ids look like exponents: look twice, at few
        if any(mark in plain for mark in _SUSPECT) and _COSTLY.search(stretch):
            raise PermanentError(
                "malformed_json",
                "a number has too many digits, or too large an exponent",
                accepted="at most 32 digits on a side of the point, exponents from -49 to 49",
            )


def _decoded(body: bytes) -> tuple[Any, bool]:
    """The upload, and whether the schema has all of its keys; others are passed over, not made."""
    try:
        if not body.isascii():
            body.decode()  # the decoder does not look into what it passes over
        try:
            return _strict.decode(body), True
        except msgspec.ValidationError:
            return _open.decode(body), False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from error


def _count_unknown(upload: Any, body: bytes) -> int:  # noqa: ANN401  # a made struct
    """Refuses too many before they are made, as far as marks tell, and else after."""
    reports = len(upload.unit_days) + len(upload.outcomes)
    known = len(COLUMNS) * (len(upload.rows or ()) + reports)
    room = known + UNKNOWN_KEYS_MAX + _SPARE
    unknown = room if body.count(b":") > room else unknown_keys(body).total()
    if unknown > UNKNOWN_KEYS_MAX:
        raise unknown_fields_max(f"{UNKNOWN_KEYS_MAX} keys")
    return unknown


def unknown_keys(body: bytes) -> Counter[str]:
    """Paths of the keys that the schema does not have (``context.colour``), and how often each is
    there, in an upload that has been decoded.
    """
    top = _object.decode(body)
    found = Counter(_strange("", [top]))
    for part in ("context", "columns"):
        if part in top and top[part] != b"null":
            found.update(_strange(part, [_object.decode(top[part])]))
    for part in _LISTS:
        if part in top:
            found.update(_strange(part, _objects.decode(top[part]) or []))
    return found


def _strange(part: str, given: list[dict[str, Any]]) -> dict[str, int]:
    known: Any = _OPEN[part]
    keys = Counter(chain.from_iterable(given))
    strange = keys.keys() - known.__struct_fields__
    return {f"{part}.{key}" if part else key: keys[key] for key in strange}


def _columns(upload: Any, body: bytes) -> tuple[tuple[bytes, ...], int]:  # noqa: ANN401  # a made struct
    if upload.columns is not None and upload.rows is not None:
        raise PermanentError(
            "malformed_json",
            "both columns and rows are given",
            field="rows",
            accepted="one of them",
        )
    if upload.rows is not None:
        escapes = b"\\" in body  # a name may hide behind them
        named = [name for name in COLUMNS if escapes or name.encode() in body]
        rows = len(upload.rows)
        check_rows(rows)
        cells = {name: list(map(attrgetter(name), upload.rows)) for name in named}
        given = {name: values for name, values in cells.items() if values.count(None) < rows}
    else:
        given = {
            name: values
            for name in COLUMNS
            if upload.columns is not None and (values := getattr(upload.columns, name)) is not None
        }
        rows = max((len(values) for values in given.values()), default=0)
    n = rows if upload.n is None else upload.n
    check_rows(n)
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


def _malformed(error: Exception) -> PermanentError:
    """The message names the path (``$.context.os_major``) and never quotes the value."""
    text = str(error) if isinstance(error, msgspec.ValidationError) else "not JSON"
    named = re.search(r"`\$\.?([\w.\[\]]*)`$", text) or re.search(r"required field `(\w+)`", text)
    field = named[1] if named else ""
    return PermanentError(
        "malformed_json", text, field=field, accepted="holdfast.v1.UploadRequest as JSON"
    )
