"""The clocks of a log's life, and the log of a state: what does not fit is named, before a step.

`test_two_widths...` and `test_an_upload...` are the two inputs that were counted wrongly once: a
window width and an accepted age that were changed in Git, and a restart.
"""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.clocks import Clocks, check_clocks
from streams.local_worker import LocalWorker, WorkerSettings
from streams.log.base import Append
from streams.log.sqlite import SqliteLog
from streams.resume import pinned_clocks
from streams.state import StateStore
from tests.fakes.segments import START_MS, appends
from tests.fakes.stage_topics import MemorySink
from wire.errors import PermanentError

HOUR_MS = 3_600_000
SETTINGS = WorkerSettings(1000, 24 * HOUR_MS, retention_ms=24 * HOUR_MS)
RUN = list(appends(np.random.default_rng(4), partitions=1, seconds=8))
OTHER = list(appends(np.random.default_rng(5), partitions=1, seconds=16))
HALF = len(RUN) // 2


class Node:
    """A log and a state in a folder, as a node has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sink = MemorySink()

    def append(self, records: list[Append]) -> None:
        log = self.log()
        log.append(records)
        log.close()

    def log(self) -> SqliteLog:
        return SqliteLog(self.folder / "log.db", partitions=1, now_ms=lambda: START_MS)

    def live(self, settings: WorkerSettings = SETTINGS) -> None:
        """Start, take all that there is, end."""
        log, state = self.log(), StateStore(self.folder / "state.db")
        try:
            worker = LocalWorker(log, self.sink, state, settings)
            while worker.step():
                pass
        finally:
            state.close()
            log.close()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    made.append(RUN[:HALF])
    made.live()
    return made


@pytest.mark.parametrize("window_ms", [1, 999, 1001, 2000, 3000, 60_000])
def test_two_widths_of_window_are_never_in_one_store(node: Node, window_ms: int) -> None:
    before = dict(node.sink.rows)
    node.append(RUN[HALF:])

    with pytest.raises(PermanentError, match=f"1000 ms wide, not {window_ms}") as caught:
        node.live(WorkerSettings(window_ms, SETTINGS.horizon_ms))

    assert caught.value.code == "state_of_other_clocks"
    assert node.sink.rows == before
    node.live()
    assert len(node.sink.rows) == 7


def test_a_width_is_pinned_before_the_first_row_is_written(tmp_path: Path) -> None:
    """A store that was written and a state that was not must not come apart."""
    node = Node(tmp_path)
    node.append(RUN)
    node.sink.failures = 1
    with pytest.raises(Exception, match="store_away"):
        node.live()

    with pytest.raises(PermanentError, match="state_of_other_clocks"):
        node.live(WorkerSettings(3000, SETTINGS.horizon_ms))


def test_a_width_outlives_the_state(node: Node) -> None:
    (node.folder / "state.db").unlink()

    with pytest.raises(PermanentError, match="state_of_other_clocks"):
        node.live(WorkerSettings(3000, SETTINGS.horizon_ms))


def test_an_upload_is_not_accepted_for_longer_than_it_is_remembered(node: Node) -> None:
    with pytest.raises(PermanentError, match="counted twice") as caught:
        node.live(WorkerSettings(1000, SETTINGS.horizon_ms + 1))

    assert caught.value.code == "state_of_other_clocks"
    assert str(SETTINGS.horizon_ms) in caught.value.accepted


def test_a_shorter_accepted_age_forgets_nothing(node: Node) -> None:
    node.live(WorkerSettings(1000, HOUR_MS))

    log = node.log()
    assert pinned_clocks(log) == Clocks(1000, 24 * HOUR_MS)
    log.close()
    node.live()


clocks = st.builds(
    Clocks,
    st.sampled_from([500, 1000, 60_000]),
    st.sampled_from([1, 2, 24, 168]).map(HOUR_MS.__mul__),
)


@given(clocks, st.lists(clocks, max_size=6))
def test_the_first_clocks_stand_whatever_comes(first: Clocks, others: list[Clocks]) -> None:
    stands = first
    for wanted in others:
        fits = wanted.window_ms == first.window_ms and wanted.horizon_ms <= first.horizon_ms
        try:
            stands = check_clocks(stands, wanted)
        except PermanentError:
            assert not fits
        else:
            assert fits
        assert stands == first


# --- the log of a state ---------------------------------------------------------------------------
def lost(node: Node) -> None:
    shutil.rmtree(node.folder / "log.db")


def made_anew(records: list[Append]) -> Callable[[Node], None]:
    def happen(node: Node) -> None:
        lost(node)
        node.append(records)

    return happen


def restored(more: list[Append]) -> Callable[[Node], None]:
    """A backup of the log from the middle of what was read, with the same id."""

    def happen(node: Node) -> None:
        database = sqlite3.connect(node.folder / "log.db/log.sqlite")
        for table in ("records", "batch_ids"):
            database.execute(f"DELETE FROM {table} WHERE id >= 5")  # noqa: S608
        database.commit()
        database.close()
        node.append(more)

    return happen


def trimmed(node: Node) -> None:
    node.append(RUN[HALF:])
    log = node.log()
    log.trim(0, before=len(RUN) - 1)
    log.close()


HISTORIES = {
    "lost": (lost, "log_replaced"),
    "made anew, shorter": (made_anew(OTHER[:5]), "log_replaced"),
    "made anew, same length": (made_anew(OTHER[:HALF]), "log_replaced"),
    "made anew, longer": (made_anew(OTHER), "log_replaced"),
    "made anew, same records": (made_anew(RUN), "log_replaced"),
    "older backup": (restored([]), "log_behind_position"),
    "older backup, grown": (restored(OTHER), "log_replaced"),
    "trimmed past us": (trimmed, "log_trimmed"),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_log_that_is_not_the_one_of_the_state_is_named(node: Node, name: str) -> None:
    happen, code = HISTORIES[name]
    before = dict(node.sink.rows)

    happen(node)

    for _ in range(2):
        with pytest.raises(PermanentError) as caught:
            node.live()
        assert caught.value.code == code
        assert caught.value.accepted
    assert node.sink.rows == before


def test_a_state_from_an_older_backup_counts_nothing_twice(node: Node) -> None:
    shutil.copy(node.folder / "state.db", node.folder / "state.backup")
    node.append(RUN[HALF:])
    node.live()
    after = dict(node.sink.rows)

    for suffix in ("-wal", "-shm"):
        (node.folder / f"state.db{suffix}").unlink(missing_ok=True)
    shutil.move(node.folder / "state.backup", node.folder / "state.db")
    node.live()

    assert node.sink.rows == after
