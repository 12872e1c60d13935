"""The stages as a runner drives them: redelivery, restarts and a second worker change nothing."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec import pack
from streams.decide import Decided
from streams.kept import Kept
from streams.local_worker import replay
from streams.log.base import Record
from streams.marker_codec import decode_marker
from streams.snapshot import decider_parts
from streams.stage_decide import DecideStage
from streams.stage_summarise import PartitionStage, Resume
from tests.fakes.partition_run import CLOCKS, PARTITIONS, recorded, summarised
from tests.fakes.segments import WINDOW_MS
from wire.errors import PermanentError
from wire.segment import decode


def expected(records: list[Record]) -> bytes:
    decided = replay(
        records, partitions=PARTITIONS, window_ms=WINDOW_MS, horizon_ms=CLOCKS.horizon_ms
    )
    return pack(decided)


@given(seed=st.integers(0, 50), restarts=st.sets(st.integers(1, 20), max_size=5))
@settings(max_examples=40)  # a run each of dozens of windows
def test_restarts_anywhere_give_the_same_windows(seed: int, restarts: set[int]) -> None:
    records = recorded(seed)

    markers, dead = summarised(records, restarts)

    stage = DecideStage.begin(PARTITIONS, WINDOW_MS)
    for offset, marker in enumerate(markers):
        stage.take(decode_marker(marker), first_offset=offset, size_bytes=1)
    assert pack(stage.capture(read_until=len(markers)).batch) == expected(records)
    assert dead == [b"\xff"]


def interleaved(markers: list[bytes], rng: np.random.Generator) -> list[bytes]:
    """As several workers would write them: each partition in order, some again and again."""
    queues = [[m for m in markers if decode_marker(m).partition == p] for p in range(PARTITIONS)]
    mixed: list[bytes] = []
    while any(queues):
        queue = queues[int(rng.integers(0, PARTITIONS))]
        if queue:
            mixed.append(queue.pop(0))
            if rng.random() < 0.3:
                mixed += mixed[-int(rng.integers(1, 4)) :]
    return mixed


def decided_with_restarts(
    windows: list[bytes], rng: np.random.Generator
) -> Iterator[tuple[DecideStage, list[Decided]]]:
    """Flushes now and then, and starts again from the last flush now and then."""
    parts: dict[str, bytes] | None = None
    stage, at = DecideStage.begin(PARTITIONS, WINDOW_MS), 0
    while at < len(windows):
        stage.take(decode_marker(windows[at]), first_offset=at, size_bytes=1)
        at += 1
        if rng.random() < 0.4:
            captured = stage.capture(read_until=at)
            parts = captured.parts
            yield stage, captured.batch
        if rng.random() < 0.15:
            stage = (
                DecideStage.restore(parts, partitions=PARTITIONS, window_ms=WINDOW_MS)
                if parts
                else DecideStage.begin(PARTITIONS, WINDOW_MS)
            )
            at = stage.next_offset
    yield stage, stage.capture(read_until=at).batch


@given(seed=st.integers(0, 200))
@settings(max_examples=40)
def test_duplicate_markers_and_restarts_decide_every_window_alike(seed: int) -> None:
    records, rng = recorded(seed % 20), np.random.default_rng(seed)
    windows = interleaved(summarised(records, set())[0], rng)

    stages, batches = zip(*decided_with_restarts(windows, rng), strict=True)

    by_start = {d.window_start_ms: d for batch in batches for d in batch}
    assert pack([by_start[start] for start in sorted(by_start)]) == expected(records)
    straight = DecideStage.begin(PARTITIONS, WINDOW_MS)
    for offset, marker in enumerate(windows):
        straight.take(decode_marker(marker), first_offset=offset, size_bytes=1)
    assert decider_parts(stages[-1].decider) == decider_parts(straight.decider)


def test_the_position_waits_for_undecided_and_unfinished_markers() -> None:
    records = recorded(1)
    markers = [decode_marker(m) for m in summarised(records, set())[0]]
    early = [m for m in markers if m.partition == 0]
    late = [m for m in markers if m.partition == 1]
    stage = DecideStage.begin(PARTITIONS, WINDOW_MS)

    stage.take(early[0], first_offset=10, size_bytes=1)
    stage.take(early[1], first_offset=20, size_bytes=1)

    assert stage.capture(read_until=30).next_offset == 10
    assert stage.take(late[0], first_offset=30, size_bytes=1) == 1
    assert stage.capture(read_until=40).next_offset == 20
    assert stage.take(late[1], first_offset=40, size_bytes=1) == 1
    assert stage.capture(read_until=50).next_offset == 50
    assert stage.capture(read_until=50, unfinished=[45]).next_offset == 45


def test_a_state_of_other_clocks_is_refused() -> None:
    parts = DecideStage.begin(2, 1000).capture(read_until=0).parts

    with pytest.raises(PermanentError, match="state_of_other_clocks"):
        DecideStage.restore(parts, partitions=2, window_ms=500)


def test_a_record_that_was_taken_is_not_taken_again() -> None:
    record = next(r for r in recorded(1) if r.partition == 1)
    stage = PartitionStage(1, CLOCKS, Resume(0))
    stage.take(record)

    with pytest.raises(ValueError, match="taken before"):
        stage.take(record)


def test_the_ids_of_a_window_are_those_of_its_own_records() -> None:
    mine = [r for r in recorded(3) if r.partition == 1]
    stage = PartitionStage(1, CLOCKS, Resume(0))
    windows = [t.window for r in mine if (t := stage.take(r)).window is not None]

    for window in windows:
        assert window is not None
        start_ms = window.closed.partial.start_ms
        assert window.ids
        assert all(start_ms <= ms < start_ms + WINDOW_MS for ms, _ in window.ids)
    first = windows[0]
    assert first is not None
    below = [decode(r.payload) for r in mine[: first.closed.next_offset] if r.payload != b"\xff"]
    joined = [s.uploads["batch_id"].tobytes() for s in below if s.uploads]
    assert [ids for _, ids in first.ids] == joined


def test_tokens_are_finished_in_the_order_of_offsets() -> None:
    kept: Kept[str] = Kept()
    for offset, token in ((3, "c"), (1, "a"), (2, "b"), (2, "b again"), (5, "e")):
        kept.keep(offset, token)

    assert kept.finish(below=4) == ["a", "b again", "c"]
    assert kept.finish(below=4) == []
    assert len(kept) == 1
    kept.forget()
    assert kept.finish(below=9) == []
