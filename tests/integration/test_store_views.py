"""The views of `hf` over rows that were written: against a real endpoint."""

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from store import queries
from store.client import Client
from store.tables import TABLES
from store.writer import Writer
from tests.integration.store_fixtures import StoreEndpoint
from tests.integration.store_rows import START_MS, metric_rows, next_minute, rows_of, shown_rows
from wire.errors import PermanentError

GOLDEN = Path(__file__).parents[1] / "golden" / "store" / "hf_columns.json"

NEAR = {value: pytest.approx(value, rel=0.03) for value in (100, 150)}


@pytest.fixture
def writer(store_endpoint: StoreEndpoint) -> Writer:
    return Writer(store_endpoint.writer())


@pytest.fixture
def analyst(store_endpoint: StoreEndpoint) -> Client:
    return store_endpoint.analyst()


def _number(value: object) -> float:
    return float(str(value))


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_exactly_the_columns_that_the_service_writes(
    store_endpoint: StoreEndpoint, table: str
) -> None:
    rows = store_endpoint.writer().rows(
        "SELECT name, type FROM system.columns WHERE database = 'hf_store' AND table = "
        "{table:String} AND default_kind = '' ORDER BY position",
        {"table": table},
    )

    assert dict(rows) == dict(TABLES[table])  # type: ignore[arg-type]  # two text columns


def test_views_and_columns_are_the_frozen_contract(analyst: Client) -> None:
    """After a wanted change: ``python -m tests.golden.store.update``."""
    rows = analyst.rows(
        "SELECT table, name, type, comment FROM system.columns WHERE database = 'hf' "
        "ORDER BY table, position"
    )
    found = [[str(cell) for cell in row] for row in rows]

    assert found == json.loads(GOLDEN.read_text("utf-8")), (
        "update: python -m tests.golden.store.update"
    )


def test_every_view_and_column_says_what_it_means(analyst: Client) -> None:
    silent = analyst.rows(
        "SELECT table, name FROM system.columns WHERE database = 'hf' AND comment = '' "
        "UNION ALL SELECT name, '' FROM system.tables WHERE database = 'hf' AND comment = ''"
    )

    assert list(silent) == []


