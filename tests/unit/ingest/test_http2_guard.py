"""No header block that would end grpcio's server is passed on, however it is written or cut."""

import tracemalloc
from collections.abc import Callable
from itertools import count

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import door_frames as h2
from ingest.http2 import PREFACE
from ingest.http2_guard import REFUSED, HeaderGuard

_PLAIN = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30)
_VALUES = st.binary(max_size=30)
_HEADERS, _CONTINUATION, _END, _PADDED, _PRIORITY = 1, 9, 4, 8, 0x20
_PATH = (b":path", b"/holdfast.v1.Telemetry/Upload")


def refused(*frames: bytes, cuts: int = 0) -> bool:
    guard, whole = HeaderGuard(), PREFACE + h2.settings() + b"".join(frames)
    step = cuts or len(whole)
    return any(refuses(guard, whole[i : i + step]) for i in range(0, len(whole), step))


def refuses(guard: HeaderGuard, said: bytes) -> bool:
    """In as many turns as it takes."""
    while said and (passed := guard.passed(said)) != REFUSED:
        said = said[passed:]
    return bool(said)


def block(*headers: tuple[bytes, bytes], huffman: bool = False) -> bytes:
    return hpack.Encoder().encode(headers, huffman=huffman)


def headers(content: bytes, flags: int = _END, stream: int = 1) -> bytes:
    return h2.frame(_HEADERS, flags, stream, content)


@given(
    fields=st.dictionaries(_PLAIN.filter(bool), _PLAIN, max_size=8),
    binary=_VALUES,
    body=_VALUES,
    cuts=st.integers(1, 40),
    huffman=st.booleans(),
)
def test_what_clients_send_passes_in_any_pieces(
    fields: dict[str, str], binary: bytes, body: bytes, cuts: int, huffman: bool
) -> None:
    sent = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    encoder = hpack.Encoder()
    frames = []
    for stream in (1, 3, 5):  # later blocks point into the table that earlier ones filled
        content = encoder.encode([_PATH, *sent, (b"x-bin", binary)], huffman=huffman)
        half = len(content) // 2
        frames += [
            h2.frame(_HEADERS, 0, stream, content[:half]),
            h2.frame(_CONTINUATION, _END, stream, content[half:]),
            h2.body_frame(stream, body, ends=True),
            h2.frame(6, 0, 0, bytes(8)),
        ]
    assert not refused(*frames, cuts=cuts)


@given(
    name=st.sampled_from([b":path", b":authority", b":method", b"x", b"te"]),
    value=_VALUES.filter(lambda value: not value.isascii()),
    cuts=st.integers(0, 40),
    huffman=st.booleans(),
)
def test_a_stray_byte_never_passes(name: bytes, value: bytes, cuts: int, huffman: bool) -> None:
    assert refused(headers(block(_PATH, (name, value), huffman=huffman)), cuts=cuts)


def test_a_stray_byte_out_of_the_table_never_passes() -> None:
    """Declared as binary it may stand in the table; as a path it may not be taken from there."""
    stored = b"\x40\x05x-bin\x03a\xc0b"
    assert not refused(headers(stored))
    assert refused(headers(stored), headers(b"\x40\x05:path\x03a\xc0b", stream=3))


@given(
    st.lists(st.sampled_from([b"\xbe", b"\xbf", b"\x3e\xbe", b"\x20", b"\x3f\xe1\x1f"]), max_size=8)
)
def test_what_was_plain_once_is_judged_by_the_table_of_now(blocks: list[bytes]) -> None:
    """A block of indexes alone means what the table says, which other blocks change."""
    path, stray = b"\x40\x05:path\x02/a", b"\x40\x05x-bin\x03a\xc0b"
    guard, plain = HeaderGuard(), hpack.Decoder()
    refuses(guard, PREFACE)
    for number, part in enumerate([path, b"\xbe", *blocks, stray, *blocks, path, b"\xbe"]):
        try:
            plain.decode(part, raw=True)
            is_known = True
        except hpack.HPACKError:
            is_known = False
        refused_now = refuses(guard, headers(part, stream=2 * number + 1))
        assert refused_now is not is_known
        if refused_now:
            break


