"""The store is killed under load and stays away: nothing is lost, and ingest never refuses."""

from pathlib import Path

import pytest

from bench.outage import Plan, measure, report

pytestmark = pytest.mark.slow


@pytest.mark.timeout(280)
def test_a_store_that_is_away_costs_neither_events_nor_receipts(tmp_path: Path) -> None:
    plan = Plan(minutes=0.1, capacity_s=3.0, window_ms=1_000, load=0.1)

    figures = {r.what: r for r in report(plan, measure(plan, tmp_path)).results}

    assert figures["events lost"].value == 0
    assert figures["events doubled"].value == 0
    assert figures["answers 503"].value == 0
    assert figures["uploads refused"].value == 0
    assert figures["load"].n > 500, "too few uploads to prove anything"
    assert figures["growth of it"].is_ok
