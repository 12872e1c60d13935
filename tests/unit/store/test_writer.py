"""Columns become Arrow tables of exactly the declared types."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.tables import KEYS, TABLES
from store.writer import Column, Ragged, Rows, Writer, arrow_table
from wire.errors import PermanentError


class RecordingSink:
    def __init__(self) -> None:
        self.inserted: list[tuple[str, pa.Table]] = []

    def insert_arrow(self, table: str, rows: pa.Table) -> None:
        self.inserted.append((table, rows))


def ingest_rows(**changed: Column) -> dict[str, Column]:
    return {
        "window_start": [1_700_000_000_000, 1_700_000_060_000],
        "window_ms": [60_000, 60_000],
        "partition": [0, 1],
        "unit": ["rows", "rows"],
        "outcome": ["received", "aggregated"],
        "reason": ["", ""],
        "count": [7, 7],
        **changed,
    }


def test_every_key_is_made_of_columns_of_its_table() -> None:
    assert set(KEYS) == set(TABLES)
    for table, key in KEYS.items():
        assert set(key) <= set(TABLES[table])


def test_one_call_makes_one_insert_per_table_and_counts_the_rows() -> None:
    sink = RecordingSink()

    written = Writer(sink).write({"ingest_window": ingest_rows()})

    assert written == 2
    assert [table for table, _ in sink.inserted] == ["hf_store.ingest_window"]


def test_milliseconds_become_timestamps_in_utc() -> None:
    rows = arrow_table("ingest_window", ingest_rows())

    assert rows.schema.field("window_start").type == pa.timestamp("ms", tz="UTC")
    assert rows["window_start"].cast(pa.int64()).to_pylist()[0] == 1_700_000_000_000


def test_no_rows_make_no_insert() -> None:
    sink = RecordingSink()
    empty: dict[str, Column] = {name: [] for name in TABLES["ingest_window"]}

    assert Writer(sink).write({"ingest_window": empty}) == 0
    assert sink.inserted == []


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ({"nope": {}}, "unknown_table"),
        ({"ingest_window": {"unit": ["rows"]}}, "wrong_columns"),
        ({"ingest_window": ingest_rows(colour=["red", "red"])}, "wrong_columns"),
        ({"ingest_window": ingest_rows(count=[7])}, "wrong_length"),
        ({"ingest_window": ingest_rows(count=[7, -1])}, "wrong_value"),
        ({"ingest_window": ingest_rows(partition=[7, 70_000])}, "wrong_value"),
        ({"ingest_window": ingest_rows(unit=["rows", 5])}, "wrong_value"),
        ({"ingest_window": ingest_rows(count=[7.5, 1.0])}, "wrong_value"),
    ],
)
def test_wrong_rows_are_refused_before_anything_is_sent(rows: Rows, code: str) -> None:
    sink = RecordingSink()

    with pytest.raises(PermanentError) as refused:
        Writer(sink).write({"ingest_window": ingest_rows(), **rows})

    assert refused.value.code == code
    assert sink.inserted == []


@given(st.lists(st.lists(st.integers(0, 65_535), max_size=5), min_size=1, max_size=20))
def test_lists_come_back_as_they_went_in(lists: list[list[int]]) -> None:
    offsets = np.concatenate([[0], np.cumsum([len(x) for x in lists])]).astype(np.int64)
    ragged = Ragged(offsets, np.array([v for x in lists for v in x], np.int64))
    columns: dict[str, Column] = {name: [0] * len(lists) for name in TABLES["metric_window"]}
    text: dict[str, Column] = {
        c: [""] * len(lists) for c, t in TABLES["metric_window"].items() if "String" in t
    }

    rows = arrow_table("metric_window", columns | text | {"buckets": ragged, "counts": ragged})

    assert rows["buckets"].to_pylist() == lists


@pytest.mark.parametrize("offsets", [[], [1, 2], [0, 1], [0, 3, 2]])
def test_offsets_that_do_not_fit_are_refused(offsets: list[int]) -> None:
    ragged = Ragged(np.array(offsets, np.int64), np.array([1, 2], np.int64))
    columns: dict[str, Column] = {name: [0] for name in TABLES["metric_window"]}

    with pytest.raises(PermanentError) as refused:
        arrow_table("metric_window", columns | {"buckets": ragged, "counts": ragged})

    assert refused.value.code == "wrong_value"
