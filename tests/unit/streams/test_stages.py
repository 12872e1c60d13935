"""The stages on a small seeded log: counted once, judged alike on every replay and restart."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from analytics.types import Outcome, Verdict, VerdictKind
from streams.codec import pack, unpack
from streams.decide import Decided
from streams.local_worker import LocalWorker, WorkerSettings, replay
from streams.log.base import Append, Record
from streams.log.memory import MemoryLog
from streams.rows import Columns
from streams.snapshot import decider_parts, restore_decider
from streams.state import StateStore
from tests.fakes.segments import START_MS, WINDOW_MS, appends
from wire.errors import PermanentError, TransientError
from wire.segment import decode

SETTINGS = WorkerSettings(WINDOW_MS, 86_400_000, retention_ms=86_400_000)


class MemorySink:
    """Keeps what is written, last write per window; fails when told to."""

    def __init__(self) -> None:
        self.tables: list[Mapping[str, Columns]] = []
        self.failures = 0

    def write(self, rows: Mapping[str, Columns]) -> int:
        if self.failures:
            self.failures -= 1
            raise TransientError("store_away", "the store does not answer")
        self.tables.append(rows)
        return 1

    def write_many(self, windows: Sequence[Mapping[str, Columns]]) -> int:
        return sum(self.write(rows) for rows in windows)


def filled_log(
    seed: int = 1,
    *,
    partitions: int = 2,
    seconds: int = 8,
    slower: float = 1.0,
    repeat_share: float = 0.0,
) -> MemoryLog:
    log = MemoryLog(partitions)
    rng = np.random.default_rng(seed)
    for append in appends(
        rng, partitions=partitions, seconds=seconds, slower=slower, repeat_share=repeat_share
    ):
        log.append([append])
    return log


def records(log: MemoryLog) -> list[Record]:
    return [
        record
        for partition in range(log.partitions)
        for record in log.read(partition, log.start(partition), bytes_max=1 << 30)
    ]


def replayed(log: MemoryLog) -> list[Decided]:
    return replay(
        records(log), partitions=log.partitions, window_ms=WINDOW_MS, horizon_ms=86_400_000
    )


def verdicts(decided: list[Decided]) -> list[Verdict]:
    return [v for d in decided for v in d.verdicts]


def counts(decided: list[Decided]) -> Counter[tuple[str, str]]:
    total: Counter[tuple[str, str]] = Counter()
    for d in decided:
        table = d.rows["ingest_window"]
        unit, outcome, count = (np.asarray(table[name]) for name in ("unit", "outcome", "count"))
        for u, o, c in zip(unit.tolist(), outcome.tolist(), count.tolist(), strict=True):
            total[u, o] += c
    return total


def test_every_row_is_aggregated_once_and_the_balance_is_zero() -> None:
    total = counts(replayed(filled_log(repeat_share=0.0)))

    assert total["rows", "received"] == total["rows", "aggregated"] == 7 * 2 * 2 * 100


def test_uploads_sent_again_change_no_count() -> None:
    once = replayed(filled_log(seconds=12))
    log = MemoryLog(2)
    for append in appends(np.random.default_rng(1), partitions=2, seconds=12):
        log.append([append] * (3 if append.batch_ids else 1))
    thrice = replayed(log)

    assert counts(thrice)["rows", "aggregated"] == counts(once)["rows", "aggregated"]
    assert counts(thrice)["rows", "deduplicated"] == 2 * counts(once)["rows", "aggregated"]
    assert verdicts(thrice) == verdicts(once)


def test_a_slow_candidate_is_in_breach_and_an_equal_one_is_not() -> None:
    bad = verdicts(replayed(filled_log(seconds=40, slower=1.6)))
    good = verdicts(replayed(filled_log(seconds=40)))

    breaches = [v for v in bad if v.outcome is Outcome.BREACH]
    assert len(breaches) == 1
    assert breaches[0].arithmetic.metric == "inference.latency"
    assert all(v.outcome is not Outcome.BREACH for v in good)
    assert {v.kind for v in good} == {VerdictKind.RELEASE}


def test_the_same_log_gives_the_same_verdicts_bit_for_bit() -> None:
    log = filled_log(seconds=20, slower=1.3)

    assert verdicts(replayed(log)) == verdicts(replayed(log))


@pytest.mark.parametrize("stops", [1, 3])
def test_a_restart_at_any_moment_changes_nothing(tmp_path: Path, stops: int) -> None:
    partitions = 2
    whole = filled_log(seconds=14, slower=1.2, repeat_share=0.3, partitions=partitions)
    expected = replayed(whole)
    log, sink, state = MemoryLog(partitions), MemorySink(), StateStore(tmp_path / "state.db")
    worker = LocalWorker(log, sink, state, SETTINGS)
    seen: list[Verdict] = []
    for i, append in enumerate(
        appends(
            np.random.default_rng(1),
            partitions=partitions,
            seconds=14,
            slower=1.2,
            repeat_share=0.3,
        )
    ):
        log.append([append])
        if i % 5 == 0:
            worker.step()
        if i % (29 // stops) == 7:  # the process dies here: only log and state survive
            worker = LocalWorker(
                log, sink, state, SETTINGS, on_decided=lambda d: seen.extend(d.verdicts)
            )
    while worker.step():
        pass

    last = replay(records(log), partitions=partitions, window_ms=WINDOW_MS, horizon_ms=86_400_000)
    assert [d.window_start_ms for d in last] == [d.window_start_ms for d in expected]
    assert seen[-1] == verdicts(expected)[-1]
    assert decider_parts(worker.decider) == parts_of_replay(log)
    state.close()


def parts_of_replay(log: MemoryLog) -> dict[str, bytes]:
    fresh = LocalWorker(log, MemorySink(), StateStore(Path(":memory:")), SETTINGS)
    while fresh.step():
        pass
    return decider_parts(fresh.decider)


def test_a_store_that_is_away_loses_nothing(tmp_path: Path) -> None:
    log, sink = filled_log(seconds=6), MemorySink()
    state = StateStore(tmp_path / "state.db")
    worker = LocalWorker(log, sink, state, SETTINGS)
    sink.failures = 3

    for _ in range(3):
        with pytest.raises(TransientError):
            worker.step()
    while worker.step():
        pass

    starts = [t["ingest_window"]["window_start"][0] for t in sink.tables]  # type: ignore[index]
    assert starts == [d.window_start_ms for d in replayed(log)]
    state.close()


def test_undecodable_records_are_buried_and_the_rest_flows(tmp_path: Path) -> None:
    log = filled_log(seconds=3)
    log.append([Append(0, b"junk", START_MS)])
    for append in appends(np.random.default_rng(2), partitions=2, seconds=6):
        log.append([append])
    state = StateStore(tmp_path / "state.db")
    worker = LocalWorker(log, MemorySink(), state, SETTINGS)

    while worker.step():
        pass

    assert state.letters.waiting(0) == 1
    assert worker.progress.windows >= 4
    state.close()


def test_a_state_of_another_format_is_refused_not_misread() -> None:
    log = filled_log(seconds=3)
    worker = LocalWorker(log, MemorySink(), StateStore(Path(":memory:")), SETTINGS)
    while worker.step():
        pass
    parts = decider_parts(worker.decider)
    old = {**unpack(parts["stages"]), "format": 0}

    with pytest.raises(PermanentError, match="state_format_unknown"):
        restore_decider({**parts, "stages": pack(old)}, partitions=2, window_ms=WINDOW_MS)


def test_payloads_are_trimmed_after_the_retention_and_ids_are_kept(tmp_path: Path) -> None:
    log = filled_log(seconds=12)
    kept = WorkerSettings(WINDOW_MS, 86_400_000, retention_ms=3 * WINDOW_MS)
    worker = LocalWorker(log, MemorySink(), StateStore(tmp_path / "state.db"), kept)

    while worker.step():
        pass

    held = [decode(r.payload) for r in log.read(0, log.start(0), bytes_max=1 << 30)]
    oldest_ms = min(s.arrived_ms for s in held)
    assert log.start(0) > 0
    assert oldest_ms >= worker.decider.decided_until_ms - 5 * WINDOW_MS
    assert len(list(log.batch_ids(0, before=log.end(0), since_ms=0))) == 12 * 2
