"""What a cost should be: a spike is found, a season is not one, a restart changes nothing."""

import pickle

import numpy as np
import pytest

from analytics.forecast import CostFinding, CostForecast, CostMonitor, ForecastRules
from analytics.types import Outcome
from wire.times import HOUR_MS

RULES = ForecastRules(period_ms=HOUR_MS, floor_micros=500_000)


def hourly(seed: int, *, hours: int = 24 * 21) -> list[int]:
    rng = np.random.default_rng(seed)
    t = np.arange(hours)
    log = 0.5 * np.sin(2 * np.pi * t / 24) + 0.08 * rng.standard_t(4, hours)
    return [round(x) for x in (5e6 * np.exp(log)).tolist()]


def stepped(costs: list[int], rules: ForecastRules = RULES) -> list[CostFinding]:
    forecast = CostForecast(rules)
    return [forecast.step("camera", t * HOUR_MS, cost) for t, cost in enumerate(costs)]


def test_a_spike_is_found_with_observed_expected_and_interval() -> None:
    costs = hourly(1)
    costs[-1] *= 3

    finding = stepped(costs)[-1]

    assert finding.outcome is Outcome.BREACH
    assert finding.observed_micros == costs[-1]
    assert finding.low_micros < finding.expected_micros < finding.high_micros < costs[-1]
    assert finding.is_new


def test_ordinary_hours_lie_above_the_band_no_more_often_than_declared() -> None:
    judged, above = 0, 0

    for seed in range(10):
        for finding in stepped(hourly(seed)):
            if finding.outcome is not Outcome.INCONCLUSIVE:
                judged += 1
                above += finding.observed_micros > finding.high_micros

    assert above / judged <= 2 * RULES.band_alpha
    assert judged > 3000


def test_the_forecast_beats_the_day_before() -> None:
    error, naive = 0, 0

    for seed in range(5):
        costs = hourly(seed)
        for t, finding in enumerate(stepped(costs)):
            if finding.outcome is not Outcome.INCONCLUSIVE:
                error += abs(costs[t] - finding.expected_micros)
                naive += abs(costs[t] - costs[t - 24])

    assert error < 0.9 * naive


def test_little_money_is_no_anomaly_however_unusual() -> None:
    costs = [cost // 1000 for cost in hourly(2)]
    costs[-1] *= 3

    finding = stepped(costs)[-1]

    assert finding.observed_micros > finding.high_micros
    assert finding.outcome is Outcome.PASS


def test_cheaper_is_no_anomaly() -> None:
    costs = hourly(3)
    costs[-1] = 0

    assert stepped(costs)[-1].outcome is Outcome.PASS


def test_thin_history_is_inconclusive_however_high_the_cost() -> None:
    needed = RULES.season_periods + RULES.errors_min
    costs = hourly(4)[: needed + 1]
    costs[needed - 1] *= 100

    outcomes = [finding.outcome for finding in stepped(costs)]

    assert set(outcomes[:needed]) == {Outcome.INCONCLUSIVE}
    assert outcomes[needed] is not Outcome.INCONCLUSIVE


def test_a_run_of_anomalies_is_new_once() -> None:
    costs = hourly(5)
    costs[-3:] = [cost * 4 for cost in costs[-3:]]

    findings = stepped(costs)[-3:]

    assert [f.outcome for f in findings] == [Outcome.BREACH] * 3
    assert [f.is_new for f in findings] == [True, False, False]


def test_one_wild_hour_does_not_become_the_forecast() -> None:
    calm, wild = hourly(6), hourly(6)
    wild[-2] *= 50

    expected = stepped(calm)[-1].expected_micros

    assert stepped(wild)[-1].expected_micros == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("cut", [1, 23, 24, 25, 122, 123, 300, 503])
def test_a_restart_changes_nothing(cut: int) -> None:
    costs = hourly(7)
    costs[400] *= 5
    steady, first, second = CostMonitor(RULES), CostMonitor(RULES), CostMonitor(RULES)
    expected = [steady.step("a", t * HOUR_MS, cost) for t, cost in enumerate(costs)]
    for t in range(cut):
        first.step("a", t * HOUR_MS, costs[t])
    second.restore(pickle.loads(pickle.dumps(first.state())))  # noqa: S301 - made on this line

    rest = [second.step("a", t * HOUR_MS, costs[t]) for t in range(cut, len(costs))]

    assert rest == expected[cut:]


def test_a_short_gap_keeps_the_season_and_a_long_one_begins_anew() -> None:
    costs = hourly(8)
    short, long = CostForecast(RULES), CostForecast(RULES)
    for t, cost in enumerate(costs[:400]):
        short.step("a", t * HOUR_MS, cost)
        long.step("a", t * HOUR_MS, cost)

    after_short = short.step("a", 406 * HOUR_MS, costs[406])
    after_long = long.step("a", 440 * HOUR_MS, costs[440])

    assert after_short.expected_micros == pytest.approx(costs[406], rel=0.3)
    assert after_long.outcome is Outcome.INCONCLUSIVE


def test_hours_without_any_cost_are_numbers_like_others() -> None:
    costs = [0 if t % 24 < 8 else cost for t, cost in enumerate(hourly(9))]

    findings = stepped(costs)

    assert findings[-1].outcome is not Outcome.INCONCLUSIVE
    assert all(type(f.expected_micros) is int for f in findings)


def test_periods_must_come_in_order() -> None:
    forecast = CostForecast(RULES)
    forecast.step("a", HOUR_MS, 1)

    with pytest.raises(ValueError, match="comes after"):
        forecast.step("a", HOUR_MS, 1)


def test_the_oldest_series_leaves_first_and_is_counted() -> None:
    monitor = CostMonitor(ForecastRules(period_ms=HOUR_MS, floor_micros=1, series_max=2))

    for t, key in enumerate("abac"):
        monitor.step(key, t * HOUR_MS, 5)

    assert monitor.evicted_count == 1
    assert monitor.state()["order"] == ["a", "c"]


@pytest.mark.parametrize("wrong", [{"season_periods": 1}, {"band_alpha": 0.001}])
def test_rules_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"season|past errors"):
        ForecastRules(period_ms=HOUR_MS, floor_micros=1, **wrong)  # type: ignore[arg-type]  # on purpose
