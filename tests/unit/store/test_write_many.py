"""Several windows at once: all durable at the return, few inserts, paced by the store's answers."""

import contextlib
import gc
import threading
import weakref

import numpy as np
import pyarrow as pa
import pytest

from store.pace import FIRST, MOST, Pace
from store.tables import TABLES
from store.writer import Column, Rows, Writer
from tests.unit.store.test_writer import ingest_rows
from wire.errors import TransientError


class SlowSink:
    """Holds every insert until `go`; fails the tables that it is told to."""

    def __init__(self, failing: frozenset[str] = frozenset()) -> None:
        self.go = threading.Event()
        self.under_way = self.most = 0
        self.inserted: list[tuple[str, pa.Table]] = []
        self.asked: list[tuple[str, pa.Table]] = []
        self._failing = failing
        self._lock = threading.Lock()

    def insert_arrow(self, table: str, rows: pa.Table) -> None:
        with self._lock:
            self.under_way += 1
            self.asked.append((table, rows))
            self.most = max(self.most, self.under_way)
        self.go.wait(60)
        with self._lock:
            self.under_way -= 1
            if table in self._failing:
                raise TransientError("store_busy", "too many")
            self.inserted.append((table, rows))


def window(number: int) -> Rows:
    start = [1_700_000_000_000 + 60_000 * number] * 2
    return {"ingest_window": ingest_rows(window_start=start)}


def wide_window(rows: int) -> Rows:
    """Four tables of so many rows."""
    text = {"String", "LowCardinality(String)"}

    def column(kind: str) -> Column:
        return ["x"] * rows if kind in text else np.zeros(rows, np.int64)

    return {
        name: {column_name: column(kind) for column_name, kind in TABLES[name].items()}
        for name in ("verdict", "action", "cost_line", "ingest_window")
    }


def test_small_windows_go_in_one_insert_with_every_row() -> None:
    sink = SlowSink()
    sink.go.set()

    written = Writer(sink).write_many([window(n) for n in range(20)])

    assert written == 40
    [(table, rows)] = sink.inserted
    assert table == "hf_store.ingest_window"
    assert rows["window_start"].cast(pa.int64()).to_pylist() == [
        1_700_000_000_000 + 60_000 * n for n in range(20) for _ in range(2)
    ]
    assert rows["outcome"].to_pylist() == ["received", "aggregated"] * 20


def test_large_windows_are_inserts_of_their_own() -> None:
    sink = SlowSink()
    sink.go.set()

    written = Writer(sink).write_many([wide_window(50_000), wide_window(50_000)])

    assert written == 400_000
    assert sorted(table for table, _ in sink.inserted) == sorted(
        f"hf_store.{name}" for name in wide_window(1) for _ in range(2)
    )


def test_no_more_inserts_are_under_way_than_the_pace_allows() -> None:
    sink = SlowSink()
    pace = Pace(most=2)
    writing = threading.Thread(target=Writer(sink, pace).write, args=(wide_window(1),))

    writing.start()
    while sink.under_way < 2:
        pass
    sink.go.set()
    writing.join(60)

    assert sink.most == 2
    assert len(sink.inserted) == 4


def test_an_insert_that_failed_is_told_and_none_is_left_under_way() -> None:
    sink = SlowSink(frozenset({"hf_store.action"}))
    sink.go.set()

    with pytest.raises(TransientError) as told:
        Writer(sink).write(wide_window(1))

    assert told.value.code == "store_busy"
    assert sink.under_way == 0


def test_a_failed_write_leaves_no_rows_behind_for_the_collector() -> None:
    """A store that is away for minutes is asked hundreds of times, with megabytes each."""
    sink = SlowSink(frozenset({"hf_store.action"}))
    sink.go.set()
    writer = Writer(sink)
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(TransientError):
            writer.write(wide_window(1))
        failed = [weakref.ref(rows) for table, rows in sink.asked if table == "hf_store.action"]
        sink.asked.clear()

        assert [ref() for ref in failed] == [None]
    finally:
        gc.enable()


def test_a_wrong_window_is_refused_before_any_other_is_sent() -> None:
    sink = SlowSink()
    wrong: Rows = {"ingest_window": {"count": [1]}}

    with pytest.raises(Exception, match="wrong_columns"):
        Writer(sink).write_many([window(1), wrong])

    assert sink.inserted == []


def test_the_pace_grows_by_one_a_round_and_halves_at_a_failure() -> None:
    pace = Pace()

    limits = []
    for _ in range(3):
        for _ in range(pace.limit):
            pace.succeeded()
        limits.append(pace.limit)
    for _ in range(100):
        pace.succeeded()
    highest = pace.limit
    pace.failed()

    assert limits == sorted(limits)
    assert int(FIRST) < limits[-1] <= int(FIRST) + 3
    assert highest == MOST
    assert pace.limit == MOST // 2


def test_the_pace_never_stops() -> None:
    pace = Pace()

    for _ in range(10):
        pace.failed()

    assert pace.limit == 1
