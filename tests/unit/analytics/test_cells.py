"""Cells add up: to brute force, in any order, in any split."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analytics.buckets import COUNT, EDGES, bucket_of, quantile
from analytics.cells import (
    Cells,
    MetricShape,
    Shape,
    aggregate,
    dense,
    empty,
    histogram_offsets,
    merge,
    rekey,
)

SHAPES = (MetricShape(Shape.NUMBER, 1000), MetricShape(Shape.CODE, 1))
rows = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 2),
        st.floats(0, 1e6, width=32) | st.none(),
        st.integers(0, 9) | st.none(),
    ),
    max_size=40,
)
Rows = list[tuple[int, int, float | None, int | None]]


def cells_of(table: Rows) -> Cells:
    key = np.array([r[0] for r in table], np.int32)
    bucket = np.array([r[1] for r in table], np.int64)
    numbers = np.array([r[2] if r[2] is not None else 0 for r in table], np.float32)
    codes = np.array([r[3] if r[3] is not None else 0 for r in table], np.uint32)
    has_number = np.array([r[2] is not None for r in table], bool)
    has_code = np.array([r[3] is not None for r in table], bool)
    return merge(aggregate(key, bucket, {0: (numbers, has_number), 1: (codes, has_code)}, SHAPES))


def said(cells: Cells) -> dict[tuple[int, int, int], tuple[int, int, dict[int, int]]]:
    offsets = histogram_offsets(cells)
    return {
        (int(cells.key[i]), int(cells.metric[i]), int(cells.event_bucket[i])): (
            int(cells.n[i]),
            int(cells.total[i]),
            {
                int(b): int(c)
                for b, c in zip(
                    cells.hist_bucket[offsets[i] : offsets[i + 1]],
                    cells.hist_count[offsets[i] : offsets[i + 1]],
                    strict=True,
                )
            },
        )
        for i in range(len(cells))
    }


@given(rows)
def test_cells_equal_counting_one_by_one(table: Rows) -> None:
    counts: dict[tuple[int, int, int], list[float]] = {}
    for key, bucket, number, code in table:
        for metric, value in ((0, number), (1, code)):
            if value is not None:
                counts.setdefault((key, metric, bucket), []).append(value)

    got = said(cells_of(table))

    assert got.keys() == counts.keys()
    for where, values in counts.items():
        n, total, histogram = got[where]
        shape = SHAPES[where[1]]
        column = np.array(values, np.float32)
        buckets = bucket_of(column) if shape.shape is Shape.NUMBER else column.astype(int)
        assert n == len(values)
        assert total == int(np.rint(column.astype(np.float64) * shape.scale).sum())
        assert histogram == Counter(buckets.tolist())


@given(rows, st.integers(0, 40), st.integers(0, 40))
def test_the_whole_is_the_merge_of_its_parts_in_any_order(table: Rows, i: int, j: int) -> None:
    i, j = sorted((i, j))
    a, b, c = (cells_of(part) for part in (table[:i], table[i:j], table[j:]))

    whole = said(cells_of(table))

    assert said(merge([c, a, b])) == whole
    assert said(merge([merge([b, c]), empty(), a])) == whole


@given(rows)
def test_keys_that_become_one_add_up(table: Rows) -> None:
    folded = [(r[0] // 2, *r[1:]) for r in table]

    assert said(merge([rekey(cells_of(table), np.array([0, 0, 1, 1], np.int32))])) == said(
        cells_of(folded)
    )


def test_dense_histograms_put_codes_beyond_the_end_into_the_last_bucket() -> None:
    cells = cells_of([(0, 0, None, 9), (0, 0, None, 2), (0, 0, None, 2)])

    assert dense(cells, 0, histogram_offsets(cells), 5).tolist() == [0, 0, 2, 0, 1]


@given(st.lists(st.floats(0, 2.0**36, width=32), min_size=1))
def test_a_value_lies_in_its_bucket(values: list[float]) -> None:
    column = np.array(values, np.float32)

    bucket = bucket_of(column)

    assert (EDGES[bucket] <= column).all()
    assert (column < np.append(EDGES, np.inf)[bucket + 1]).all()


@given(st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_quantiles_are_within_three_percent(q: float, seed: int) -> None:
    sample = np.random.default_rng(seed).lognormal(3, 0.8, 4000).astype(np.float32)

    got = quantile(np.bincount(bucket_of(sample), minlength=COUNT), q)

    below, above = np.quantile(sample, [max(q - 0.001, 0), min(q + 0.001, 1)])
    assert below * 0.97 <= got <= above * 1.03
