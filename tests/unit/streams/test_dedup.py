"""Dedup against a plain dictionary: over expiry, restarts, files, and disks that are full."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingest.anonymise import kept_batch_ids
from streams import id_runs
from streams.dedup import RECENT_BYTES, DedupIndex
from streams.id_filter import BITS_PER_ID, IdFilter
from streams.id_runs import Ids, MemoryRun, ids_of, merge_runs, merged, write_run
from wire.segment import BATCH_ID

HORIZON_MS = 1000


def some_ids(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Ids whose upper halves are often equal and whose bytes repeat across their borders."""
    return np.frombuffer(
        b"".join((v // 7).to_bytes(8) + bytes([v % 7]) * 8 for v in values), BATCH_ID
    )


steps = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 20, 300]),  # how far log time moves
        st.lists(st.integers(0, 120), max_size=12),
        st.sampled_from(["", "", "", "restart"]),
    ),
    max_size=60,
)


@given(steps, st.booleans())
def test_answers_within_the_horizon_equal_those_of_a_plain_set(
    moves: list[tuple[int, list[int], str]], with_files: bool
) -> None:
    with TemporaryDirectory() as folder:

        def made() -> DedupIndex:
            where = Path(folder) if with_files else None
            return DedupIndex(HORIZON_MS, where, spill_ids=8, recent_max=3)

        index, now_ms = made(), 0
        first_seen: dict[int, int] = {}
        table: list[tuple[int, bytes]] = []
        for ahead, wanted, event in moves:
            now_ms += ahead
            # ingest refuses an upload past the accepted age: no id comes back after the horizon
            values = [v for v in wanted if now_ms - first_seen.get(v, now_ms) <= HORIZON_MS]
            expected = []
            for value in values:
                expected.append(value in first_seen)
                first_seen.setdefault(value, now_ms)

            assert index.add(some_ids(values), now_ms).tolist() == expected

            table.append((now_ms, some_ids(values).tobytes()))
            if event:
                index = made()
                index.restore(
                    [(at, ids) for at, ids in table if at >= now_ms - HORIZON_MS], now_ms=now_ms
                )


def test_memory_is_bounded_and_nothing_is_forgotten_within_the_horizon(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    index = DedupIndex(1 << 40, tmp_path, spill_ids=2_000, recent_max=500)
    ids = np.frombuffer(rng.bytes(16 * 100_000), BATCH_ID)

    for i in range(0, len(ids), 100):
        assert not index.add(ids[i : i + 100], i).any()

    assert len(index) == 100_000
    assert index.disk_bytes > 97_000 * 16
    of_this_hour = 100_000 * 2 * BITS_PER_ID // 8
    assert index.memory_bytes < 2_500 * 120 + 100_000 // 256 * 16 + of_this_hour
    assert all(index.add(ids[i : i + 100], 100_000).all() for i in range(0, len(ids), 100))
    assert list(tmp_path.iterdir()) == []  # nothing that a crash could leave behind


def test_ids_past_the_horizon_leave_memory_and_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    index = DedupIndex(HORIZON_MS, tmp_path, spill_ids=400, recent_max=100)

    for now_ms in range(0, 50 * HORIZON_MS, 10):
        index.add(np.frombuffer(rng.bytes(160), BATCH_ID), now_ms)

    live = HORIZON_MS  # one id a millisecond; what is older leaves with the files that hold it
    assert live <= len(index) <= 3 * live
    assert index.disk_bytes <= 3 * live * BATCH_ID.itemsize
    of_this_hour = len(index) * 2 * BITS_PER_ID // 8
    most = 400 * BATCH_ID.itemsize + 100 * RECENT_BYTES + len(index) + of_this_hour
    assert index.memory_bytes <= most


def test_a_disk_that_takes_nothing_costs_memory_and_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    rng = np.random.default_rng(3)
    index = DedupIndex(1 << 40, tmp_path, spill_ids=200, recent_max=50)
    ids = np.frombuffer(rng.bytes(16 * 3_000), BATCH_ID)
    index.add(ids[:1000], 1)
    spilt = index.disk_bytes

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        index.add(ids[1000:2000], 2)
        assert index.disk_bytes == spilt
    index.add(ids[2000:], 3)

    assert index.disk_bytes == 3_000 * 16
    assert index.add(ids, 4).all()


def test_a_file_that_lost_bytes_is_an_error_not_a_wrong_answer(tmp_path: Path) -> None:
    ids = merged([ids_of(bytes(range(160)))])
    run = write_run(tmp_path, [ids], newest_ms=1, level=0, filter_=IdFilter(0, 10))
    os.ftruncate(run._file, 32)  # nobody else can reach it

    with pytest.raises(OSError, match="of a run of ids"):
        run.has(0x0001020304050607, 0)


@given(
    st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=50), min_size=1, max_size=5),
    st.lists(st.integers(0, 60), max_size=30),
    st.integers(0, 10),
)
def test_a_merge_of_files_holds_what_the_files_held(
    runs: list[list[int]], asked: list[int], since: int
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_runs, "PAGE_IDS", 4)
        patch.setattr(id_runs, "_MERGE_PAGES", 2)
        files = [
            write_run(
                Path(folder), [sorted_ids(run)], newest_ms=i, level=0, filter_=IdFilter(0, len(run))
            )
            for i, run in enumerate(runs)
        ]

        whole = merge_runs(Path(folder), files, level=1, since=since)

        everything = [v for run in runs for v in run]
        wanted = ids_of(some_ids(asked).tobytes())
        expected = [v in everything for v in asked]
        assert len(whole) == len(everything)
        assert [
            whole.has(high, low)
            for high, low in zip(wanted.high.tolist(), wanted.low.tolist(), strict=True)
        ] == expected
        assert MemoryRun(0, sorted_ids(everything)).has(wanted).tolist() == expected
        assert whole.may_have(wanted)[expected].all()


