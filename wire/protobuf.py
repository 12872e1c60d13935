"""Protobuf uploads. Packed columns are taken as bytes when that is provably the same.

A packed `repeated float | fixed32` has the same bytes on the wire as a `bytes` field of that
number, so a private message (`wire/pb/private.proto`) parses a column without touching its values.
The view is taken only when the message says nothing else: every column has 4 n bytes, and the
message, with unknown fields discarded, is as long as the body (so no field was unknown, no tag came
twice, nothing was unpacked or split). Otherwise the public schema decides.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Final, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from wire.context import ARMS, DEVICE_TIERS, NETWORKS, PLACEMENTS, PLATFORMS, RUNTIMES, Context
from wire.errors import PermanentError
from wire.gather import (
    COLUMNS,
    DTYPES,
    Outcomes,
    Pieces,
    UnitDay,
    check_reports,
    check_rows,
    unknown_fields_max,
)
from wire.pb import private_pb2, telemetry_pb2

CONTEXT_BYTES_MAX: Final = 2048
UNKNOWN_BYTES_MAX: Final = 16_384
"""Of fields that the schema does not have: a newer client's few are counted and discarded, but
a body of nothing else must not cost more than its bytes."""
_UNPACKED_BYTES: Final = 7  # a value outside of a packed column, and its tag
_REPORT_BYTES: Final = 64  # what a unit day or an outcome report takes at most, and then some
Parser = Callable[[bytes], Pieces]
_M = TypeVar("_M", bound=Message)
_private_columns = attrgetter(*COLUMNS)


def pieces_of_protobuf(body: bytes) -> Pieces:
    """Decode one `UploadRequest`, by view if that is safe."""
    try:
        upload = private_pb2.UploadRequest.FromString(body)
    except DecodeError as error:
        raise _malformed() from error
    n, said_days, said_outcomes = upload.n, upload.unit_days, upload.outcomes
    check_rows(n)
    if said_days:
        check_reports("unit_days", len(said_days))
    if said_outcomes:
        check_reports("outcomes", len(said_outcomes))
    upload.DiscardUnknownFields()
    if (passed_over := len(body) - upload.ByteSize()) != 0:
        if passed_over > UNKNOWN_BYTES_MAX + _UNPACKED_BYTES * len(COLUMNS) * n:
            raise _too_many_unknown()  # not even columns of single values have so much
        return by_public_schema(body)
    columns: tuple[bytes, ...] = _private_columns(upload)
    width = 4 * n
    for column in columns:
        if len(column) != width and column:
            return by_public_schema(body)
    context, unknown = _context(upload.context)
    days: list[UnitDay] = []
    outcomes: list[Outcomes] = []
    if said_days:
        days, more = _unit_days(said_days)
        unknown += more
    if said_outcomes:
        outcomes, more = _outcomes(said_outcomes)
        unknown += more
    return Pieces(
        upload.batch_id,
        upload.created_ms,
        n,
        context,
        upload.enrolled,
        upload.enrolled_ms,
        unknown,
        columns,
        days,
        outcomes,
    )


def by_public_schema(body: bytes) -> Pieces:
    """Decode one `UploadRequest` as any client of the schema would; slower."""
    try:
        upload = telemetry_pb2.UploadRequest.FromString(body)
    except DecodeError as error:
        raise _malformed() from error
    check_rows(upload.n)
    check_reports("unit_days", len(upload.unit_days))
    check_reports("outcomes", len(upload.outcomes))
    _check_unknown(body, upload.ByteSize())
    unknown = len(UnknownFieldSet(upload))
    columns = []
    for name, dtype in zip(COLUMNS, DTYPES, strict=True):
        values = getattr(upload, name)
        if len(values) not in (0, upload.n):
            raise PermanentError(
                "column_length",
                f"{name} has {len(values)} values, n is {upload.n}",
                field=name,
                accepted=f"{upload.n} values, or none",
            )
        columns.append(np.array(values, dtype).tobytes())
    context, more = _context(
        upload.context.SerializeToString() if upload.HasField("context") else b""
    )
    days, more_days = _unit_days([d.SerializeToString() for d in upload.unit_days])
    outcomes, more_outcomes = _outcomes([o.SerializeToString() for o in upload.outcomes])
    return Pieces(
        upload.batch_id,
        upload.created_ms,
        upload.n,
        context,
        upload.enrolled,
        upload.enrolled_ms,
        unknown + more + more_days + more_outcomes,
        tuple(columns),
        days,
        outcomes,
    )


@lru_cache(maxsize=65_536)
def _context(body: bytes) -> tuple[Context, int]:
    """A cohort's context and its count of unknown fields. Phones of a cohort send equal bytes."""
    if not body:
        raise PermanentError("context_missing", "the upload has no context", field="context")
    if len(body) > CONTEXT_BYTES_MAX:
        raise PermanentError(
            "context_too_long",
            f"context has {len(body)} bytes",
            field="context",
            accepted=f"at most {CONTEXT_BYTES_MAX} bytes of registered names",
        )
    try:
        c = telemetry_pb2.Context.FromString(body)
    except DecodeError as error:
        raise _malformed("context") from error
    return Context(
        app_id=c.app_id,
        app_version=c.app_version,
        platform=_name(PLATFORMS, c.platform),
        os_major=c.os_major,
        device_tier=_name(DEVICE_TIERS, c.device_tier),
        region=c.region,
        network=_name(NETWORKS, c.network),
        model_id=c.model_id,
        model_version=c.model_version,
        runtime=_name(RUNTIMES, c.runtime),
        placement=_name(PLACEMENTS, c.placement),
        sdk_version=c.sdk_version,
        rollout_id=c.rollout_id,
        step=c.step,
        arm=_name(ARMS, c.arm),
        epsilon=c.epsilon,
    ), len(UnknownFieldSet(c))


