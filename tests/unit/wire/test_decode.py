"""All encodings of an upload give the same columns; a bad one never takes its neighbours along."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.columns import FLOAT_ABSENT_BITS, UINT_ABSENT, Decoded
from wire.context import Context
from wire.decode import Encoding, decode_group
from wire.gather import COLUMNS, DTYPES
from wire.pb import telemetry_pb2 as pb

CONTEXT = Context(
    app_id="keyboard",
    app_version="7.1.0",
    platform="android",
    os_major=15,
    device_tier="mid",
    region="DE",
    network="wifi",
    model_id="next-word",
    model_version="1.5.0",
    runtime="tflite",
    placement="device",
    sdk_version="0.1.0",
    rollout_id="r1",
    step=1,
    arm="candidate",
)
KIND = dict(zip(COLUMNS, (d.kind for d in DTYPES), strict=True))
FIELD = {name: pb.UploadRequest.DESCRIPTOR.fields_by_name[name].number for name in COLUMNS}
floats = st.floats(0, 1e6, width=32)
uints = st.integers(0, UINT_ABSENT - 1)


@st.composite
def uploads(draw: st.DrawFn) -> dict[str, Any]:
    n = draw(st.integers(0, 12))
    names = draw(st.lists(st.sampled_from(COLUMNS), unique=True)) if n else []
    columns = {
        name: draw(st.lists(floats if KIND[name] == "f" else uints, min_size=n, max_size=n))
        for name in sorted(names)
    }
    return {
        "batch_id": draw(st.binary(min_size=16, max_size=16)),
        "created_ms": draw(st.integers(0, 2**48)),
        "n": n,
        "enrolled": draw(st.booleans()),
        "enrolled_ms": draw(st.integers(0, 2**48)),
        "columns": columns,
        "unit_days": [{"day": 1, "errored": True, "energy_mj": 2.5}] * draw(st.integers(0, 2)),
        "outcomes": [{"label_age_days": 3, "correct": 7}] * draw(st.integers(0, 2)),
    }


def context_message() -> pb.Context:
    return pb.Context(
        app_id="keyboard",
        app_version="7.1.0",
        platform=pb.ANDROID,
        os_major=15,
        device_tier=pb.MID,
        region="DE",
        network=pb.WIFI,
        model_id="next-word",
        model_version="1.5.0",
        runtime=pb.TFLITE,
        placement=pb.DEVICE,
        sdk_version="0.1.0",
        rollout_id="r1",
        step=1,
        arm=pb.CANDIDATE,
    )


def message(upload: dict[str, Any], *, columns: bool = True) -> pb.UploadRequest:
    head = {k: v for k, v in upload.items() if k != "columns"}
    body = upload["columns"] if columns else {}
    return pb.UploadRequest(context=context_message(), **head, **body)


def _words(name: str, values: list[float]) -> list[bytes]:
    return [struct.pack("<f" if KIND[name] == "f" else "<I", v) for v in values]


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def unpacked(upload: dict[str, Any]) -> bytes:
    """Every value with a tag of its own, which a legal sender may do."""
    return message(upload, columns=False).SerializeToString() + b"".join(
        _varint(FIELD[name] << 3 | 5) + word
        for name, values in upload["columns"].items()
        for word in _words(name, values)
    )


def split(upload: dict[str, Any]) -> bytes:
    """Every column in two packed chunks; read as bytes, the last one would win."""
    body = message(upload, columns=False).SerializeToString()
    for name, values in upload["columns"].items():
        for part in (values[:1], values[1:]):
            words = b"".join(_words(name, part))
            body += _varint(FIELD[name] << 3 | 2) + _varint(len(words)) + words
    return body


def as_json(upload: dict[str, Any], *, rows: bool) -> bytes:
    body = {k: v for k, v in upload.items() if k != "columns"} | {
        "batch_id": upload["batch_id"].hex(),
        "context": {f: getattr(CONTEXT, f) for f in CONTEXT.__dataclass_fields__},
    }
    if rows:
        body["rows"] = [
            {name: values[i] for name, values in upload["columns"].items()}
            for i in range(upload["n"])
        ]
    else:
        body["columns"] = upload["columns"]
    return json.dumps(body).encode()


def said(decoded: Decoded) -> dict[str, Any]:
    """A decoded group as plain values, comparable bit for bit."""
    group = decoded.group
    assert not decoded.errors
    return {
        "batch_ids": group.batch_ids,
        "created_ms": group.created_ms.tolist(),
        "n": group.n.tolist(),
        "contexts": [group.contexts[i] for i in group.context],
        "enrolled": group.enrolled.tolist(),
        "enrolled_ms": group.enrolled_ms.tolist(),
        "unknown": group.unknown_fields.tolist(),
        "columns": {name: column.tobytes() for name, column in group.columns.items()},
        "days": {f: getattr(group.unit_days, f).tolist() for f in ("upload", "day", "energy_mj")},
        "labels": {f: getattr(group.feedback, f).tolist() for f in ("upload", "correct")},
    }


@given(st.lists(uploads(), max_size=4))
def test_every_encoding_of_the_same_uploads_gives_the_same_columns(
    group: list[dict[str, Any]],
) -> None:
    packed = [(Encoding.PROTOBUF, message(u).SerializeToString()) for u in group]

    expected = said(decode_group(packed))

    assert said(decode_group([(Encoding.PROTOBUF, unpacked(u)) for u in group])) == expected
    assert said(decode_group([(Encoding.PROTOBUF, split(u)) for u in group])) == expected
    assert said(decode_group([(Encoding.JSON, as_json(u, rows=False)) for u in group])) == expected
    assert said(decode_group([(Encoding.JSON, as_json(u, rows=True)) for u in group])) == expected


@given(uploads())
def test_columns_hold_what_was_sent_and_the_absent_are_marked(upload: dict[str, Any]) -> None:
    decoded = decode_group([(Encoding.PROTOBUF, message(upload).SerializeToString())])

    for name, dtype in zip(COLUMNS, DTYPES, strict=True):
        column = decoded.group.columns[name]
        if name in upload["columns"]:
            assert column.tolist() == np.array(upload["columns"][name], dtype).tolist()
        elif name in ("event_offset_ms", "unit_bet"):
            assert not column.any()
        else:
            absent = FLOAT_ABSENT_BITS if dtype.kind == "f" else UINT_ABSENT
            assert (column.view("<u4") == absent).all()


@given(st.lists(uploads(), min_size=1, max_size=3), st.binary(max_size=60), st.integers(0, 3))
def test_a_malformed_upload_is_named_and_its_neighbours_decode(
    group: list[dict[str, Any]], junk: bytes, at: int
) -> None:
    bodies = [(Encoding.PROTOBUF, message(u).SerializeToString()) for u in group]
    expected = said(decode_group(bodies))
    at = min(at, len(bodies))
    bodies.insert(at, (Encoding.PROTOBUF, b"\xff" + junk))

    decoded = decode_group(bodies)

    assert list(decoded.errors) == [at]
    assert decoded.index[at] == -1
    assert decoded.group.batch_ids == expected["batch_ids"]
    assert {k: c.tobytes() for k, c in decoded.group.columns.items()} == expected["columns"]


@given(uploads(), st.integers(400, 4000), st.binary(max_size=20))
def test_unknown_fields_are_counted_and_change_nothing_else(
    upload: dict[str, Any], number: int, payload: bytes
) -> None:
    plain = message(upload).SerializeToString()
    extra = plain + _varint(number << 3 | 2) + _varint(len(payload)) + payload

    expected = said(decode_group([(Encoding.PROTOBUF, plain)]))
    got = said(decode_group([(Encoding.PROTOBUF, extra)]))

    assert got.pop("unknown") == [1]
    assert expected.pop("unknown") == [0]
    assert got == expected


def _refusal(encoding: Encoding, body: bytes) -> tuple[str, str]:
    decoded = decode_group([(encoding, body)])
    assert not decoded.group.batch_ids
    return decoded.errors[0].code, decoded.errors[0].field


def test_refusals_name_the_code_and_the_field() -> None:
    good = {"batch_id": bytes(16), "n": 2, "columns": {}}
    short = message(good | {"columns": {"latency_ms": [1.0]}}).SerializeToString()
    large = message(good | {"n": 10_001}).SerializeToString()
    no_context = pb.UploadRequest(batch_id=bytes(16)).SerializeToString()
    text = as_json(good | {"created_ms": 1, "columns": {}}, rows=False)

    assert _refusal(Encoding.PROTOBUF, short) == ("column_length", "latency_ms")
    assert _refusal(Encoding.PROTOBUF, large) == ("rows_max", "n")
    assert _refusal(Encoding.PROTOBUF, no_context) == ("context_missing", "context")
    assert _refusal(Encoding.PROTOBUF, b"") == ("empty_body", "")
    assert _refusal(Encoding.PROTOBUF, message(good | {"batch_id": b"x"}).SerializeToString()) == (
        "batch_id_length",
        "batch_id",
    )
    assert _refusal(Encoding.JSON, b"{") == ("malformed_json", "")
    assert _refusal(Encoding.JSON, b"\xff\xfe") == ("malformed_json", "")
    assert _refusal(Encoding.JSON, text.replace(b'"n": 2', b'"n": "2"')) == ("malformed_json", "n")
    assert _refusal(Encoding.JSON, text.replace(b'"created_ms": 1,', b"")) == (
        "malformed_json",
        "created_ms",
    )
    assert _refusal(Encoding.JSON, text.replace(b"{}", b'{"latency_ms": [NaN, 1]}')) == (
        "malformed_json",
        "",
    )


def _json(more: dict[str, Any]) -> bytes:
    good = {"batch_id": bytes(16), "created_ms": 1, "n": 0, "columns": {}}
    return json.dumps(json.loads(as_json(good, rows=False)) | more).encode()


def _nested(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


GOOD = message({"batch_id": bytes(16), "n": 1, "columns": {}}).SerializeToString()
UNKNOWN = _varint(300 << 3) + b"\x01"  # 3 bytes
UNPACKED = _varint(FIELD["error_code"] << 3 | 5) + bytes(4)  # the public schema must read it


@pytest.mark.parametrize("tail", [b"", UNPACKED], ids=["viewed", "by the public schema"])
def test_an_upload_of_mostly_unknown_fields_is_refused(tail: bytes) -> None:
    few = 16_384 // len(UNKNOWN)

    taken = decode_group([(Encoding.PROTOBUF, GOOD + UNKNOWN * few + tail)])

    assert taken.group.unknown_fields.tolist() == [few]
    for extra in (
        UNKNOWN * (few + 1),
        _nested(7, UNKNOWN * (few + 30)),
        _nested(8, UNKNOWN * 9999),
    ):
        assert _refusal(Encoding.PROTOBUF, GOOD + extra + tail) == ("unknown_fields_max", "")


def test_json_of_mostly_unknown_keys_is_refused() -> None:
    keys = {f"key{i}": 1 for i in range(16_384)}

    taken = decode_group([(Encoding.JSON, _json(keys))])

    assert taken.group.unknown_fields.tolist() == [16_384]
    assert _refusal(Encoding.JSON, _json(keys | {"more": 1})) == ("unknown_fields_max", "")


@pytest.mark.parametrize(("field", "number"), [("unit_days", 7), ("outcomes", 8)])
def test_more_reports_than_an_upload_may_carry_are_refused(field: str, number: int) -> None:
    report = _nested(number, b"\x08\x01")  # day, or label age, 1
    given = {"day": 1} if field == "unit_days" else {"label_age_days": 1}

    taken = decode_group([(Encoding.PROTOBUF, GOOD + report * 1000)])

    assert not taken.errors
    for body in (GOOD + report * 1001, GOOD + report * 1001 + UNPACKED):
        assert _refusal(Encoding.PROTOBUF, body) == ("reports_max", field)
    assert _refusal(Encoding.JSON, _json({field: [given] * 1001})) == ("reports_max", field)
