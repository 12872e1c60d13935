"""What a body may hold is counted before anything is made of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.test_decode import CONTEXT, FIELD, GOOD, _nested, _varint, message
from wire import decode, json_upload, protobuf
from wire.decode import BYTES_MAX, Encoding, decode_group
from wire.errors import PermanentError
from wire.gather import BARE_ROWS_MAX, COLUMNS, ROWS_MAX
from wire.pb import telemetry_pb2

HEAD = json.dumps(
    {
        "batch_id": "5a" * 16,
        "created_ms": 1,
        "context": {f: getattr(CONTEXT, f) for f in CONTEXT.__dataclass_fields__},
    }
).encode()[:-1]


N_FIELD = telemetry_pb2.UploadRequest.DESCRIPTOR.fields_by_name["n"].number


def code_of(encoding: Encoding, body: bytes) -> str:
    """Of the refusal; empty if it was taken. A good neighbour decodes whatever stands beside it."""
    decoded = decode_group(
        [(Encoding.PROTOBUF, GOOD), (encoding, body), (Encoding.JSON, HEAD + b"}")]
    )
    assert decoded.index[0] == 0
    assert decoded.index[2] == len(decoded.group.batch_ids) - 1
    return decoded.errors[1].code if decoded.errors else ""


UNITS = {
    b"{}": "elements_max",
    b"[]": "malformed_json",
    b'{"latency_ms":1}': "elements_max",
    b'{"zz":[1]}': "malformed_json",
    b"null": "elements_max",
    b"0": "elements_max",
    b'""': "elements_max",
}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("place", ["rows", "unit_days", "outcomes", "zz", "columns"])
def test_more_elements_than_an_upload_can_have_are_refused_unmade(
    unit: bytes, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_upload, "_decoded", None)  # would raise: nothing may come so far
    body = b'%b,"%b":[%b]}' % (HEAD, place.encode(), b",".join([unit] * 400_000))

    with pytest.raises(PermanentError) as refused:
        json_upload.pieces_of_json(body)
    assert refused.value.code == UNITS[unit]


@given(st.sampled_from([b"[", b'{"a":', b'[{"a":']), st.integers(1, 30_000), st.booleans())
def test_depth_is_refused_and_never_ends_the_process(unit: bytes, depth: int, inside: bool) -> None:
    body = (HEAD + b',"zz":' if inside else b"") + unit * depth

    assert code_of(Encoding.JSON, body) in ("malformed_json", "elements_max")


@given(
    digits=st.integers(0, 40),
    point=st.booleans(),
    exponent=st.one_of(st.none(), st.integers(-400, 400)),
    signs=st.tuples(st.sampled_from(["", "-"]), st.sampled_from(["e", "E"])),
    place=st.sampled_from([b'"zz":[', b'"columns":{"latency_ms":[']),
)
def test_a_number_that_costs_more_than_its_bytes_is_refused(
    digits: int, point: bool, exponent: int | None, signs: tuple[str, str], place: bytes
) -> None:
    sign, mark = signs
    sign, mark = signs
    number = sign + "1" + ("." if point and digits else "") + "7" * digits
    if exponent is not None:
        number += mark + str(exponent)
    tail = b"]}}" if b"columns" in place else b"]}"
    longest = digits if point and digits else digits + 1
    costly = longest > 32 or (exponent is not None and abs(exponent) > 49)

    code = code_of(Encoding.JSON, HEAD + b"," + place + number.encode() + tail)

    assert code == ("malformed_json" if costly else "")


@given(st.text("0123456789abcdef", min_size=32, max_size=32))
def test_an_id_that_looks_like_a_number_is_none(batch_id: str) -> None:
    assert code_of(Encoding.JSON, HEAD.replace(b"5a" * 16, batch_id.encode()) + b"}") == ""
    assert code_of(Encoding.JSON, HEAD.replace(b"5a" * 16, b"5e300" + b"9" * 27) + b"}") == ""


@pytest.mark.parametrize("n", [BARE_ROWS_MAX, BARE_ROWS_MAX + 1, ROWS_MAX])
def test_rows_that_say_nothing_are_few(n: int) -> None:
    bare: dict[str, Any] = {"batch_id": bytes(16), "n": n, "columns": {}}
    expected = "" if n <= BARE_ROWS_MAX else "rows_max"

    assert code_of(Encoding.PROTOBUF, message(bare).SerializeToString()) == expected
    assert code_of(Encoding.JSON, HEAD + b',"rows":[%b]}' % b",".join([b"{}"] * n)) == expected
    assert code_of(Encoding.JSON, HEAD + b',"n":%d}' % n) == expected


def test_the_largest_honest_upload_is_taken_in_every_form() -> None:
    values = list(range(ROWS_MAX))
    columns = dict.fromkeys(COLUMNS, values) | {"unit_bet": [0] * ROWS_MAX}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    days = [{"day": 1, "errored": True, "crashed": False, "energy_mj": 1.5, "data_bytes": 2}] * 1000
    labels = ("label_age_days", "correct", "incorrect", "unit_correct", "unit_incorrect")
    beside = {"unit_days": days, "outcomes": [dict.fromkeys(labels, 1)] * 1000}
    sent = {"batch_id": bytes(16), "n": ROWS_MAX, "columns": columns} | beside

    assert code_of(Encoding.PROTOBUF, message(sent).SerializeToString()) == ""
    for form in ({"columns": columns}, {"rows": rows}):
        body = HEAD + b"," + json.dumps(form | beside, indent=1).encode()[1:]
        assert code_of(Encoding.JSON, body) == ""


@pytest.mark.parametrize("number", [7, 8])
@pytest.mark.parametrize("tail", [b"", _varint(25 << 3 | 5) + bytes(4)], ids=["viewed", "public"])
def test_reports_are_counted_before_they_are_read(number: int, tail: bytes) -> None:
    assert code_of(Encoding.PROTOBUF, GOOD + _nested(number, b"") * 200_000 + tail) == "reports_max"


def test_not_utf_8_is_refused_wherever_it_stands() -> None:
    assert code_of(Encoding.JSON, HEAD + b',"zz":"\xff"}') == "malformed_json"
    assert code_of(Encoding.JSON, HEAD + b',"zz":["\xc3\xa9"]}') == ""


@pytest.mark.parametrize("encoding", Encoding)
def test_more_bytes_than_an_upload_can_have_are_refused_unparsed(
    encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(decode._PIECES, encoding, None)  # would raise: nothing may come so far
    decoded = decode_group([(encoding, bytes(BYTES_MAX[encoding] + 1))])

    assert decoded.errors[0].code == "decoded_too_large"


def test_an_upload_without_packed_columns_may_be_the_largest() -> None:
    tags = [_varint(number << 3 | 5) for number in FIELD.values()]
    unpacked = b"".join(tag + bytes(4) for tag in tags) * ROWS_MAX
    n = _varint(N_FIELD << 3) + _varint(ROWS_MAX)

    assert code_of(Encoding.PROTOBUF, GOOD + n + unpacked) == ""


@pytest.mark.parametrize("unit", [(0, b"\0"), (1, bytes(8))], ids=["varints", "doubles"])
@pytest.mark.parametrize("number", [*FIELD.values(), 99, 500_000])
def test_junk_beyond_its_budget_never_comes_to_the_second_parser(
    number: int, unit: tuple[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protobuf, "by_public_schema", None)  # would raise: nothing may come so far
    kind, payload = unit
    junk = _varint(number << 3 | kind) + payload

    with pytest.raises(PermanentError) as refused:
        protobuf.pieces_of_protobuf(GOOD + junk * (900_000 // len(junk)))
    assert refused.value.code == "unknown_fields_max"


@pytest.mark.parametrize("place", [b"%b}", b'"columns":{%b}}', b'"rows":[{%b}]}', b'"zz":{%b}}'])
def test_keys_beyond_their_budget_are_refused_unmade(
    place: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_upload, "unknown_keys", None)  # would raise: nothing may come so far
    keys = b",".join(b'"k%d":0' % i for i in range(60_000))

    with pytest.raises(PermanentError) as refused:
        json_upload.pieces_of_json(HEAD + b"," + place % keys)
    assert refused.value.code == "unknown_fields_max"


@given(
    st.integers(-200, 200),
    st.sampled_from([b"9" * 33, b"0." + b"1" * 33, b"1e50", b"123456.7e-50", b"1" * 32 + b"e99"]),
)
def test_a_costly_number_is_found_wherever_stretches_meet(offset: int, number: bytes) -> None:
    spaces = b" " * (json_upload._STRETCH_BYTES + offset)

    with pytest.raises(PermanentError, match="a number"):
        json_upload.check_numbers(b'{"zz":[' + spaces + b"0," + number + b"," + spaces + b"]}")
