"""No answer of a view rests on fewer than ten uploads: against a real endpoint."""

import numpy as np
import pytest

from store.client import Client
from store.released import Released
from store.writer import Writer
from tests.integration.store_fixtures import StoreEndpoint
from tests.integration.store_rows import START_MS, metric_rows
from wire.smallest_cell import UPLOADS_MIN
from wire.times import HOUR_MS, MINUTE_MS


@pytest.fixture
def writer(store_endpoint: StoreEndpoint) -> Writer:
    client = store_endpoint.writer()
    return Writer(client, releases=Released(client))


@pytest.fixture
def analyst(store_endpoint: StoreEndpoint) -> Client:
    return store_endpoint.analyst()


def small_windows(model: str, uploads: list[int], version: str = "1.0") -> list[dict[str, object]]:
    return [
        {
            "metric_window": metric_rows(
                [np.full(3 * count, 5.0, np.float32)],
                model=model,
                version=version,
                window_start=START_MS + i * MINUTE_MS,
                uploads=[count],
            )
        }
        for i, count in enumerate(uploads)
    ]


def next_hour(model: str) -> dict[str, object]:
    rows = metric_rows(
        [np.ones(1, np.float32)], model=model, window_start=START_MS + HOUR_MS, uploads=[1]
    )
    return {"metric_window": rows}


def shown(analyst: Client, model: str) -> list[tuple[object, ...]]:
    """Rows of the view; it says uploads in tens, and each has three observations here."""
    sql = (
        "SELECT model_version, width_s, uploads, n FROM hf.metric_minute "
        "WHERE model_id = {m:String} ORDER BY ALL"
    )
    return [tuple(row) for row in analyst.rows(sql, {"m": model})]


def test_small_windows_are_shown_together_when_their_hour_is_over(
    writer: Writer, analyst: Client
) -> None:
    writer.write_many(small_windows("together", [4, 5, 6]))  # type: ignore[arg-type]  # columns
    assert shown(analyst, "together") == []

    for _ in range(2):
        writer.write_many([next_hour("together")])  # type: ignore[list-item]  # columns
        assert shown(analyst, "together") == [("1.0", 3600, 10, 45)]


def test_a_process_that_ended_between_two_hours_is_made_up_for(
    store_endpoint: StoreEndpoint, writer: Writer, analyst: Client
) -> None:
    Writer(store_endpoint.writer()).write_many(small_windows("dead", [9, 9]))  # type: ignore[arg-type]  # columns

    writer.write_many([next_hour("dead")])  # type: ignore[list-item]  # columns

    assert shown(analyst, "dead") == [("1.0", 3600, 10, 54)]


@pytest.mark.parametrize(
    ("by_version", "expected"),
    [
        ({"1": [4], "2": [5]}, []),
        ({"1": [4], "2": [7]}, [("other", 3600, 10, 33)]),
        ({"1": [4], "2": [6, 6], "3": [9, 9]}, [("3", 3600, 10, 54), ("other", 3600, 10, 48)]),
        ({"1": [9, 1]}, [("1", 3600, 10, 30)]),
    ],
)
def test_small_releases_are_other_with_the_smallest_sibling_if_need_be(
    writer: Writer,
    analyst: Client,
    by_version: dict[str, list[int]],
    expected: list[tuple[object, ...]],
) -> None:
    model = "-".join(f"{v}x{sum(u)}" for v, u in by_version.items())
    for version, uploads in by_version.items():
        writer.write_many(small_windows(model, uploads, version))  # type: ignore[arg-type]  # columns

    writer.write_many([next_hour(model)])  # type: ignore[list-item]  # columns

    assert shown(analyst, model) == expected
    assert all(int(str(row[2])) >= UPLOADS_MIN for row in shown(analyst, model))
