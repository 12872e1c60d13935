"""What analysts are told of balances, reasons and verdicts: against a real endpoint."""

import json

import pytest

from store import queries
from store.client import Client
from store.writer import Writer
from tests.integration.store_fixtures import StoreEndpoint
from tests.integration.store_rows import START_MS, next_minute, rows_of


@pytest.fixture
def writer(store_endpoint: StoreEndpoint) -> Writer:
    return Writer(store_endpoint.writer())


@pytest.fixture
def analyst(store_endpoint: StoreEndpoint) -> Client:
    return store_endpoint.analyst()


def test_the_mass_balance_shows_what_is_missing(
    store_endpoint: StoreEndpoint, writer: Writer, analyst: Client
) -> None:
    before = queries.mass_balance(store_endpoint.writer())

    writer.write(
        {
            "ingest_window": rows_of(
                "ingest_window",
                window_start=[START_MS] * 4,
                partition=[3] * 4,
                unit=["rows", "rows", "rows", "uploads"],
                outcome=["received", "aggregated", "rejected", "received"],
                reason=["", "", "metric_out_of_bounds", ""],
                count=[100, 90, 7, 5],
            )
        }
    )

    after = queries.mass_balance(store_endpoint.writer())
    assert {name: after[name] - before[name] for name in after} == {
        "received": 100,
        "aggregated": 90,
        "rejected": 7,
        "deduplicated": 0,
        "dead_lettered": 0,
        "difference": 3,
    }
    writer.write({"ingest_window": next_minute()})
    missing = "SELECT sum(difference) FROM hf.ingest_quality"
    assert list(analyst.rows(missing)) == [(3,)]
    reasons = "SELECT n FROM hf.ingest_reasons WHERE reason = 'metric_out_of_bounds'"
    assert list(analyst.rows(reasons)) == []  # fewer than ten, without others


def test_a_withheld_verdict_is_shown_to_nobody_but_a_breach_is(
    writer: Writer, analyst: Client
) -> None:
    writer.write(
        {
            "verdict": rows_of(
                "verdict",
                verdict_id=["wh-told", "wh-waits", "wh-breach"],
                outcome=["inconclusive", "inconclusive", "breach"],
                rollout_id=["withheld"] * 3,
                units_candidate=[20, 21, 30],
                units_control=[20, 29, 30],
                withheld=[0, 1, 0],
                arithmetic=["{}"] * 3,
            )
        }
    )

    found = queries.verdicts(analyst, rollout_id="withheld")

    assert {row["verdict_id"] for row in found} == {"wh-told", "wh-breach"}


def test_a_breach_that_few_came_for_is_shown_in_the_numbers_that_it_is_told_in(
    store_endpoint: StoreEndpoint, writer: Writer, analyst: Client
) -> None:
    told = {
        "log_e_equal_sup": 9.5, "log_e_margin_sup": 3.5, "units_candidate": 30,
        "units_control": 31, "effect": 0.25, "effect_low": None, "effect_high": 0.5,
    }  # fmt: skip
    exact = dict.fromkeys(told, 77.0) | {"units_candidate": 77, "units_control": 77}
    rows = rows_of(
        "verdict",
        verdict_id=["told-breach"],
        outcome=["breach"],
        arithmetic=[json.dumps(exact)],
        told=[json.dumps(told)],
        **{name: [value] for name, value in exact.items()},
    )
    writer.write({"verdict": rows})
    writer.write(
        {
            "action": rows_of(
                "action",
                incident_id=["told"],
                verdict_id=["told-breach"],
                action=["rollback"],
                state=["done"],
            )
        }
    )

    found = queries.verdict(analyst, "told-breach")

    assert {name: found[name] for name in told} == told
    assert found["arithmetic"] == told
    (rollback,) = (r for r in queries.rollbacks(analyst) if r["incident_id"] == "told")
    assert rollback["effect"] == 0.25
    assert queries.judged(store_endpoint.writer(), "told-breach") == exact
    assert queries.judged(store_endpoint.writer(), "unknown") == {}


def test_reasons_of_few_rows_are_added_up_when_their_hour_is_over(
    writer: Writer, analyst: Client
) -> None:
    hour_ms, minute_ms = 3_600_000, 60_000
    since = START_MS // hour_ms * hour_ms - 100 * hour_ms
    counts = [("rs-a", 5, 12), ("rs-a", 6, 7), ("rs-a", 7, 5), ("rs-b", 7, 3), ("rs-c", 8, 8)]

    def write(first: int, *lines: tuple[str, int, int]) -> None:
        reasons, minutes, numbers = zip(*lines, strict=True)
        rows = rows_of(
            "ingest_window",
            window_start=[first + minute * minute_ms for minute in minutes],
            partition=[7] * len(lines),
            unit=["fields"] * len(lines),
            outcome=["rejected"] * len(lines),
            reason=list(reasons),
            count=list(numbers),
        )
        writer.write({"ingest_window": rows})

    write(since, *counts)
    write(START_MS, ("rs-newest", 0, 1))

    rows = analyst.rows(
        "SELECT dateDiff('minute', toStartOfHour(minute), minute), reason, n "
        "FROM hf.ingest_reasons "
        "WHERE unit = 'fields' AND toUnixTimestamp(toStartOfHour(minute)) * 1000 = {since:Int64} "
        "ORDER BY minute, reason",
        {"since": since},
    )
    assert list(rows) == [(0, "other", 11), (0, "rs-a", 12), (5, "rs-a", 12)]
