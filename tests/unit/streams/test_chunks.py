"""Values cut into chunks come back whole, whatever happens to the chunks on their way."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from streams.kafka.chunks import Assembly, Whole, head_of, split
from wire.errors import PermanentError

keys = st.binary(max_size=12)
values = st.binary(max_size=60)
CHUNK = 7


def assembled(chunks: list[bytes]) -> list[Whole]:
    assembly = Assembly()
    found = [assembly.add(offset, chunk) for offset, chunk in enumerate(chunks)]
    return [whole for whole in found if whole is not None]


@given(keys, values)
def test_a_value_comes_back_as_it_was(key: bytes, value: bytes) -> None:
    chunks = split(key, value, chunk_bytes=CHUNK)

    assert assembled(chunks) == [Whole(key, value, 0)]
    assert len(chunks) == max(1, -(-len(value) // CHUNK))
    assert [(h.key, h.index, h.count) for h in map(head_of, chunks)] == [
        (key, index, len(chunks)) for index in range(len(chunks))
    ]


@given(st.dictionaries(keys, values, min_size=1, max_size=4), st.data())
def test_order_repetition_and_neighbours_change_nothing(
    wanted: dict[bytes, bytes], data: st.DataObject
) -> None:
    once = [c for key, value in wanted.items() for c in split(key, value, chunk_bytes=CHUNK)]
    again = data.draw(st.lists(st.sampled_from(once)))
    chunks = data.draw(st.permutations(once + again))

    assembly = Assembly()
    found = [whole for i, c in enumerate(chunks) if (whole := assembly.add(i, c)) is not None]

    assert {whole.key: whole.body for whole in found} == wanted
    assert len(found) == len(wanted)
    assert assembly.unfinished() == []
    for whole in found:
        mine = [i for i, chunk in enumerate(chunks) if head_of(chunk).key == whole.key]
        assert whole.first_offset == mine[0]


@given(keys, st.binary(min_size=CHUNK + 1, max_size=60), st.binary(max_size=60))
def test_two_values_under_one_key_are_never_mixed(key: bytes, one: bytes, other: bytes) -> None:
    begun = split(key, one, chunk_bytes=CHUNK)[:-1]
    whole = split(key, other, chunk_bytes=CHUNK)
    assembly = Assembly()

    found = [assembly.add(offset, chunk) for offset, chunk in enumerate(begun + whole)]

    if one != other:
        assert [w.body for w in found if w is not None] == [other]
        assert assembly.unfinished() == []  # the abandoned one went with it


def test_what_is_missing_is_known_by_where_it_began() -> None:
    assembly = Assembly()
    assembly.add(3, split(b"a", bytes(20), chunk_bytes=CHUNK)[1])
    assembly.add(5, split(b"b", bytes(20), chunk_bytes=CHUNK)[0])

    assert assembly.unfinished() == [3, 5]


def test_a_repetition_that_nobody_finished_does_not_wait() -> None:
    chunks = split(b"a", bytes(20), chunk_bytes=CHUNK)
    assembly = Assembly()
    for offset, chunk in enumerate([*chunks, chunks[0]]):
        assembly.add(offset, chunk)

    assert assembly.unfinished() == []


def test_memory_of_what_was_given_is_bounded() -> None:
    assembly = Assembly()
    for n in range(5_000):
        assembly.add(n, split(n.to_bytes(4, "big"), b"x")[0])

    assert len(assembly._given) == 4_096


@given(keys, values, st.data())
def test_what_is_not_a_chunk_is_refused(key: bytes, value: bytes, data: st.DataObject) -> None:
    chunk = split(key, value)[0]
    cut = chunk[: data.draw(st.integers(0, 29))]
    bent = bytes([chunk[0] ^ 1]) + chunk[1:]

    for wrong in (cut, bent):
        with pytest.raises(PermanentError, match="chunk_undecodable"):
            Assembly().add(0, wrong)


def test_a_piece_that_changed_on_its_way_is_noticed() -> None:
    chunk = split(b"key", b"value")[0]

    with pytest.raises(PermanentError, match="chunk_undecodable"):
        Assembly().add(0, chunk[:-1] + b"X")
