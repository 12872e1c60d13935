"""What may be shown of a window: counted by uploads that the test knows one by one."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.cells import aggregate, histogram_offsets, merge
from streams.partial import WindowPartial
from streams.series import METRIC_NAMES, METRIC_SHAPES, Series
from streams.shown import CLASS_OTHER, rare, shown_rows
from wire.smallest_cell import PARTIAL_MIN, UPLOADS_MIN

CLASS = METRIC_NAMES.index("prediction.class")
LATENCY = METRIC_NAMES.index("inference.latency")
SERIES = [Series("app", "m", "1", "", 0, "", "android", "mid", region) for region in ("de", "fr")]

uploads = st.lists(
    st.tuples(
        st.integers(0, 1),  # region
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), min_size=1, max_size=6
        ),  # of each row: minute, class, whether it has a class
    ),
    min_size=1,
    max_size=60,
)
Sent = list[tuple[int, list[tuple[int, int, bool]]]]


def window_of(sent: Sent) -> WindowPartial:
    rows = [(s, i, *row) for i, (s, each) in enumerate(sent) for row in each]
    key, upload, minute, code, present = (np.array(column) for column in zip(*rows, strict=True))
    columns: dict[int, Any] = {
        CLASS: (code.astype(np.uint32), present.astype(bool)),
        LATENCY: (np.ones(len(key), np.float32), None),
    }
    parts = aggregate(
        key.astype(np.int32), minute.astype(np.int64) * 2, columns, METRIC_SHAPES, upload
    )
    return WindowPartial(0, 60_000, SERIES, merge(parts))


@given(uploads)
def test_an_upload_counts_once_in_each_of_its_cells(sent: Sent) -> None:
    cells = window_of(sent).cells
    offsets = histogram_offsets(cells)

    for i in range(len(cells)):
        having = [
            {code for minute, code, has in rows if minute == cells.event_bucket[i] >> 1 and has}
            for region, rows in sent
            if region == cells.key[i]
        ]
        if cells.metric[i] == CLASS:
            assert cells.uploads[i] == sum(bool(codes) for codes in having)
            entries = slice(int(offsets[i]), int(offsets[i + 1]))
            for code, counted in zip(
                cells.hist_bucket[entries], cells.hist_uploads[entries], strict=True
            ):
                assert counted == sum(int(code) in codes for codes in having)


def shown_of(sent: Sent) -> dict[int, dict[int, tuple[int, int, int, float]]]:
    """By minute and metric: uploads, observations, uploads that have the metric, sum."""
    rows = shown_rows(window_of(sent))
    metrics = rows["metric"].codes  # type: ignore[union-attr]  # coded by `shown_rows`
    found: dict[int, dict[int, tuple[int, int, int, float]]] = {}
    columns = [np.asarray(rows[name]) for name in ("uploads", "n", "uploads_with", "sum")]
    at = np.asarray(rows["event_bucket"]) // 60_000
    for i, metric in enumerate(metrics):
        uploads, n, having, total = (column[i] for column in columns)
        found.setdefault(int(at[i]), {})[int(metric)] = (
            int(uploads), int(n), int(having), float(total),
        )  # fmt: skip
    return found


@given(uploads)
def test_all_metrics_of_a_place_are_shown_or_wait_and_say_the_same(sent: Sent) -> None:
    """Every observation has a latency, and some have a class."""
    expected = {}
    for minute in range(3):
        rows = [[has for m, _, has in each if m == minute] for _, each in sent]
        every, having = sum(map(bool, rows)), sum(map(any, rows))
        n = sum(map(len, rows))
        if every < UPLOADS_MIN or (0 < having < UPLOADS_MIN and every < PARTIAL_MIN):
            continue
        expected[minute] = {LATENCY: (every, n, every, float(n))}
        if having >= UPLOADS_MIN:
            expected[minute][CLASS] = (every, n, having, np.nan)
    found = shown_of(sent)

    assert found.keys() == expected.keys()
    for minute, metrics in found.items():
        assert {m: row[:3] for m, row in metrics.items()} == {
            m: row[:3] for m, row in expected[minute].items()
        }
        assert metrics[LATENCY][3] == pytest.approx(expected[minute][LATENCY][3])


@given(uploads)
def test_the_classes_of_a_place_add_up_to_its_observations(sent: Sent) -> None:
    rows = shown_rows(window_of(sent))

    counts = rows["counts"]
    for i, metric in enumerate(rows["metric"].codes):  # type: ignore[union-attr]  # coded
        if metric == CLASS:
            told = counts.values[counts.offsets[i] : counts.offsets[i + 1]]  # type: ignore[union-attr]  # ragged
            assert told.sum() == np.asarray(rows["n"])[i]


@given(uploads)
def test_no_class_is_shown_that_too_few_uploads_predicted(sent: Sent) -> None:
    rows = shown_rows(window_of(sent))

    offsets, codes = rows["buckets"].offsets, rows["buckets"].values  # type: ignore[union-attr]  # ragged
    for i, metric in enumerate(rows["metric"].codes):  # type: ignore[union-attr]  # coded
        if metric != CLASS:
            continue
        minute = int(np.asarray(rows["event_bucket"])[i]) // 60_000
        shown = [int(c) for c in codes[offsets[i] : offsets[i + 1]]]
        for named in {*shown} - {CLASS_OTHER}:
            assert behind(sent, minute, {named}) >= UPLOADS_MIN
        if CLASS_OTHER in shown:
            assert behind(sent, minute, {*range(4)} - {*shown}) >= UPLOADS_MIN


def behind(sent: Sent, minute: int, codes: set[int]) -> int:
    return sum(any(m == minute and has and c in codes for m, c, has in rows) for _, rows in sent)


def test_the_smallest_sibling_joins_what_is_too_small() -> None:
    assert rare(np.array([30, 12, 3])).tolist() == [False, True, True]
    assert rare(np.array([30, 12])).tolist() == [False, False]
    assert rare(np.array([3, 4])).tolist() == [True, True]
    assert rare(np.array([30, 12]), without=1).tolist() == [False, True]
