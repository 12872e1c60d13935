"""A bill grows by what ten uploads or more used, and by nothing less; in the end it is whole."""

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from analytics.cost import Quantities, QuantityKey
from streams.codec import pack, unpack
from streams.held_costs import OTHER, HeldCosts
from streams.open_window import OpenWindow
from streams.spend import Spend
from tests.fakes.segments import START_MS, context, desired
from wire.desired import Prices
from wire.segment import Column, Kind, Segment
from wire.smallest_cell import UPLOADS_MIN
from wire.times import DAY_MS, MINUTE_MS

AMOUNTS = [f.name for f in fields(Quantities)]
KEY = QuantityKey("camera", "scene-labels", "3.1.0", 0)
LONE = 356_938_035

Step = tuple[int, list[tuple[str, str, str, int, int]]]
steps = st.lists(
    st.tuples(
        st.integers(0, 2),  # days that end
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b"]),
                st.sampled_from(["v1", "v2", "v3"]),
                st.sampled_from(AMOUNTS),
                st.integers(0, 1),  # days ago
                st.integers(1, 14),  # uploads
            ),
            max_size=4,
        ),
    ),
    max_size=30,
)


@given(steps)
def test_what_is_billed_rests_on_ten_uploads_and_nothing_is_lost(history: list[Step]) -> None:
    """An upload adds 1, so a quantity is a number of uploads."""
    held, day, added, billed = HeldCosts(), 5, Counter[str](), Counter[str]()
    for ended, arrived in history:
        day += ended
        for model, version, amount, ago, uploads in arrived:
            one = Quantities(**{amount: uploads})
            held.add(QuantityKey("app", model, version, (day - ago) * DAY_MS), one, one)
            added[amount] += uploads
        held.restore(unpack(pack(held.state())))
        for _, quantities in held.due((day - 1) * DAY_MS):
            for amount in AMOUNTS:
                n = getattr(quantities, amount)
                assert n == 0 or n >= UPLOADS_MIN
                billed[amount] += n

    for _, quantities in held.due((day + 9) * DAY_MS):  # every day is over
        for amount in AMOUNTS:
            billed[amount] += getattr(quantities, amount)
    waiting = added - billed
    assert not billed - added
    assert all(waiting[amount] < UPLOADS_MIN for amount in AMOUNTS)


def test_small_releases_of_a_day_that_is_over_are_billed_as_other() -> None:
    held, four = HeldCosts(), Quantities(energy_mj=4)
    for version in ("1", "2", "3"):
        held.add(replace(KEY, model_version=version), four, four)

    assert held.due(0) == []
    assert held.due(DAY_MS) == [(replace(KEY, model_version=OTHER), Quantities(energy_mj=12))]
    assert held.state() == []


def test_what_is_small_even_so_is_billed_with_a_later_day() -> None:
    held, six = HeldCosts(), Quantities(energy_mj=6)
    held.add(KEY, six, six)
    assert held.due(DAY_MS) == []

    later = replace(KEY, model_id="another", event_day_ms=3 * DAY_MS)
    held.add(later, six, six)

    assert held.due(3 * DAY_MS) == []
    everybody = QuantityKey(OTHER, OTHER, OTHER, 3 * DAY_MS)
    assert held.due(4 * DAY_MS) == [(everybody, Quantities(energy_mj=12))]


def _segment(upload: NDArray[np.int64], minute: NDArray[np.int64], **columns: Column) -> Segment:
    n = np.bincount(upload).astype(np.uint32)
    remote = replace(context("control"), network="cellular", placement="cloud")
    uploads: dict[str, Column] = {
        "context": np.zeros(len(n), np.uint32),
        "n": n,
        "enrolled": np.zeros(len(n), np.uint8),
        "enrolled_ms": np.zeros(len(n), np.int64),
    }
    rows: dict[str, Column] = {
        "event_minute": minute.astype(np.uint32),
        "unit_bet": np.zeros(len(upload), np.uint8),
        **columns,
    }
    return Segment(Kind.TELEMETRY, START_MS, "w0", contexts=[remote], uploads=uploads, rows=rows)


def _spent(spend: Spend, uploads: int, *, received: int, at_ms: int = START_MS) -> dict[str, int]:
    """Quantities that a window of such uploads adds to the bill, by kind."""
    upload = np.arange(uploads)
    minute = np.full(uploads, START_MS // MINUTE_MS)
    opened = OpenWindow(at_ms, MINUTE_MS)
    opened.add(
        _segment(upload, minute, bytes_received=np.full(uploads, received, np.uint32)),
        np.zeros(uploads, np.bool_),
    )
    card = replace(desired(), prices=(Prices(0, "EUR", 1, 1, 1, 1),))
    rows, _ = spend.step(opened.close(), card)
    return dict(zip(rows["cost_kind"], rows["quantity"], strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("others", range(UPLOADS_MIN))
def test_a_lone_uploads_bytes_are_on_no_bill(others: int) -> None:
    """Nine that received nothing do not hide what one received."""
    spend = Spend()
    first = _spent(spend, 1, received=LONE)
    second = _spent(spend, others, received=0) if others else {}

    assert first == {}
    assert set(second) <= {"cloud_calls"}
    third = _spent(spend, 20, received=1000)
    assert third["egress"] == third["cellular"] == LONE + 20_000
    assert (
        first.get("cloud_calls", 0) + second.get("cloud_calls", 0) + third["cloud_calls"]
        == 21 + others
    )


@pytest.mark.parametrize("seed", range(5))
def test_uploads_are_counted_once_for_each_day_and_amount(seed: int) -> None:
    rng = np.random.default_rng(seed)
    upload = np.sort(np.concatenate([np.arange(40), rng.integers(0, 40, 300)]))
    minute = START_MS // MINUTE_MS - rng.integers(0, 3, len(upload)) * 1440
    amounts = {
        name: np.where(rng.random(len(upload)) < 0.8, rng.choice([0, 0xFFFFFFFF], len(upload)), 9)
        for name in ("bytes_sent", "bytes_received")
    }
    opened = OpenWindow(START_MS, MINUTE_MS)
    duplicate = rng.random(40) < 0.3
    columns = {name: values.astype(np.uint32) for name, values in amounts.items()}
    opened.add(_segment(upload, minute, **columns), duplicate)

    kept = ~duplicate[upload]
    sent, received = (amounts[n] == 9 for n in ("bytes_sent", "bytes_received"))
    for (_, day_ms), used in opened.close().costs.items():
        here = kept & (minute * MINUTE_MS // DAY_MS * DAY_MS == day_ms)
        assert used[4:] == (
            len(set(upload[here])),
            0,
            len(set(upload[here & (sent | received)])),
            len(set(upload[here & received])),
        )
