"""Decompression is whole or refused, and never goes further than its caps."""

import gzip
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ingest import bodies
from ingest.bodies import BodyLimits, decompress
from wire.errors import PermanentError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "identity": bytes,
}
packed = pytest.mark.parametrize("encoding", ["gzip", "zstd"])


@given(st.sampled_from(sorted(PACKERS)), st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_members_and_frames_are_joined(encoding: str, parts: list[bytes]) -> None:
    body = b"".join(PACKERS[encoding](part) for part in parts)

    assert decompress(body, encoding, BodyLimits()) == b"".join(parts)


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
def test_the_cap_is_exact(encoding: str) -> None:
    limits = BodyLimits(decoded_bytes_max=1_000)

    assert len(decompress(PACKERS[encoding](bytes(1_000)), encoding, limits)) == 1_000
    with pytest.raises(PermanentError, match="decoded_too_large"):
        decompress(PACKERS[encoding](bytes(1_001)), encoding, limits)


@packed
@pytest.mark.parametrize("members", [1, 3])
def test_a_bomb_unfolds_to_its_cap_and_one_piece_at_most(
    encoding: str, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfolded = [0]
    add = bodies._Unfolded.add

    def counting(self: bodies._Unfolded, piece: bytes) -> None:
        unfolded[0] += len(piece)
        add(self, piece)

    monkeypatch.setattr(bodies._Unfolded, "add", counting)
    limits = BodyLimits(decoded_bytes_max=4 << 20, ratio_max=1 << 30)

    with pytest.raises(PermanentError, match="decoded_too_large"):
        decompress(PACKERS[encoding](bytes(100 << 20)) * members, encoding, limits)
    assert 4 << 20 < unfolded[0] <= (4 << 20) + (2 << 20)


@packed
def test_a_suspicious_ratio_is_refused_early(encoding: str) -> None:
    with pytest.raises(PermanentError, match="ratio_too_high"):
        decompress(PACKERS[encoding](bytes(15 << 20)), encoding, BodyLimits())


def test_a_window_above_8_mib_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(19, window_log=26)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = packer.compress(bytes(9 << 20)) + packer.flush()

    with pytest.raises(PermanentError, match="malformed_encoding"):
        decompress(body, "zstd", BodyLimits(ratio_max=1 << 30))