@pytest.mark.parametrize("seed", range(4))
def test_quantiles_are_within_3_percent_of_the_samples_own(
    writer: Writer, analyst: Client, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    samples = [
        rng.gamma(2.0 + seed, 30.0 * (i + 1), size=2_000 + 500 * i).astype(np.float32)
        for i in range(5)
    ]
    model = f"quantiles-{seed}"

    writer.write({"metric_shown": shown_rows(metric_rows(samples, model=model))})

    row = analyst.rows(
        "SELECT n, mean, p50, p95, p99 FROM hf.metric_minute WHERE model_id = {m:String}",
        {"m": model},
    )
    everything = np.concatenate(samples)
    expected = [
        len(everything),
        everything.mean(dtype=np.float64),
        *np.quantile(everything, [0.5, 0.95, 0.99]),
    ]
    assert len(row) == 1
    found = [_number(value) for value in row[0]]
    assert found[:2] == pytest.approx(expected[:2], rel=1e-6)
    assert found[2:] == pytest.approx(expected[2:], rel=0.03)


def test_zeros_have_quantiles_of_zero(writer: Writer, analyst: Client) -> None:
    zeros = metric_rows([np.zeros(1000, np.float32)], model="zeros", metric="network.sent")

    writer.write({"metric_shown": shown_rows(zeros)})

    rows = analyst.rows("SELECT p50, p99, mean FROM hf.metric_minute WHERE model_id = 'zeros'")
    assert list(rows) == [(0.0, 0.0, 0.0)]


def test_the_same_rows_written_twice_count_once(writer: Writer, analyst: Client) -> None:
    samples = [np.full(10, 5.0, np.float32), np.full(20, 7.0, np.float32)]
    rows = metric_rows(samples, model="twice")
    ingest = rows_of(
        "ingest_window",
        window_start=[1_600_000_020_000] * 4,
        unit=["rows", "rows", "uploads", "rows"],
        outcome=["received", "deduplicated", "deduplicated", "aggregated"],
        count=[60, 30, 10, 30],
    )

    for _ in range(2):
        assert writer.write({"metric_shown": shown_rows(rows), "ingest_window": ingest}) == 6
    writer.write({"ingest_window": next_minute()})

    minute = "SELECT n, mean FROM hf.metric_minute WHERE model_id = 'twice'"
    assert list(analyst.rows(minute)) == [(30, pytest.approx(19 / 3))]
    totals = "SELECT sum(n) FROM hf.metric_totals WHERE model_id = 'twice'"
    assert list(analyst.rows(totals)) == [(30,)]
    balance = "SELECT * EXCEPT minute FROM hf.ingest_quality WHERE minute = '2020-09-13 12:27:00'"
    assert list(analyst.rows(balance)) == [(30, 0, 0, 30, 0, 0)]


def test_release_health_has_one_row_per_release_and_arm(writer: Writer, analyst: Client) -> None:
    for arm, version, latency, errors in (
        ("control", "1.0", 100.0, [0] * 180 + [1] * 20),
        ("candidate", "1.1", 150.0, [0] * 300 + [1] * 300),
    ):
        n = len(errors)
        for metric, values in (
            ("inference.latency", np.full(n, latency)),
            ("inference.energy", np.full(n, 20.0)),
            ("network.sent", np.full(n, 100.0)),
            ("network.received", np.full(n, 300.0)),
            ("inference.error", np.array(errors)),
        ):
            sample = [values.astype(np.float32)]
            writer.write(
                {
                    "metric_shown": shown_rows(
                        metric_rows(sample, model="health", metric=metric, version=version, arm=arm)
                    )
                }
            )

    rows = analyst.rows(
        "SELECT arm, model_version, events, events_share, latency_p50_ms, latency_p95_ms, "
        "energy_mean_mj, error_share, data_mean_bytes FROM hf.release_health "
        "WHERE model_id = 'health' ORDER BY model_version"
    )
    assert list(rows) == [
        ("control", "1.0", 200, 0.25, NEAR[100], NEAR[100], 20.0, 0.1, 400.0),
        ("candidate", "1.1", 600, 0.75, NEAR[150], NEAR[150], 20.0, 0.5, 400.0),
    ]


def test_what_was_not_reported_is_null_in_release_health(writer: Writer, analyst: Client) -> None:
    only = metric_rows([np.ones(4, np.float32)], model="sparse", metric="inference.energy")

    writer.write({"metric_shown": shown_rows(only)})

    rows = analyst.rows(
        "SELECT events, latency_p50_ms, energy_mean_mj, error_share, data_mean_bytes "
        "FROM hf.release_health WHERE model_id = 'sparse'"
    )
    assert list(rows) == [(4, None, 1.0, None, None)]


def test_class_shares_add_up_to_one(writer: Writer, analyst: Client) -> None:
    classes = [np.array([1, 1, 1, 7], np.float32), np.array([0, 7, 9, 9], np.float32)]

    stored = metric_rows(classes, model="cls", metric="prediction.class")
    writer.write({"metric_shown": shown_rows(stored)})

    rows = analyst.rows(
        "SELECT class, n, class_share FROM hf.class_share WHERE model_id = 'cls' ORDER BY class"
    )
    assert list(rows) == [(0, 1, 0.125), (1, 3, 0.375), (7, 2, 0.25), (9, 2, 0.25)]


def test_a_rollback_is_one_row_per_incident_with_its_metric_and_effect(
    writer: Writer, analyst: Client
) -> None:
    writer.write(
        {
            "verdict": rows_of(
                "verdict",
                verdict_id=["rb-v1", "rb-v2"],
                incident_id=["rb", "rb"],
                outcome=["breach", "breach"],
                rollout_id=["rb-rollout"] * 2,
                metric=["inference.energy", "inference.latency"],
                effect=[0.2, 0.3],
                effect_low=[float("nan")] * 2,
                arithmetic=['{"bet": "scale"}', "{}"],
            ),
            "action": rows_of(
                "action",
                acted_at=[START_MS + 5_000, START_MS, START_MS],
                incident_id=["rb", "rb", "rb-lonely"],
                verdict_id=["rb-v2", "rb-v1", "rb-unknown"],
                action=["rollback"] * 3,
                state=["held", "done", "dry_run"],
                commit=["", "abc", ""],
            ),
        }
    )

    found = {r["incident_id"]: r for r in queries.rollbacks(analyst)}

    assert {found["rb"][c] for c in ("state", "commit", "metric")} == {
        "done",
        "abc",
        "inference.energy",
    }
    assert found["rb"]["effect"] == pytest.approx(0.2)
    assert (found["rb-lonely"]["metric"], found["rb-lonely"]["effect"]) == (None, None)


def test_a_verdict_is_found_by_the_beginning_of_its_id(writer: Writer, analyst: Client) -> None:
    ids = ["abc123", "abd456"]
    writer.write(
        {
            "verdict": rows_of(
                "verdict",
                verdict_id=ids,
                rollout_id=["by-id"] * 2,
                effect=[float("nan"), 1.0],
                arithmetic=['{"bet": "tail"}', "{}"],
            )
        }
    )

    found = queries.verdict(analyst, "abc")

    assert found["arithmetic"] == {"bet": "tail"}
    assert found["effect"] is None
    assert [r["verdict_id"] for r in queries.verdicts(analyst, rollout_id="by-id")] == ids
    for asked, code in (("ab", "ambiguous_verdict"), ("zz", "unknown_verdict")):
        with pytest.raises(PermanentError) as refused:
            queries.verdict(analyst, asked)
        assert refused.value.code == code


def test_costs_are_exact_and_kept_apart_by_currency_and_payer(
    writer: Writer, analyst: Client
) -> None:
    writer.write(
        {
            "cost_line": rows_of(
                "cost_line",
                model_id=["cost"] * 3,
                window_start=[START_MS, START_MS + 1, START_MS],
                owner=["ml"] * 3,
                currency=["EUR"] * 3,
                cost_kind=["egress", "egress", "cellular"],
                borne_by=["provider", "provider", "user"],
                quantity=[5, 6, 7],
                quantity_unit=["By"] * 3,
                cost_micros=[1_000_001, 2, 3],
            )
        }
    )

    rows = analyst.rows(
        "SELECT borne_by, quantity, cost_micros, cost FROM hf.cost_daily "
        "WHERE model_id = 'cost' ORDER BY borne_by"
    )
    assert list(rows) == [
        ("provider", 11, 1_000_003, Decimal("1.000003")),
        ("user", 7, 3, Decimal("0.000003")),
    ]


def test_stored_events_are_counted_by_metric(store_endpoint: StoreEndpoint, writer: Writer) -> None:
    client = store_endpoint.writer()
    before = queries.events_stored(client, metric="memory.peak")

    rows = metric_rows([np.ones(12, np.float32)], model="counted", metric="memory.peak")
    writer.write({"metric_window": rows})

    assert queries.events_stored(client, metric="memory.peak") - before == 12


@pytest.mark.parametrize("more", [0, 1, 9, 10])
def test_uploads_of_two_metrics_differ_by_none_or_ten(
    writer: Writer, analyst: Client, more: int
) -> None:
    model = f"apart-{more}"
    for metric, n in (("inference.latency", 20), ("inference.energy", 20 + more)):
        rows = metric_rows([np.ones(n, np.float32)], model=model, metric=metric)
        writer.write({"metric_shown": shown_rows({**rows, "uploads": np.array([n], np.uint64)})})

    found = analyst.rows(
        "SELECT max(uploads) - min(uploads) FROM hf.metric_minute WHERE model_id = {m:String}",
        {"m": model},
    )
    assert list(found) == [(10 if more == 10 else 0,)]
