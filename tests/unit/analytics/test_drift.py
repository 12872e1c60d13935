"""Drift of many series: learning is silent, a shift alerts once, a restart changes nothing."""

import pickle
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from analytics import buckets, drift_baseline
from analytics.detectors.base import Plain
from analytics.drift import DriftAlert, DriftMonitor, SeriesKey
from analytics.drift_series import DriftRules, SeriesDrift
from analytics.drift_statistics import (
    SeriesKind,
    SeriesWindow,
    jensen_shannon,
    statistics_of,
    total_variation,
)

WINDOW_MS = 60_000
DAY = 48  # windows of a short "day"
RULES = DriftRules(
    window_ms=WINDOW_MS,
    warmup_windows=4 * DAY,
    seasons=((DAY * WINDOW_MS, 2),),
    relearn_windows=200,
)
LATENCY = SeriesKey("camera", "faces", "1.2.0", "inference.latency")


def latency(
    rng: np.random.Generator, t: int, *, factor: float = 1.0, n: int = 300, unit: float = 1.0
) -> SeriesWindow:
    season = 0.3 * np.sin(2 * np.pi * t / DAY)
    values = unit * factor * 80.0 * np.exp(season + 0.5 * rng.standard_normal(n))
    counts = np.bincount(buckets.bucket_of(values.astype(np.float32)), minlength=buckets.COUNT)
    return SeriesWindow(SeriesKind.DISTRIBUTION, counts)


def classes(rng: np.random.Generator, shares: list[float], n: int = 400) -> SeriesWindow:
    return SeriesWindow(SeriesKind.CATEGORY, rng.multinomial(n, shares))


def errors(rng: np.random.Generator, share: float, n: int = 2000) -> SeriesWindow:
    hits = int(rng.binomial(n, share))
    return SeriesWindow(SeriesKind.RATE, np.array([n - hits, hits], np.int64))


def watched(
    windows: list[SeriesWindow], *, rules: DriftRules = RULES, key: SeriesKey = LATENCY
) -> tuple[DriftMonitor, list[DriftAlert]]:
    monitor = DriftMonitor(rules)
    alerts = []
    for t, window in enumerate(windows):
        alerts += monitor.step(t * WINDOW_MS, {key: window})
    return monitor, alerts


