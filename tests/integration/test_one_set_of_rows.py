"""Everything of events that analysts see is made of the same rows: against a real endpoint.

The fleet, the attacks and who is isolated by them are those of ``holdfast bench privacy``, on a
small store; the whole of it is there.
"""

from collections.abc import Iterator

import numpy as np
import pytest

from bench.privacy import Filled, Tally, ask_between, ask_over_arrivals, ask_verdicts, fill
from bench.privacy_fleet import Fleet
from store.migrate import migrate
from store.released import Released
from store.writer import Writer
from streams.spend import Spend
from tests.integration.store_fixtures import StoreEndpoint, start_store
from wire.smallest_cell import UPLOADS_MIN

SEED = 11
VIEWS = ("class_share", "cost_daily", "ingest_quality", "ingest_reasons", "metric_minute",
         "metric_totals", "release_health", "rollbacks", "verdicts")  # fmt: skip


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreEndpoint]:
    running, endpoint = start_store(tmp_path_factory.mktemp("one-set"))
    migrate(endpoint.writer(), now_ms=0, app_version="test")
    yield endpoint
    running.stop()


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(np.random.default_rng(SEED))


@pytest.fixture(scope="module")
def filled(endpoint: StoreEndpoint, fleet: Fleet) -> Filled:
    """A window of many uploads, and one of one: so the first is over. Their log hour is not."""
    client = endpoint.writer()
    filled = Filled(Writer(client, releases=Released(client)), endpoint.analyst())
    fill(filled, fleet, rows=1, uploads=700)
    arrive(filled, fleet, uploads=1, model=0)
    return filled


def arrive(filled: Filled, fleet: Fleet, *, uploads: int, model: int) -> None:
    """A window of so many uploads of one release, none of them refused."""
    one = np.ones(uploads, np.int64)
    sent = fleet.of(filled.windows, one * model, one, one, rows=one + 2)
    sent.partial.quality.clear()
    filled.take(sent)


def every_view(filled: Filled) -> dict[str, list[str]]:
    """All that an analyst can read, as text."""
    return {
        view: sorted(map(repr, filled.analyst.rows(f"SELECT * FROM hf.{view}")))  # noqa: S608
        for view in VIEWS
    }


@pytest.mark.parametrize("uploads", [1, 5, UPLOADS_MIN - 1])
@pytest.mark.parametrize("model", [0, 1, 2])
def test_no_view_changes_when_few_uploads_arrive(
    filled: Filled, fleet: Fleet, uploads: int, model: int
) -> None:
    before = every_view(filled)
    assert all(before[view] for view in ("cost_daily", "ingest_quality", "metric_minute"))

    arrive(filled, fleet, uploads=uploads, model=model)

    after = every_view(filled)
    assert {view for view in VIEWS if before[view] != after[view]} == set()


def test_bills_metrics_balances_and_verdicts_isolate_nobody(filled: Filled, fleet: Fleet) -> None:
    rng, tally = np.random.default_rng(SEED), Tally()

    ask_verdicts(filled, tally, count=90, rng=rng)
    ask_between(filled, filled.truth.shown(), tally, count=90, rng=rng)
    ask_over_arrivals(filled, fleet, tally, count=49, rng=rng)

    assert tally.asked.total() >= 230
    assert +tally.isolated == {}
    assert tally.unexplained == 0


def test_a_bill_is_of_what_metrics_show(filled: Filled) -> None:
    """Of a model without device inferences or wifi there is one number for each amount."""
    (shown,) = filled.analyst.rows(
        "SELECT sumIf(mean * n, metric = 'network.received'), sumIf(mean * n, metric LIKE "
        "'network.%'), sumIf(mean * n, metric = 'inference.energy'), "
        "sumIf(n, metric = 'inference.latency') FROM hf.metric_minute WHERE model_id = 'm00'"
    )
    lines = filled.analyst.rows(
        "SELECT toString(cost_kind), sum(quantity) FROM hf.cost_daily "
        "WHERE model_id = 'm00' GROUP BY cost_kind"
    )
    bill = {str(kind): int(str(quantity)) for kind, quantity in lines}
    names = ("egress", "cellular", "energy", "cloud_calls")
    assert [bill[name] for name in names] == pytest.approx([float(str(n)) for n in shown], rel=1e-3)
    priced = filled.analyst.rows(
        "SELECT quantity, cost_micros FROM hf.cost_daily WHERE cost_kind = 'cloud_calls'"
    )
    assert priced
    assert all(int(str(cost)) == 150 * int(str(n)) for n, cost in priced)


def test_a_restart_prices_on(filled: Filled) -> None:
    """What lines are a part of, and their price, outlive a restart of the stages."""
    state, monitor = filled.spend.state(), filled.spend.monitor_bytes()

    again = Spend.restore(state, monitor)

    assert again.state() == state
