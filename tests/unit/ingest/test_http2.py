"""What is taken out of a client's bytes is the answer to our greeting, and that alone."""

import hpack
from hypothesis import given
from hypothesis import strategies as st

from bench import door_frames as h2
from ingest.grpc_answer import refusal
from ingest.http2 import PREFACE, SETTINGS_ACK, AckFilter, greeting
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


@given(before=_FRAMES, after=_FRAMES, cuts=st.lists(st.integers(1, 50), max_size=20))
def test_the_first_ack_is_taken_out_however_it_is_cut(
    before: list[bytes], after: list[bytes], cuts: list[int]
) -> None:
    frames = [frame for frame in before if frame != SETTINGS_ACK]
    sent = PREFACE + b"".join([*frames, SETTINGS_ACK, *after])
    acks, passed = AckFilter(), b""
    for cut in [*cuts, len(sent)]:
        passed += acks.passed(sent[:cut])
        sent = sent[cut:]

    assert passed == PREFACE + b"".join([*frames, *after])
    assert acks.is_done


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