def canonical(value: Plain) -> object:
    """A state as comparable values: equal states are equal to the last bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Mapping):
        return {key: canonical(part) for key, part in value.items()}
    if isinstance(value, list):
        return [canonical(part) for part in value]
    return value


def slowed(
    seed: int, *, unit: float = 1.0, back: int = 10_000, last: int = 400
) -> list[SeriesWindow]:
    """20 % slower from window 250 on, until `back`."""
    rng = np.random.default_rng(seed)
    return [latency(rng, t, factor=1.2 if 250 <= t < back else 1.0, unit=unit) for t in range(last)]


def test_a_lasting_slowdown_alerts_once_with_its_size() -> None:
    monitor, alerts = watched(slowed(1))

    assert len(alerts) == 1
    alert = alerts[0]
    assert 250 <= alert.window_start_ms // WINDOW_MS <= 300
    assert alert.effect_low < 0.2 < alert.effect_high
    assert monitor.tally.breach_count == 1


def test_an_alert_says_that_it_is_not_a_comparison_with_a_control() -> None:
    _, alerts = watched(slowed(1))

    assert "No concurrent control" in alerts[0].detail
    assert "measured, not proven" in alerts[0].detail


def test_a_season_is_not_drift() -> None:
    rng = np.random.default_rng(2)

    monitor, alerts = watched([latency(rng, t) for t in range(800)])

    assert alerts == []
    assert monitor.tally.pass_count == 1


def test_the_unit_of_a_metric_does_not_matter() -> None:
    milli, micro = slowed(3), slowed(3, unit=1000.0)

    (_, in_ms), (_, in_us) = watched(milli), watched(micro)

    assert len(in_ms) == len(in_us) == 1
    assert abs(in_ms[0].window_start_ms - in_us[0].window_start_ms) <= 5 * WINDOW_MS
    assert in_ms[0].effect == pytest.approx(in_us[0].effect, abs=0.02)


def test_a_series_that_is_learning_never_alerts() -> None:
    rng = np.random.default_rng(4)
    windows = [latency(rng, t, factor=3.0 if t > 100 else 1.0) for t in range(4 * DAY - 1)]

    monitor, alerts = watched(windows)

    assert alerts == []
    assert monitor.tally.learning_count == 1


def test_thin_windows_are_inconclusive_and_teach_nothing() -> None:
    rng = np.random.default_rng(5)
    monitor, _ = watched([latency(rng, t) for t in range(5 * DAY)])

    alerts = [
        alert
        for t in range(5 * DAY, 8 * DAY)
        for alert in monitor.step(t * WINDOW_MS, {LATENCY: latency(rng, t, factor=5.0, n=29)})
    ]

    assert alerts == []
    assert monitor.tally.inconclusive_count == 1


def test_a_series_that_was_always_thin_is_learning_however_long() -> None:
    rng = np.random.default_rng(6)

    monitor, _ = watched([latency(rng, t, n=29) for t in range(6 * DAY)])

    assert monitor.tally.learning_count == 1


def test_a_series_alerts_again_after_it_has_recovered() -> None:
    windows = slowed(7, back=320, last=450) + slowed(8, last=400)[250:]

    _, alerts = watched(windows)

    starts = [alert.window_start_ms // WINDOW_MS for alert in alerts]
    assert len(starts) == 2
    assert starts[0] < 320
    assert starts[1] >= 450


def test_an_alarm_that_stands_long_becomes_the_new_normal() -> None:
    monitor, alerts = watched(slowed(9, last=250 + 250 + 5 * DAY))

    assert len(alerts) == 1
    assert monitor.tally.pass_count == 1


def test_moved_predictions_alert_with_their_total_variation() -> None:
    rng = np.random.default_rng(10)
    before, after = [0.5, 0.3, 0.15, 0.05], [0.4, 0.3, 0.15, 0.15]
    windows = [classes(rng, after if t >= 300 else before) for t in range(400)]

    _, alerts = watched(windows)

    assert len(alerts) == 1
    assert alerts[0].statistic == "jensen_shannon"
    assert alerts[0].window_start_ms >= 300 * WINDOW_MS
    assert 0.05 < alerts[0].effect < 0.15


def test_a_class_that_was_never_seen_is_drift_not_a_crash() -> None:
    rng = np.random.default_rng(11)
    windows = [classes(rng, [0.6, 0.4]) for _ in range(300)]
    windows += [classes(rng, [0.5, 0.4, 0.1]) for _ in range(100)]

    _, alerts = watched(windows)

    assert len(alerts) == 1


def test_tripled_errors_alert_as_a_rise_in_odds() -> None:
    rng = np.random.default_rng(12)
    windows = [errors(rng, 0.03 if t >= 250 else 0.01) for t in range(350)]

    _, alerts = watched(windows)

    assert len(alerts) == 1
    assert alerts[0].effect > 1.0


def test_a_constant_series_has_a_spread_and_no_alarm() -> None:
    counts = np.zeros(buckets.COUNT, np.int64)
    counts[300] = 100

    _, alerts = watched([SeriesWindow(SeriesKind.DISTRIBUTION, counts)] * 600)

    assert alerts == []


@pytest.mark.parametrize("cut", [1, 100, 191, 192, 230, 262, 275, 399])
def test_a_restart_changes_no_alert_and_no_state(cut: int) -> None:
    windows = slowed(13)
    steady, alerts = watched(windows)
    first, early = watched(windows[:cut])
    second = DriftMonitor(RULES)
    second.restore(pickle.loads(pickle.dumps(first.state())))  # noqa: S301 - made on this line

    late = [a for t in range(cut, 400) for a in second.step(t * WINDOW_MS, {LATENCY: windows[t]})]

    assert early + late == alerts
    assert canonical(second.state()) == canonical(steady.state())


def test_the_order_of_series_does_not_matter() -> None:
    other = SeriesKey("camera", "faces", "1.1.0", "inference.latency")
    a, b = slowed(14), slowed(15)
    forward, backward = DriftMonitor(RULES), DriftMonitor(RULES)

    there = [forward.step(t * WINDOW_MS, {LATENCY: a[t], other: b[t]}) for t in range(400)]
    back = [backward.step(t * WINDOW_MS, {other: b[t], LATENCY: a[t]}) for t in range(400)]

    assert there == back
    assert sum(map(len, there)) == 2


def test_alerts_beyond_the_mail_budget_are_recorded_not_mailed() -> None:
    rules = DriftRules(
        window_ms=WINDOW_MS,
        warmup_windows=4 * DAY,
        seasons=((DAY * WINDOW_MS, 2),),
        alerts_per_day=1,
    )
    monitor = DriftMonitor(rules)
    keys = [SeriesKey("camera", "faces", str(i), "inference.latency") for i in range(3)]
    streams = [slowed(16 + i, last=350) for i in range(3)]

    alerts = [
        alert
        for t in range(350)
        for alert in monitor.step(
            t * WINDOW_MS, {key: windows[t] for key, windows in zip(keys, streams, strict=True)}
        )
    ]

    assert [alert.is_within_budget for alert in alerts] == [True, False, False]
    assert monitor.over_budget_count == 2


def test_the_least_recently_updated_series_leaves_first_and_is_counted() -> None:
    rng = np.random.default_rng(19)
    monitor = DriftMonitor(DriftRules(series_max=2))
    keys = [SeriesKey("camera", "faces", str(i), "inference.latency") for i in range(3)]

    for t, i in enumerate([0, 1, 0, 2]):
        monitor.step(t * WINDOW_MS, {keys[i]: latency(rng, t)})

    state = monitor.state()["series"]
    assert isinstance(state, list)
    assert monitor.evicted_count == 1
    assert "'1'" not in str([item["key"] for item in state if isinstance(item, dict)])


def test_a_forgotten_series_learns_anew() -> None:
    monitor, _ = watched(slowed(20))

    monitor.relearn(LATENCY)
    monitor.step(400 * WINDOW_MS, {LATENCY: slowed(20)[0]})

    assert monitor.tally.learning_count == 1


def test_a_series_keeps_its_kind() -> None:
    series = SeriesDrift(SeriesKind.RATE, RULES)

    with pytest.raises(ValueError, match="rate series got a category"):
        series.update(0, SeriesWindow(SeriesKind.CATEGORY, np.array([50, 50])))


@pytest.mark.parametrize(
    ("warmup", "seasons"), [(20, ((60_000_000, 4),)), (100, ((100_000_000, 1),))]
)
def test_a_warm_up_too_short_for_its_seasons_is_refused(
    warmup: int, seasons: tuple[tuple[int, int], ...]
) -> None:
    with pytest.raises(ValueError, match=r"too few|half the warm-up"):
        DriftRules(window_ms=900_000, warmup_windows=warmup, seasons=seasons)


def test_a_fit_finds_its_own_season_in_spite_of_outliers() -> None:
    rng = np.random.default_rng(21)
    start_ms = np.arange(480, dtype=np.int64) * WINDOW_MS
    season = 2.0 + 0.4 * np.sin(2 * np.pi * start_ms / (DAY * WINDOW_MS))
    values = season + 0.02 * rng.standard_normal(480)
    values[::40] += 1.0

    baseline = drift_baseline.fit(start_ms, values, RULES.seasons, sd_floor=0.001)

    assert np.abs(baseline.fitted(start_ms) - season).max() < 0.03
    assert baseline.innovation_sd < 0.05


counts = hnp.arrays(np.int64, 6, elements=st.integers(0, 500)).filter(lambda c: c.sum() > 0)


@given(counts, counts)
def test_divergences_are_symmetric_and_bounded(a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
    shares_a, shares_b = a.astype(np.float64), b.astype(np.float64)

    assert jensen_shannon(a, b) == pytest.approx(jensen_shannon(b, a), abs=1e-12)
    assert jensen_shannon(a, b) <= np.log(2.0) + 1e-12
    assert 0.0 <= total_variation(shares_a, shares_b) <= 1.0 + 1e-12


def test_the_divergence_of_equal_laws_is_zero_on_average_in_thin_windows_too() -> None:
    rng = np.random.default_rng(22)
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    reference = rng.multinomial(20_000, shares)

    thin = [jensen_shannon(reference, rng.multinomial(60, shares)) for _ in range(2000)]

    assert abs(np.mean(thin)) < 4 * np.std(thin) / np.sqrt(2000)


@settings(max_examples=30)
@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_a_factor_of_the_bucket_ratio_moves_the_logarithms_by_as_much(
    buckets_up: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    law = np.zeros(buckets.COUNT, np.int64)
    law[200:260] = rng.integers(0, 20, 60)
    law[230] += 30
    shifted = np.roll(law, buckets_up)

    here = statistics_of(SeriesWindow(SeriesKind.DISTRIBUTION, law), None)
    there = statistics_of(SeriesWindow(SeriesKind.DISTRIBUTION, shifted), None)

    assert np.allclose(there - here, buckets_up * np.log(buckets.RATIO), atol=1e-4)
