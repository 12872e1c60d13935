"""What an hour's use should cost: a lasting rise is found, a season and a price are not one."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.forecast import (
    CostFinding,
    CostForecast,
    CostMonitor,
    ForecastRules,
    HourUse,
    UnitPrices,
    run_length_threshold,
)
from analytics.types import Outcome
from wire.times import DAY_MS, HOUR_MS

RULES = ForecastRules(floor_micros=1_000_000)
EURO = UnitPrices("EUR", 150, 80_000_000)
DAYS = 24


def used(seed: int, *, days: int = 21, sd: float = 0.05, calls: float = 700_000) -> list[HourUse]:
    """Hours with a day season and independent noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(days * DAYS)
    log = 0.5 * np.sin(2 * np.pi * t / 24) + sd * rng.standard_normal(len(t))
    return [HourUse(round(x)) for x in (calls * np.exp(log)).tolist()]


def grown(hours: list[HourUse], share: float, *, since: int) -> list[HourUse]:
    return [HourUse(round(u.cloud_calls * (1 + share * (t >= since)))) for t, u in enumerate(hours)]


def stepped(
    hours: list[HourUse], prices: UnitPrices = EURO, rules: ForecastRules = RULES
) -> list[CostFinding]:
    forecast = CostForecast(rules)
    return [forecast.step("a/m", t * HOUR_MS, use, prices) for t, use in enumerate(hours)]


def news(findings: list[CostFinding]) -> list[int]:
    return [i for i, finding in enumerate(findings) if finding.is_new]


@pytest.mark.parametrize("day", [9, 12, 18])
def test_a_lasting_fifth_more_is_found_within_hours_and_told_once(day: int) -> None:
    delays = []
    for seed in range(8):
        told = news(stepped(grown(used(seed, days=day + 3), 0.2, since=day * DAYS)))
        assert len(told) == 1
        delays.append(told[0] - day * DAYS + 1)

    assert max(delays) <= 6


def test_steady_use_tells_nobody_anything() -> None:
    assert sum(len(news(stepped(used(seed, days=28)))) for seed in range(20)) <= 2


def test_one_hour_at_three_times_the_cost_is_found_with_what_was_expected() -> None:
    hours = used(1)
    hours[-1] = HourUse(hours[-1].cloud_calls * 3)

    finding = stepped(hours)[-1]

    assert finding.is_new
    assert finding.observed_micros == hours[-1].cloud_calls * 150
    assert finding.low_micros < finding.expected_micros < finding.high_micros
    assert finding.high_micros < finding.observed_micros
    assert finding.expected_micros == pytest.approx(finding.observed_micros / 3, rel=0.2)


@pytest.mark.parametrize(
    "after",
    [
        UnitPrices("EUR", 165, 80_000_000),
        UnitPrices("EUR", 1500, 0),
        UnitPrices("JPY", 24_000, 12_800_000_000),
        UnitPrices("", 0, 0),
    ],
    ids=["dearer", "ten_times", "currency", "no_price"],
)
@pytest.mark.parametrize("hour", [0, 11, 20])
def test_a_price_change_tells_nobody_anything(after: UnitPrices, hour: int) -> None:
    forecast, change = CostForecast(RULES), 12 * DAYS + hour
    findings = [
        forecast.step("a/m", t * HOUR_MS, use, EURO if t < change else after)
        for t, use in enumerate(used(3))
    ]

    assert news(findings) == []


def test_a_rise_is_found_just_after_the_currency_changed() -> None:
    forecast, change = CostForecast(RULES), 12 * DAYS
    yen = UnitPrices("JPY", 24_000, 0)
    findings = [
        forecast.step("a/m", t * HOUR_MS, use, EURO if t < change else yen)
        for t, use in enumerate(grown(used(3), 0.2, since=change))
    ]

    assert news(findings)[0] - change <= 6
    assert findings[-1].currency == "JPY"


@given(
    gap=st.integers(1, 40),
    left=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    day=st.integers(8, 18),
    seed=st.integers(0, 5),
)
def test_an_outage_and_what_follows_tell_nobody_anything(
    gap: int, left: float, day: int, seed: int
) -> None:
    """Hours that came too late to be judged are low or missing; those after them are as always."""
    hours, forecast, first = used(seed, sd=0.03), CostForecast(RULES), day * DAYS
    told = []
    for t, use in enumerate(hours):
        is_out = first <= t < first + gap
        if is_out and left == 1.0:
            continue
        seen = HourUse(round(use.cloud_calls * (left if is_out else 1.0)))
        told.append(forecast.step("a/m", t * HOUR_MS, seen, EURO))

    assert news(told) == []


