"""Spend judges use at the time of use: what is booked late, or priced anew, alerts nobody."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from analytics.types import Verdict
from streams.codec import pack, unpack
from streams.open_window import OpenWindow
from streams.partial import CostDay, DayUse, UseHour, WindowPartial
from streams.series import CostSeries
from streams.spend import Spend
from tests.fakes.segments import START_MS, context, desired
from wire.desired import Desired, Prices
from wire.segment import Column, Kind, Segment
from wire.times import DAY_MS, HOUR_MS, MINUTE_MS

DAYS = 14
SERIES = CostSeries("camera", "scene-labels", "3.1.0", "wifi", "cloud")
FIRST_MS = START_MS // DAY_MS * DAY_MS
CHANGE = 12 * 24 + 20  # 20:00 of day 12


def card(call_micros: int, currency: str = "EUR") -> Desired:
    return replace(desired(), prices=(Prices(0, currency, call_micros, 0, 0, 0),))


def calls_of(seed: int, share: float = 0.0, *, since: int = CHANGE) -> list[int]:
    """Calls an hour: a day season and 5 % noise; `share` more from an hour on."""
    rng, t = np.random.default_rng(seed), np.arange(DAYS * 24)
    calls = 700_000 * np.exp(0.5 * np.sin(2 * np.pi * t / 24) + 0.05 * rng.standard_normal(len(t)))
    return [round(x) for x in (calls * (1 + share * (t >= since))).tolist()]


def hourly(calls: list[int]) -> Iterator[dict[int, int]]:
    """By hour of arrival, the calls by hour of use: everything arrives in the hour of its use."""
    return ({t: n} for t, n in enumerate(calls))


def late(calls: list[int], *, hours: int) -> Iterator[dict[int, int]]:
    """The endpoints are away for some hours; in the hour after, all of it arrives."""
    kept: dict[int, int] = {}
    for t, n in enumerate(calls):
        kept[t] = n
        if not CHANGE <= t < CHANGE + hours:
            yield kept
            kept = {}
        else:
            yield {}


def with_old_rows(calls: list[int]) -> Iterator[dict[int, int]]:
    """Two hours' worth of rows of six days ago come back."""
    for t, n in enumerate(calls):
        yield {t: n, t - 144: 2 * n} if t == CHANGE else {t: n}


def window(t: int, arrived: dict[int, int]) -> WindowPartial:
    part = WindowPartial(FIRST_MS + t * HOUR_MS, HOUR_MS)
    for hour, n in arrived.items():
        used_ms = FIRST_MS + hour * HOUR_MS
        part.costs[CostDay(SERIES, used_ms // DAY_MS * DAY_MS)] = DayUse(n, 0, 0, 0, n, 0, 0, 0)
        part.use[UseHour(SERIES.app_id, SERIES.model_id, used_ms)] = (n, 0)
    return part


def told(arrivals: Iterator[dict[int, int]], before: Desired, after: Desired) -> list[Verdict]:
    spend, alerts = Spend(), []
    for t, arrived in enumerate(arrivals):
        alerts += spend.step(window(t, arrived), before if t < CHANGE else after)[1]
    return alerts


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "after",
    [card(165), card(24_000, "JPY"), card(1), replace(desired(), prices=())],
    ids=["dearer", "currency", "cheap", "no_card"],
)
def test_a_price_change_alerts_nobody(after: Desired, seed: int) -> None:
    assert told(hourly(calls_of(seed)), card(150), after) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("hours", [1, 3, 6, 20])
def test_a_backlog_alerts_nobody(hours: int, seed: int) -> None:
    assert told(late(calls_of(seed), hours=hours), card(150), card(150)) == []


@pytest.mark.parametrize("seed", range(3))
def test_returning_old_rows_alert_nobody(seed: int) -> None:
    assert told(with_old_rows(calls_of(seed)), card(150), card(150)) == []


@pytest.mark.parametrize("after", [card(150), card(24_000, "JPY")], ids=["same_card", "new_card"])
@pytest.mark.parametrize("seed", range(3))
def test_a_lasting_fifth_more_alerts_once_and_says_the_currency(seed: int, after: Desired) -> None:
    alerts = told(hourly(calls_of(seed, 0.2)), card(150), after)

    assert len(alerts) == 1
    hours = (alerts[0].window_start_ms - FIRST_MS) // HOUR_MS - CHANGE
    assert hours <= 6
    assert alerts[0].arithmetic.reason.startswith(after.prices[0].currency)


def test_a_card_that_changes_corrects_days_that_get_no_more_rows() -> None:
    spend = Spend()
    spend.step(window(0, {0: 1000}), card(150))

    rows, _ = spend.step(window(1, {}), card(20, "JPY"))

    assert rows["currency"] == ["EUR", "JPY"]
    assert rows["quantity"] == [-1000, 1000]
    assert rows["cost_micros"] == [-150_000, 20_000]


def test_a_correction_and_an_increment_of_one_window_are_one_row() -> None:
    spend = Spend()
    spend.step(window(0, {0: 1000}), card(150))

    rows, _ = spend.step(window(1, {1: 10}), card(100))

    assert rows["cost_micros"] == [1010 * 100 - 1000 * 150]
    assert rows["quantity"] == [10]


@pytest.mark.parametrize("cut", [1, 100, CHANGE + 1])
def test_a_restart_changes_nothing(cut: int) -> None:
    steady, arrivals = Spend(), list(late(calls_of(1, 0.2), hours=2))
    expected = [steady.step(window(t, a), card(150)) for t, a in enumerate(arrivals)]
    spend, seen = Spend(), []
    for t, arrived in enumerate(arrivals):
        if t == cut:
            spend = Spend.restore(unpack(pack(spend.state())), spend.monitor_bytes())
        seen.append(spend.step(window(t, arrived), card(150)))

    assert seen == expected


def test_a_window_notes_use_of_the_hours_that_are_still_open() -> None:
    hour_ms = START_MS // HOUR_MS * HOUR_MS
    opened, minutes = OpenWindow(hour_ms, MINUTE_MS), hour_ms // MINUTE_MS
    remote = replace(context("control"), placement="cloud")
    event_minute = np.array([minutes, minutes - 1, minutes - 60, minutes - 61, minutes - 1500])
    n = len(event_minute)
    received = np.array([7, 0xFFFFFFFF, 5, 3, 2], np.uint32)
    uploads: dict[str, Column] = {
        "context": np.zeros(1, np.uint32),
        "n": np.array([n], np.uint32),
        "enrolled": np.zeros(1, np.uint8),
        "enrolled_ms": np.zeros(1, np.int64),
    }
    rows: dict[str, Column] = {
        "event_minute": event_minute.astype(np.uint32),
        "bytes_received": received,
        "unit_bet": np.zeros(n, np.uint8),
    }
    segment = Segment(Kind.TELEMETRY, hour_ms, "w0", contexts=[remote], uploads=uploads, rows=rows)

    opened.add(segment, np.zeros(1, np.bool_))
    closed = opened.close()

    key = (remote.app_id, remote.model_id)
    assert closed.use == {(*key, hour_ms): (1, 7), (*key, hour_ms - HOUR_MS): (2, 5)}
    assert sum(used.inferences for used in closed.costs.values()) == n
    assert sum(used.bytes_received for used in closed.costs.values()) == 17