def _name(names: tuple[str, ...], number: int) -> str:
    """An enum's name; a number that we do not know reads as unspecified and is refused later."""
    return names[number] if 0 <= number < len(names) else ""


def _check_unknown(body: bytes, size: int) -> None:
    """Refuse unknown fields by their size, before any is looked at; `size` is that of all."""
    known = telemetry_pb2.UploadRequest.FromString(body)
    known.DiscardUnknownFields()  # in messages below it too
    if size - known.ByteSize() > UNKNOWN_BYTES_MAX:
        raise _too_many_unknown()


def _check_reports(field: str, bodies: Sequence[bytes]) -> None:
    """Refuse too many of them, and too much in them, before any is looked at."""
    check_reports(field, len(bodies))
    if sum(map(len, bodies)) > UNKNOWN_BYTES_MAX + _REPORT_BYTES * len(bodies):
        raise _too_many_unknown()


def _too_many_unknown() -> PermanentError:
    return unknown_fields_max(f"{UNKNOWN_BYTES_MAX} bytes")


def _unit_days(bodies: Sequence[bytes]) -> tuple[list[UnitDay], int]:
    _check_reports("unit_days", bodies)
    days = [_parsed(telemetry_pb2.UnitDay, body, "unit_days") for body in bodies]
    return [(d.day, int(d.errored), int(d.crashed), d.energy_mj, d.data_bytes) for d in days], sum(
        len(UnknownFieldSet(d)) for d in days
    )


def _outcomes(bodies: Sequence[bytes]) -> tuple[list[Outcomes], int]:
    _check_reports("outcomes", bodies)
    reports = [_parsed(telemetry_pb2.OutcomeFeedback, body, "outcomes") for body in bodies]
    return [
        (o.label_age_days, o.correct, o.incorrect, o.unit_correct, o.unit_incorrect)
        for o in reports
    ], sum(len(UnknownFieldSet(o)) for o in reports)


def _parsed(message: type[_M], body: bytes, field: str) -> _M:
    try:
        return message.FromString(body)
    except DecodeError as error:
        raise _malformed(field) from error


def _malformed(field: str = "") -> PermanentError:
    return PermanentError(
        "malformed_protobuf",
        "the bytes are not a protobuf message of this schema",
        field=field,
        accepted="holdfast.v1.UploadRequest",
    )