@pytest.mark.parametrize(
    "frames",
    [
        (headers(b"\x03" + block(_PATH) + bytes(3), _END | _PADDED),),
        (headers(b"\x00" * 4, _END | _PRIORITY),),
        (headers(block(_PATH), 0), h2.body_frame(1, b"")),
        (headers(block(_PATH), 0), h2.frame(_CONTINUATION, _END, 3, b"")),
        (h2.frame(_CONTINUATION, _END, 1, block(_PATH)),),
        (headers(b"\xff\xff\xff\xff\xff\xff"),),
        (headers(b"\x40\x7f\xff\xff\xff\xff\x0f"),),
        (h2.frame(5, _END, 1, bytes(4) + block(_PATH)),),
        (
            headers(b"\x00\x01a\x7f\x80\x7e" + b"a" * 16_000, 0),
            *[h2.frame(_CONTINUATION, 0, 1, b"a" * 16_000)] * 9,
        ),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(frames: tuple[bytes, ...]) -> None:
    assert refused(*frames)


def test_priority_is_no_part_of_the_block() -> None:
    assert not refused(headers(b"\0\0\0\0\x10" + block(_PATH), _END | _PRIORITY))


@given(st.binary(max_size=2_000), st.integers(1, 100))
def test_any_bytes_are_judged(noise: bytes, cuts: int) -> None:
    guard = HeaderGuard()
    for at in range(0, len(noise), cuts):
        if refuses(guard, noise[at : at + cuts]):
            break


@pytest.mark.parametrize("size", [b"\x20", b"\x3e", b"\x3f\xe1\x1f", b"\x3f\x80\x80\x00"])
def test_a_table_does_not_change_its_size_again_and_again(size: bytes) -> None:
    """8 KiB of changes would hold the loop up for 9 ms."""
    assert not refused(headers(size * 2 + block(_PATH)))
    assert refused(headers(size * 3 + block(_PATH)))


def test_the_key_of_each_call_is_told_with_its_stream() -> None:
    calls: list[tuple[int, bytes]] = []
    guard, encoder = HeaderGuard(calls), hpack.Encoder()
    said = PREFACE + h2.settings()
    for stream, key in ((1, b"Bearer a"), (3, b"Bearer b"), (5, b"Bearer b"), (7, b"Bearer b")):
        said += headers(encoder.encode([_PATH, (b"authorization", key)]), stream=stream)

    assert not refuses(guard, said + headers(block(_PATH), stream=9))
    assert calls == [(1, b"Bearer a"), *((n, b"Bearer b") for n in (3, 5, 7)), (9, b"")]


def test_it_stops_after_so_many_calls() -> None:
    calls: list[tuple[int, bytes]] = []
    said = PREFACE + headers(block(_PATH)) + headers(b"\xff\xff", stream=3)

    assert not refuses(HeaderGuard(calls, 1), said)
    assert calls == [(1, b"")]
    assert refuses(HeaderGuard(calls), said)


def test_a_call_comes_soon_or_not_at_all() -> None:
    ping = h2.frame(6, 0, 0, bytes(8))

    assert refused(*[ping] * 1_000)
    assert not refused(*[ping] * 20, headers(block(_PATH)), *[ping] * 1_000)


@pytest.mark.parametrize(
    ("made", "at_once"),
    [
        (lambda n: headers(block((b"x", b"a" * 3_000), huffman=True), stream=n), 8),
        (lambda n: headers(b"\x40\x00\x00" * 300, stream=n), 8),
        (lambda n: headers(b"\x82" * 300 + b"\x40\x00\x00", stream=n), 8),
        (lambda n: headers(b"\x82", stream=n), 600),
        (lambda n: h2.body_frame(n, b""), 600),
        (lambda _: h2.frame(6, 0, 0, bytes(8)), 600),
    ],
)
def test_a_turn_of_the_loop_is_not_held_up(made: Callable[[int], bytes], at_once: int) -> None:
    """One read may be 256 KiB, and a second of a loop's time was in so much of some of these."""
    first = PREFACE + h2.settings() + headers(block(_PATH))
    frames = [made(n) for n in range(3, 1_403, 2)]
    calls: list[tuple[int, bytes]] = []
    guard, said = HeaderGuard(calls), b"".join(frames)
    assert not refuses(guard, first)

    sizes = []
    while said:
        sizes.append(guard.passed(said))
        assert sizes[-1] > 0
        said = said[sizes[-1] :]

    assert max(sizes) <= (at_once + 1) * max(map(len, frames))
    assert len(calls) in (1, 1 + len(frames)), "all of them were seen"


def test_uploads_pass_in_one_turn() -> None:
    body = h2.body_frame(1, bytes(16_000)) * 16

    assert HeaderGuard().passed(whole := PREFACE + headers(block(_PATH)) + body) == len(whole)


def test_long_blocks_are_not_remembered() -> None:
    """Whoever has a key holds hundreds of connections."""
    guard, numbers = HeaderGuard(), count(1, 2)
    assert not refuses(guard, PREFACE + h2.settings())
    tracemalloc.start()
    try:
        for letter in b"abcdefgh":
            content = block((b"x", bytes((letter,)) * 15_000))
            plain = b"\x00" + content[1:]  # not for the table
            assert not refuses(guard, headers(plain, stream=next(numbers)))
        assert tracemalloc.get_traced_memory()[0] < 40_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", [b"\x00\x01a\x7f\x80\x7d" + b"a" * 16_127, b"\x82" * 1_000])
def test_what_is_too_long_is_told_from_what_is_no_header_block(content: bytes) -> None:
    guard = HeaderGuard(block_bytes_max=8 * 1024)

    assert refuses(guard, PREFACE + headers(content))
    assert guard.is_too_long
