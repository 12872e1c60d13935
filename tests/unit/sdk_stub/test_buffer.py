"""The queue on disk is bounded, keeps its order over restarts, and survives a crash."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdk_stub.buffer import UploadQueue


def _all(queue: UploadQueue) -> list[bytes]:
    out = []
    while (oldest := queue.oldest()) is not None:
        out.append(oldest[1])
        queue.remove(oldest[0])
    return out


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(sizes=st.lists(st.integers(1, 40), max_size=25))
def test_the_newest_that_fit_are_kept_and_the_rest_counted(
    tmp_path: Path, sizes: list[int]
) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        queue = UploadQueue(Path(folder), bytes_max=64)
        uploads = [bytes([i]) * size for i, size in enumerate(sizes)]
        for upload in uploads:
            queue.put(upload)
            assert queue.size_bytes <= 64

        kept = _all(UploadQueue(Path(folder), bytes_max=64))

        assert kept == uploads[len(uploads) - len(kept) :]
        assert queue.dropped_count == len(uploads) - len(kept)


def test_an_upload_larger_than_the_queue_is_dropped_alone(tmp_path: Path) -> None:
    queue = UploadQueue(tmp_path, bytes_max=10)
    queue.put(b"small")

    queue.put(b"much too large")

    assert (len(queue), queue.dropped_count) == (1, 1)


def test_a_crash_before_the_rename_leaves_no_half_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = UploadQueue(tmp_path, bytes_max=100)
    queue.put(b"whole")

    def die(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            queue.put(b"half")
    reopened = UploadQueue(tmp_path, bytes_max=100)

    assert _all(reopened) == [b"whole"]
    assert list(tmp_path.iterdir()) == []


def test_names_go_on_after_a_restart(tmp_path: Path) -> None:
    UploadQueue(tmp_path, bytes_max=100).put(b"one")
    queue = UploadQueue(tmp_path, bytes_max=100)
    queue.put(b"two")

    assert _all(queue) == [b"one", b"two"]