def fresh_ids(rng: np.random.Generator, count: int, now_ms: int) -> NDArray[np.void]:
    """Ids of uploads that were made within the second before `now_ms`."""
    created_ms = now_ms - rng.integers(0, 1000, count)
    return kept_batch_ids([rng.bytes(16) for _ in range(count)], created_ms)


def test_new_uploads_of_the_present_hour_read_next_to_no_file_and_retries_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    index = DedupIndex(1 << 40, tmp_path, spill_ids=2_000, recent_max=500)
    hour_ms = 500_000 * 3_600_000
    reads = 0
    pread = os.pread

    def counted(file: int, size: int, at: int) -> bytes:
        nonlocal reads
        reads += 1
        return pread(file, size, at)

    ids = [fresh_ids(rng, 100, hour_ms + 1000 + i) for i in range(300)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", counted)
        for i, some in enumerate(ids):
            assert not index.add(some, hour_ms + 1000 + i).any()

    files = len(index._files)
    merging = 2 * 30_000 // id_runs.PAGE_IDS  # each level reads every page once
    assert files > 1
    assert reads - merging < 0.05 * 30_000 * files
    assert all(index.add(some, hour_ms + 2000).all() for some in ids)


def test_filters_of_an_hour_that_is_over_leave_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    index = DedupIndex(1 << 40, tmp_path, spill_ids=2_000, recent_max=500)
    hour_ms = 500_000 * 3_600_000
    for i in range(100):
        index.add(fresh_ids(rng, 100, hour_ms + 1000 + i), hour_ms + 1000 + i)
    before = [run.filter is not None for run in index._files]

    for i in range(20):
        now_ms = hour_ms + 3_601_000 + i
        index.add(fresh_ids(rng, 100, now_ms), now_ms)

    after = [run.filter is not None for run in index._files]
    assert before == [True] * 5
    assert after == [False] * 5 + [True]


@given(st.lists(st.integers(0, 500), max_size=200), st.integers(0, 100), st.integers(1, 300))
def test_a_filter_never_denies_what_it_was_given(values: list[int], since: int, room: int) -> None:
    ids = ids_of(some_ids(values).tobytes())
    known = IdFilter(since, room)

    known.add(ids.high, ids.low)

    assert known.may_have(ids.high, ids.low).all()


@pytest.mark.parametrize("ids_max", [1 << 14, (1 << 14) + 1])  # its fullest, and its emptiest
def test_a_filter_denies_nearly_all_that_is_new(ids_max: int) -> None:
    rng = np.random.default_rng(6)
    old, new = (ids_of(rng.bytes(16 * n)) for n in (ids_max, 100_000))
    known = IdFilter(0, ids_max)

    known.add(old.high, old.low)

    assert known.may_have(new.high, new.low).mean() < 0.055  # (1 - e^(-2/8))^2 = 0.049


def sorted_ids(values: list[int]) -> Ids:
    return merged([ids_of(some_ids(values).tobytes())])
