"""What is taken out of a client's bytes is the answer to our greeting, and that alone."""

import hpack
from hypothesis import given
from hypothesis import strategies as st

from bench import door_frames as h2
from ingest.grpc_answer import refusal
from ingest.http2 import PREFACE, SETTINGS_ACK, Remainder, greeting, pongs
from wire.errors import PermanentError, TransientError

_FRAMES = st.lists(
    st.one_of(
        st.builds(h2.body_frame, st.integers(1, 9), st.binary(max_size=40)),
        st.just(SETTINGS_ACK),
        st.just(h2.settings((3, 100))),
        st.builds(h2.frame, st.just(6), st.integers(0, 1), st.just(0), st.just(bytes(8))),
    ),
    max_size=8,
)


PING = h2.frame(6, 0, 0, b"question")


@given(
    before=_FRAMES,
    after=_FRAMES,
    answered=st.integers(0, 4),
    cuts=st.lists(st.integers(1, 50), max_size=20),
)
def test_what_was_answered_is_taken_out_however_it_is_cut(
    before: list[bytes], after: list[bytes], answered: int, cuts: list[int]
) -> None:
    others = [frame for frame in before if frame != SETTINGS_ACK and frame[3:5] != b"\6\0"]
    pings = [PING] * answered
    sent = PREFACE + b"".join([*others, *pings, SETTINGS_ACK, *after])
    remainder, passed = Remainder(pings=answered), b""
    for cut in [*cuts, len(sent)]:
        passed += remainder.of(sent[:cut])
        sent = sent[cut:]

    assert passed == PREFACE + b"".join([*others, *after])
    assert remainder.is_all


def test_nothing_is_taken_out_of_what_came_without_a_greeting() -> None:
    said = PREFACE + h2.settings() + SETTINGS_ACK + PING

    assert Remainder(is_greeted=False).of(said) == said


@given(frames=_FRAMES, cut=st.integers(0, 400))
def test_each_whole_question_has_its_answer(frames: list[bytes], cut: int) -> None:
    said = (PREFACE + b"".join([PING, *frames, PING]))[: cut + len(PREFACE)]
    at, expected = len(PREFACE), list[bytes]()
    for frame in [PING, *frames, PING]:
        at += len(frame)
        if frame[3:5] == b"\6\0" and at <= len(said):
            expected.append(h2.frame(6, 1, 0, frame[9:]))

    assert pongs(said) == expected


def test_a_greeting_says_how_many_calls_there_may_be_at_a_time() -> None:
    assert greeting(32) == h2.settings((3, 32))


@given(
    st.one_of(
        st.builds(
            PermanentError, st.sampled_from(["key_missing", "head_too_large"]), st.text(max_size=50)
        ),
        st.builds(
            TransientError,
            st.just("quota_exceeded"),
            st.text(max_size=50),
            retry_after_s=st.just(3),
        ),
    )
)
def test_a_refusal_is_a_header_block_that_any_client_reads(
    error: PermanentError | TransientError,
) -> None:
    """Twice on one connection, whose table remembers the first."""
    decoder = hpack.Decoder()
    for stream in (1, 3):
        answer = refusal(stream, error)
        assert answer[3:9] == b"\x01\x05" + stream.to_bytes(4)
        fields = dict[str, str](decoder.decode(answer[9:]))  # type: ignore[arg-type]  # not raw
        assert fields[":status"] == "200"
        assert int(fields["grpc-status"]) > 0
        assert fields["grpc-message"].isascii()
