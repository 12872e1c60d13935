"""Records are packed, those of an earlier build are read, and a bomb is not unfolded."""

import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.test_segment import segments
from wire.errors import PermanentError
from wire.packed import SEGMENT_BYTES_MAX, pack, unpack
from wire.segment import Segment, decode, encode


@given(st.binary(max_size=2_000), st.integers(1, 50))
def test_what_is_packed_comes_back_and_equal_bytes_pack_equally(body: bytes, times: int) -> None:
    plain = b"\0" + body * times

    assert unpack(pack(plain)) == plain
    assert pack(plain) == pack(bytes(bytearray(plain)))
    assert len(pack(plain)) <= len(plain) + 20


@given(segments())
def test_a_record_of_an_earlier_build_is_read(segment: Segment) -> None:
    packed = encode(segment)
    plain = unpack(packed)

    assert plain[0] in (0, 2, 4)  # its kind, which is no frame's magic
    assert encode(decode(plain)) == packed


@given(segments(), st.integers(1, 200), st.binary(min_size=1, max_size=9))
def test_a_damaged_record_is_refused_by_name(segment: Segment, cut: int, junk: bytes) -> None:
    frame = zstandard.compress(unpack(encode(segment)))
    for damaged in (frame[: -min(cut, len(frame) - 4)], frame + junk):
        with pytest.raises(PermanentError, match="segment_undecodable"):
            decode(damaged)


@pytest.mark.parametrize("says_size", [True, False])
def test_a_record_that_unfolds_to_too_much_is_not_unfolded(says_size: bool) -> None:
    packer = zstandard.ZstdCompressor(write_content_size=says_size)
    bomb = packer.compress(bytes(SEGMENT_BYTES_MAX + 1))
    tracemalloc.start()
    try:
        with pytest.raises(PermanentError, match="segment_undecodable"):
            decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
