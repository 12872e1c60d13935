"""Values cut into chunks come back whole, whatever happens to the chunks on their way."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from streams.kafka.chunks import Assembler, Whole, head_of, split
from wire.errors import PermanentError

keys = st.binary(max_size=12)
values = st.binary(max_size=60)
CHUNK = 7


def assembled(chunks: list[bytes]) -> list[Whole]:
    assembler = Assembler()
    found = [assembler.take(offset, chunk) for offset, chunk in enumerate(chunks)]
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

    assembler = Assembler()
    found = [whole for i, c in enumerate(chunks) if (whole := assembler.take(i, c)) is not None]

    assert {whole.key: whole.value for whole in found} == wanted
    assert len(found) == len(wanted)
    assert assembler.unfinished() == []
    for whole in found:
        mine = [i for i, chunk in enumerate(chunks) if head_of(chunk).key == whole.key]
        assert whole.first_offset == mine[0]


@given(keys, st.binary(min_size=CHUNK + 1, max_size=60), st.binary(max_size=60))
def test_two_values_under_one_key_are_never_mixed(key: bytes, one: bytes, other: bytes) -> None:
    begun = split(key, one, chunk_bytes=CHUNK)[:-1]
    whole = split(key, other, chunk_bytes=CHUNK)
    assembler = Assembler()

    found = [assembler.take(offset, chunk) for offset, chunk in enumerate(begun + whole)]

    if one != other:
        assert [w.value for w in found if w is not None] == [other]
        assert assembler.unfinished() == []  # the abandoned one went with it


def test_what_is_missing_is_known_by_where_it_began() -> None:
    assembler = Assembler()
    assembler.take(3, split(b"a", bytes(20), chunk_bytes=CHUNK)[1])
    assembler.take(5, split(b"b", bytes(20), chunk_bytes=CHUNK)[0])

    assert assembler.unfinished() == [3, 5]


def test_a_repetition_that_nobody_finished_does_not_wait() -> None:
    chunks = split(b"a", bytes(20), chunk_bytes=CHUNK)
    assembler = Assembler()
    for offset, chunk in enumerate([*chunks, chunks[0]]):
        assembler.take(offset, chunk)

    assert assembler.unfinished() == []


def test_memory_of_what_was_given_is_bounded() -> None:
    assembler = Assembler()
    for n in range(5_000):
        assembler.take(n, split(n.to_bytes(4, "big"), b"x")[0])

    assert len(assembler._given) == 4_096


@given(keys, values, st.data())
def test_what_is_not_a_chunk_is_refused(key: bytes, value: bytes, data: st.DataObject) -> None:
    chunk = split(key, value)[0]
    cut = chunk[: data.draw(st.integers(0, 29))]
    bent = bytes([chunk[0] ^ 1]) + chunk[1:]

    for wrong in (cut, bent):
        with pytest.raises(PermanentError, match="chunk_undecodable"):
            Assembler().take(0, wrong)


def test_a_piece_that_changed_on_its_way_is_noticed() -> None:
    chunk = split(b"key", b"value")[0]

    with pytest.raises(PermanentError, match="chunk_undecodable"):
        Assembler().take(0, chunk[:-1] + b"X")


def test_what_is_forgotten_does_not_wait() -> None:
    assembler = Assembler()
    assembler.take(3, split(b"a", bytes(20), chunk_bytes=CHUNK)[1])
    assembler.take(5, split(b"b", bytes(20), chunk_bytes=CHUNK)[0])

    assembler.forget(b"a")

    assert assembler.unfinished() == [5]
