"""A record that cannot be counted is buried; it never ends the stage, nor half counts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.log.base import Record
from streams.summarise import Summariser
from streams.usable import check_usable
from tests.fakes.segments import START_MS, WINDOW_MS, telemetry
from wire.errors import PermanentError
from wire.segment import Kind, Segment, encode

GOOD = telemetry(np.random.default_rng(1), START_MS, uploads=3)
PAYLOAD = encode(GOOD)
TICK = encode(Segment(Kind.TICK, START_MS + WINDOW_MS, "w0"))


def without(table: str, name: str) -> Segment:
    columns = dict(getattr(GOOD, table))
    del columns[name]
    changes: dict[str, Any] = {table: columns}
    return replace(GOOD, **changes)


def changed(table: str, name: str, value: int) -> Segment:
    columns = dict(getattr(GOOD, table))
    columns[name] = columns[name].copy()
    columns[name][0] = value
    changes: dict[str, Any] = {table: columns}
    return replace(GOOD, **changes)


def test_what_ingest_writes_can_be_counted() -> None:
    check_usable(GOOD)


@pytest.mark.parametrize(
    "segment",
    [
        replace(GOOD, kind=Kind.CONTROL, control=b"{}"),
        without("uploads", "context"),
        without("rows", "unit_bet"),
        without("unit_days", "upload"),
        replace(GOOD, rows={}),
        changed("uploads", "context", 4),
        changed("uploads", "context", -1),
        changed("uploads", "n", -5),
        changed("unit_days", "upload", 3),
        changed("rows", "event_minute", 0),
        changed("rows", "event_minute", 2**31 - 1),
    ],
)
def test_what_cannot_be_counted_is_named(segment: Segment) -> None:
    with pytest.raises(PermanentError, match="segment_inconsistent"):
        check_usable(segment)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(PAYLOAD) - 1), st.integers(0, 255)), max_size=8))
def test_spoilt_bytes_are_counted_or_buried_and_never_end_the_stage(
    spoilt: list[tuple[int, int]],
) -> None:
    body = bytearray(PAYLOAD)
    for at, value in spoilt:
        body[at] = value
    summariser = Summariser(0, window_ms=WINDOW_MS, horizon_ms=86_400_000)
    before = Record(0, 0, encode(Segment(Kind.TICK, START_MS, "w0")))

    closed = summariser.step([before, Record(0, 1, bytes(body)), Record(0, 2, TICK)])

    if summariser.dead_letters:
        assert [letter.record.offset for letter in summariser.dead_letters] == [1]
        assert not any(marker.partial.series for marker in closed)
