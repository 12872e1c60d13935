"""The dedup benchmark, in short: right over two horizons, and its bounds can be missed."""

from pathlib import Path

from bench.dedup import arrivals, measure, results


def test_two_horizons_of_uploads_are_counted_once(tmp_path: Path) -> None:
    stream = arrivals(1, 60_000, late_share=0.05)

    found = measure(stream, tmp_path, segment=50)

    assert stream.again.sum() > 400
    assert (found.missed, found.false) == (0, 0)
    assert 0 < found.disk_bytes < 60_000 * 16


def test_a_stream_whose_repeats_are_hidden_is_seen_to_fail(tmp_path: Path) -> None:
    stream = arrivals(2, 20_000, late_share=0.0)
    stream.again[:] = False

    found = measure(stream, tmp_path, segment=50)

    assert found.false > 100
    assert not all(r.is_ok for r in results(20_000, found, segment=50))
