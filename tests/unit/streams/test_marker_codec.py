"""A closing marker that has travelled cannot be told from one that has not."""

from dataclasses import fields

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from analytics.cells import Cells
from streams.codec import pack
from streams.decide import Decider
from streams.log.base import Append, Record
from streams.marker_codec import decode_marker, encode_marker
from streams.partial import Closed
from streams.snapshot import decider_parts
from streams.summarise import Summariser
from tests.fakes.segments import WINDOW_MS, appends
from wire.errors import PermanentError

HORIZON_MS = 3_600_000


def markers(seed: int, *, partitions: int, seconds: int = 4, slower: float = 1.0) -> list[Closed]:
    """The closing markers of a seeded run."""
    stages = [Summariser(p, window_ms=WINDOW_MS, horizon_ms=HORIZON_MS) for p in range(partitions)]
    offsets = [0] * partitions
    closed: list[Closed] = []
    written: list[Append] = list(
        appends(
            np.random.default_rng(seed),
            partitions=partitions,
            seconds=seconds,
            slower=slower,
            repeat_share=0.2,
        )
    )
    for append in written:
        p = append.partition
        closed += stages[p].step([Record(p, offsets[p], append.payload)])
        offsets[p] += 1
    return closed


def same_cells(a: Cells, b: Cells) -> bool:
    return all(
        getattr(a, f.name).dtype == getattr(b, f.name).dtype
        and getattr(a, f.name).tobytes() == getattr(b, f.name).tobytes()
        and getattr(b, f.name).flags.writeable
        for f in fields(Cells)
    )


@given(seed=st.integers(0, 1000), partitions=st.integers(1, 3))
def test_every_value_comes_back_bit_for_bit(seed: int, partitions: int) -> None:
    for sent in markers(seed, partitions=partitions, seconds=2):
        got = decode_marker(encode_marker(sent))

        assert same_cells(sent.partial.cells, got.partial.cells)
        assert same_cells(sent.partial.units, got.partial.units)
        for name in ("partition", "up_to_ms", "next_offset", "log_time", "controls"):
            assert getattr(sent, name) == getattr(got, name)
        for name in ("series", "unit_series", "enrolled", "bets", "costs", "quality"):
            one, other = getattr(sent.partial, name), getattr(got.partial, name)
            assert type(one) is type(other)
            assert repr(one) == repr(other)  # the order too, and the types of keys


@given(seed=st.integers(0, 1000), slower=st.sampled_from([1.0, 1.5]))
def test_a_decider_cannot_tell_a_marker_that_travelled(seed: int, slower: float) -> None:
    straight, travelled = Decider(2, WINDOW_MS), Decider(2, WINDOW_MS)
    sent = markers(seed, partitions=2, slower=slower)

    expected = straight.step(sent)
    found = travelled.step(decode_marker(encode_marker(marker)) for marker in sent)

    assert len(expected) > 1
    assert pack(found) == pack(expected)
    assert decider_parts(travelled) == decider_parts(straight)


def test_equal_markers_are_equal_bytes() -> None:
    first, second = markers(1, partitions=1), markers(1, partitions=1)

    assert [encode_marker(m) for m in first] == [encode_marker(m) for m in second]


@pytest.mark.parametrize("body", [b"", b"not zstd", zstandard.compress(b"\x93\x01\x02")])
def test_what_is_no_marker_is_refused(body: bytes) -> None:
    with pytest.raises(PermanentError, match="marker_undecodable"):
        decode_marker(body)