def test_little_money_is_no_anomaly_however_unusual() -> None:
    hours = used(2, calls=700)
    hours[-1] = HourUse(hours[-1].cloud_calls * 5)

    assert news(stepped(hours)) == []


def test_cheaper_is_no_anomaly() -> None:
    assert news(stepped(grown(used(3), -0.5, since=15 * DAYS))) == []


def test_a_level_that_stands_for_a_week_is_learned_and_the_next_rise_is_found() -> None:
    hours = grown(used(4, days=40), 0.2, since=14 * DAYS)
    hours = grown(hours, 0.2, since=34 * DAYS)

    told = news(stepped(hours))

    assert len([t for t in told if t < 21 * DAYS]) == 1
    assert any(34 * DAYS <= t <= 34 * DAYS + 6 for t in told)


def test_thin_history_is_inconclusive_however_high_the_cost() -> None:
    hours = grown(used(5, days=7), 100.0, since=6 * DAYS)

    assert {f.outcome for f in stepped(hours)} == {Outcome.INCONCLUSIVE}


def test_use_without_a_price_is_remembered_for_the_day_that_it_has_one() -> None:
    free, forecast, since = UnitPrices("", 0, 0), CostForecast(RULES), 10 * DAYS
    findings = [
        forecast.step("a/m", t * HOUR_MS, use, free if t < since else EURO)
        for t, use in enumerate(used(6))
    ]

    assert findings[since].outcome is Outcome.PASS
    assert findings[since].expected_micros == pytest.approx(
        findings[since].observed_micros, rel=0.25
    )


def test_nights_without_any_use_are_hours_like_others() -> None:
    hours = [HourUse() if t % 24 < 8 else use for t, use in enumerate(used(9))]

    findings = stepped(hours)

    assert news(findings) == []
    assert findings[-1].outcome is Outcome.PASS


@pytest.mark.parametrize("cut", [1, 24, 167, 168, 169, 300, 401, 503])
def test_a_restart_changes_nothing(cut: int) -> None:
    hours = used(7)
    hours[400] = HourUse(hours[400].cloud_calls * 5)
    steady, first, second = CostMonitor(RULES), CostMonitor(RULES), CostMonitor(RULES)
    expected = [steady.step("a", t * HOUR_MS, use, EURO) for t, use in enumerate(hours)]
    for t in range(cut):
        first.step("a", t * HOUR_MS, hours[t], EURO)
    second.restore(pickle.loads(pickle.dumps(first.state())))  # noqa: S301 - made on this line

    rest = [second.step("a", t * HOUR_MS, hours[t], EURO) for t in range(cut, len(hours))]

    assert rest == expected[cut:]


def test_hours_must_come_in_order() -> None:
    forecast = CostForecast(RULES)
    forecast.step("a", HOUR_MS, HourUse(), EURO)

    with pytest.raises(ValueError, match="comes after"):
        forecast.step("a", HOUR_MS, HourUse(), EURO)


def test_the_oldest_series_leaves_first_and_is_counted() -> None:
    monitor = CostMonitor(ForecastRules(floor_micros=1, series_max=2))

    for t, key in enumerate("abac"):
        monitor.step(key, t * HOUR_MS, HourUse(5), EURO)

    assert monitor.evicted_count == 1
    assert monitor.state()["order"] == ["a", "c"]


@pytest.mark.parametrize("wrong", [{"rise": 0.0}, {"learning_ms": DAY_MS}])
def test_rules_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"above 0|a week"):
        ForecastRules(floor_micros=1, **wrong)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("reference", [0.25, 0.5, 1.0, 1.5])
def test_the_threshold_gives_the_run_length_that_it_promises(reference: float) -> None:
    threshold = run_length_threshold(reference, 500.0)
    rng = np.random.default_rng(1)
    lengths = []
    for _ in range(400):
        total, length = 0.0, 0
        for step in (rng.standard_normal(8000) - reference).tolist():
            total, length = max(total + step, 0.0), length + 1
            if total >= threshold:
                break
        lengths.append(length)

    assert 350 < sum(lengths) / len(lengths) < 800
