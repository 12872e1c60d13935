"""A segment survives its bytes, and bytes that are not a segment are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.test_decode import CONTEXT
from wire.errors import PermanentError
from wire.segment import (
    BATCH_ID,
    FEEDBACK_COLUMNS,
    ROW_COLUMNS,
    UNIT_DAY_COLUMNS,
    Column,
    Kind,
    Segment,
    decode,
    encode,
)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    counts = draw(st.lists(st.integers(0, 5), max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def filled(dtype: np.dtype[np.void], length: int) -> Column:
        return np.frombuffer(rng.bytes(dtype.itemsize * length), dtype)

    return Segment(
        kind=draw(st.sampled_from(Kind)),
        arrived_ms=draw(st.integers(0, 2**53)),
        writer=draw(st.text(max_size=5)),
        contexts=[CONTEXT] * draw(st.integers(0, 2)),
        uploads={
            "batch_id": filled(BATCH_ID, len(counts)),
            "n": np.array(counts, "<i4"),
            "received": np.array(counts, "<i4"),
        },
        rows={name: filled(dtype, sum(counts)) for name, dtype in ROW_COLUMNS.items()},
        unit_days={name: filled(dtype, 2) for name, dtype in UNIT_DAY_COLUMNS.items()},
        feedback={name: filled(dtype, 1) for name, dtype in FEEDBACK_COLUMNS.items()},
        tallies=draw(st.dictionaries(st.text(max_size=8), st.integers(0, 2**40), max_size=3)),
        control=draw(st.binary(max_size=9)),
    )


@given(segments())
def test_a_segment_survives_its_bytes_and_equal_segments_have_equal_bytes(segment: Segment) -> None:
    payload = encode(segment)

    again = decode(payload)

    assert encode(again) == payload
    assert again.contexts == segment.contexts
    assert again.tallies == segment.tallies
    for name, column in segment.rows.items():
        assert again.rows[name].tobytes() == column.tobytes()


@given(st.binary(max_size=200))
def test_bytes_that_are_no_segment_are_refused_by_name(junk: bytes) -> None:
    with pytest.raises(PermanentError, match="segment_undecodable"):
        decode(b"\x09" + junk)  # 9 is no kind


def test_columns_that_disagree_in_length_are_refused() -> None:
    uploads = {"n": np.array([2], "<i4")}
    rows = {"event_minute": np.zeros(3, "<i4")}

    with pytest.raises(PermanentError, match="segment_undecodable"):
        decode(encode(Segment(kind=Kind.TELEMETRY, arrived_ms=1, uploads=uploads, rows=rows)))
