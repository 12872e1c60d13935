"""ClickHouse's HTTP interface: requests read, answers formed."""

import gzip

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from store import http_format
from wire.errors import PermanentError

ENCODERS = {
    "gzip": gzip.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@given(st.binary(max_size=5_000))
@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_body_is_inflated_to_what_it_was(encoding: str, body: bytes) -> None:
    encoded = ENCODERS[encoding](body)

    assert http_format.inflated(encoded, encoding, bytes_max=5_000) == body


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_bomb_is_refused(encoding: str) -> None:
    bomb = ENCODERS[encoding](bytes(50_000_000))

    with pytest.raises(PermanentError) as refused:
        http_format.inflated(bomb, encoding, bytes_max=1_000_000)

    assert refused.value.code == "body_too_large"


@pytest.mark.parametrize("encoding", ["gzip", "lz4"])
def test_a_truncated_body_is_refused(encoding: str) -> None:
    with pytest.raises(PermanentError) as refused:
        http_format.inflated(ENCODERS[encoding](b"x" * 9_999)[:-9], encoding, bytes_max=20_000)

    assert refused.value.code == "body_corrupt"


@pytest.mark.parametrize("in_url", [True, False])
def test_an_insert_is_split_from_its_rows(in_url: bool) -> None:
    statement = "INSERT INTO hf_store.t (`a`, `b`) FORMAT Native"
    rows = b"\x02\x01FORMAT CSV\n\xff"

    request = http_format.read_request(
        {"query": statement} if in_url else {},
        {},
        rows if in_url else statement.encode() + b"\n" + rows,
    )

    assert request.insert == http_format.Insert("INSERT INTO hf_store.t (`a`, `b`)", "Native")
    assert request.body == rows


def test_a_statement_in_url_and_body_is_joined() -> None:
    request = http_format.read_request({"query": "select", "param_x": "1"}, {}, b"1 format JSON;")

    assert request.sql == "select\n1 format JSON"
    assert request.output_format == "JSON"
    assert request.params == {"x": "1"}


def test_settings_are_what_is_no_part_of_the_interface() -> None:
    request = http_format.read_request({"max_threads": "1", "query_id": "q"}, {}, b"select 1")

    assert request.settings == {"max_threads": "1"}
    assert request.query_id == "q"


def test_a_form_carries_statement_and_parameters() -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="query"\r\n\r\nselect {x:UInt8}\r\n'
        b'--B\r\nContent-Disposition: form-data; name="param_x"\r\n\r\n7\r\n--B--\r\n'
    )

    request = http_format.read_request(
        {}, {"content-type": "multipart/form-data; boundary=B"}, body
    )

    assert (request.sql, request.params) == ("select {x:UInt8}", {"x": "7"})


def test_a_body_in_native_framing_is_refused_with_what_to_use_instead() -> None:
    with pytest.raises(PermanentError) as refused:
        http_format.read_request({"decompress": "1"}, {}, b"select 1")

    assert "Content-Encoding" in refused.value.accepted
