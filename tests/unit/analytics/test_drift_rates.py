"""A rate's statistic does not move with the traffic, and moves with the rate."""

import pickle

import numpy as np
import pytest

from analytics.drift import DriftAlert, DriftMonitor, SeriesKey
from analytics.drift_series import DriftRules
from analytics.drift_statistics import SeriesKind, SeriesWindow

DAY = 96
WINDOW_MS = 900_000
ONSET = 28 * DAY
KEY = SeriesKey("camera", "faces", "1.2.0", "inference.error")
SHARES = [0.0, 1e-5, 1e-4, 0.003, 0.01, 0.3, 0.999, 1.0]


def alerts_of(
    seed: int, before: tuple[float, int], after: tuple[float, int], *, days: int = 38
) -> list[DriftAlert]:
    """Alerts on a rate of (share, observations a window), other ones from day 28 on."""
    rng, monitor, alerts = np.random.default_rng(seed), DriftMonitor(DriftRules()), []
    for t in range(days * DAY):
        share, n = before if t < ONSET else after
        hits = int(rng.binomial(n, share))
        window = SeriesWindow(SeriesKind.RATE, np.array([n - hits, hits], np.int64))
        alerts += monitor.step(t * WINDOW_MS, {KEY: window})
    return alerts


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("traffic", [(3000, 600), (3000, 1500), (600, 3000), (2000, 40_000)])
def test_traffic_that_falls_or_rises_is_no_drift(share: float, traffic: tuple[int, int]) -> None:
    before, after = traffic

    assert alerts_of(after, (share, before), (share, after)) == []


@pytest.mark.parametrize(
    ("share", "then", "windows"),
    [(0.0, 1e-3, 24), (1e-4, 1e-3, 24), (0.01, 0.02, 24), (0.02, 0.01, 24), (1.0, 0.98, 24)],
)
def test_a_rate_that_changes_is_found_in_steady_and_in_changed_traffic(
    share: float, then: float, windows: int
) -> None:
    for after in (3000, 1500, 6000):
        found = alerts_of(1, (share, 3000), (then, after), days=31)

        assert len(found) == 1
        assert 0 <= found[0].window_start_ms // WINDOW_MS - ONSET <= windows
        assert (found[0].effect > 0) == (then > share)


def test_the_effect_is_the_odds_ratio_with_its_interval() -> None:
    alert = alerts_of(2, (0.01, 3000), (0.02, 3000), days=31)[0]

    assert alert.effect_low < alert.effect < alert.effect_high
    assert alert.effect == pytest.approx(0.02 / 0.98 / (0.01 / 0.99) - 1, rel=0.3)
    assert alert.expected == pytest.approx(0.01, rel=0.1)


def test_an_incident_while_learning_does_not_become_the_rate() -> None:
    rng, monitor, alerts = np.random.default_rng(3), DriftMonitor(DriftRules()), []
    for t in range(18 * DAY):
        share = 0.5 if 500 <= t < 504 else 0.01
        hits = int(rng.binomial(3000, share if t < 16 * DAY else 0.015))
        window = SeriesWindow(SeriesKind.RATE, np.array([3000 - hits, hits], np.int64))
        alerts += monitor.step(t * WINDOW_MS, {KEY: window})

    assert len(alerts) == 1


@pytest.mark.parametrize("cut_day", [7, 15, 29])
def test_a_restart_changes_nothing(cut_day: int) -> None:
    rng, steady, restarted = np.random.default_rng(4), DriftMonitor(DriftRules()), []
    split = DriftMonitor(DriftRules())
    expected = []
    for t in range(31 * DAY):
        hits = int(rng.binomial(3000, 0.001 if t < ONSET else 0.004))
        windows = {KEY: SeriesWindow(SeriesKind.RATE, np.array([3000 - hits, hits], np.int64))}
        if t == cut_day * DAY:
            kept = pickle.dumps(split.state())
            split = DriftMonitor(DriftRules())
            split.restore(pickle.loads(kept))  # noqa: S301 - made above
        expected += steady.step(t * WINDOW_MS, windows)
        restarted += split.step(t * WINDOW_MS, windows)

    assert restarted == expected
    assert len(expected) == 1
