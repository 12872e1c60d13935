"""Decompression is whole or refused, and never goes further than its caps."""

import gzip
import tracemalloc
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ingest.bodies import BodyLimits, decompress, room_of
from wire.errors import PermanentError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "identity": bytes,
}
packed = pytest.mark.parametrize("encoding", ["gzip", "zstd"])


@given(st.sampled_from(sorted(PACKERS)), st.binary(max_size=900))
def test_what_was_packed_comes_out(encoding: str, body: bytes) -> None:
    assert decompress(PACKERS[encoding](body), encoding, BodyLimits()) == body


PLAIN_ZSTD = zstandard.ZstdCompressor(write_content_size=False)
SKIPPED = b"\x50\x2a\x4d\x18\0\0\0\0"
SEVERAL = {
    "gzip": [gzip.compress(b""), gzip.compress(b"x"), b"junk", b"\0"],
    "zstd": [zstandard.compress(b""), PLAIN_ZSTD.compress(b"x"), SKIPPED, b"junk", b"\0"],
}


@packed
@given(content=st.binary(max_size=40), says_size=st.booleans(), data=st.data())
def test_one_member_or_frame_and_nothing_beside_it(
    encoding: str, content: bytes, says_size: bool, data: st.DataObject
) -> None:
    pack = PACKERS[encoding] if says_size or encoding == "gzip" else PLAIN_ZSTD.compress
    parts = [pack(content), *data.draw(st.lists(st.sampled_from(SEVERAL[encoding]), min_size=1))]
    if encoding == "zstd" and data.draw(st.booleans()):
        parts.insert(0, SKIPPED)

    with pytest.raises(PermanentError, match="malformed_encoding"):
        decompress(b"".join(parts), encoding, BodyLimits())


@packed
@given(cut=st.integers(1, 40))
def test_a_truncated_body_is_malformed(encoding: str, cut: int) -> None:
    body = PACKERS[encoding](bytes(range(256)) * 8)

    with pytest.raises(PermanentError, match="malformed_encoding"):
        decompress(body[:-cut], encoding, BodyLimits())


@packed
@given(noise=st.binary(min_size=1, max_size=50))
def test_noise_is_refused_or_read_but_never_crashes(encoding: str, noise: bytes) -> None:
    for body in (noise, PACKERS[encoding](b"x") + noise):
        try:
            decompress(body, encoding, BodyLimits())
        except PermanentError as error:
            assert error.code == "malformed_encoding"  # noqa: PT017  # either is right


@packed
@given(content=st.integers(0, 5_000), floor=st.integers(1, 2_000), ratio=st.integers(1, 40))
def test_the_room_is_exact_and_counts_from_the_first_byte(
    encoding: str, content: int, floor: int, ratio: int
) -> None:
    limits = BodyLimits(decoded_bytes_max=4_000, ratio_max=ratio, always_bytes=floor)
    for pack in (PACKERS[encoding], *([PLAIN_ZSTD.compress] if encoding == "zstd" else [])):
        body = pack(bytes(content))
        room = min(4_000, max(floor, ratio * len(body)))
        if content <= room:
            assert decompress(body, encoding, limits) == bytes(content)
            continue
        with pytest.raises(PermanentError) as refused:
            decompress(body, encoding, limits)
        assert refused.value.code == ("decoded_too_large" if room == 4_000 else "ratio_too_high")


@packed
def test_a_bomb_is_not_unfolded_beyond_its_room(encoding: str) -> None:
    body = PACKERS[encoding](bytes(200 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(PermanentError, match="ratio_too_high"):
            decompress(body, encoding, BodyLimits())
        assert tracemalloc.get_traced_memory()[1] < 3 * room_of(len(body), BodyLimits()) + (1 << 20)
    finally:
        tracemalloc.stop()


def test_a_window_above_8_mib_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(19, window_log=26)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = packer.compress(bytes(9 << 20)) + packer.flush()

    with pytest.raises(PermanentError, match="malformed_encoding"):
        decompress(body, "zstd", BodyLimits(ratio_max=1 << 30))
