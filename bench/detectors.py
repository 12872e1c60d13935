"""False alarms and delay of the always-on detectors: `python -m bench.detectors [--json]`.

Series of the value that is watched (log-mean of a window): daily and weekly season, AR(1) noise of
three kinds, two weeks of warm-up, then weeks of test; a fifth of them shift by a lasting 20 % or
10 %. The generators share no code with the detectors; t4 and gamma were not used for tuning.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analytics import drift_baseline
from analytics.detectors.adwin import Adwin
from analytics.detectors.base import DetectorWindow, Finding
from analytics.detectors.label_drift import LabelDrift
from analytics.detectors.shiryaev_roberts import ShiryaevRoberts
from analytics.drift import DriftMonitor, SeriesKey
from analytics.drift_baseline import DAY_MS, WEEK_MS
from analytics.drift_series import DriftRules
from analytics.drift_statistics import SeriesKind, SeriesWindow
from analytics.forecast import CostForecast, ForecastRules, HourUse, UnitPrices
from analytics.types import Outcome
from wire.times import HOUR_MS

WINDOW_MS: Final = 900_000
DAY: Final = 96
WARMUP: Final = 14 * DAY
SEASONS: Final = ((DAY_MS, 4), (WEEK_MS, 3))
TOLERANCE: Final = 0.02
Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


@dataclass(frozen=True)
class Row:
    """One measured figure with its interval (Clopper-Pearson) where it is a rate."""

    id: str
    what: str
    value: float
    unit: str
    n: int
    low: float = float("nan")
    high: float = float("nan")


def normal(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Unit variance, light tails."""
    return rng.standard_normal(size)


def t4(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Unit variance, heavy tails."""
    drawn: NDArray[np.float64] = rng.standard_t(4, size) / np.sqrt(2.0)
    return drawn


def gamma(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Unit variance, skewed to the right."""
    return np.asarray(rng.gamma(4.0, size=size) - 4.0, np.float64) / 2.0


LAWS: Final[dict[str, tuple[Draw, float]]] = {
    "normal, AR 0.5": (normal, 0.5),
    "t4, AR 0.5": (t4, 0.5),
    "gamma, AR 0.5": (gamma, 0.5),
    "normal, AR 0.9": (normal, 0.9),
}


def series(
    rng: np.random.Generator, draw: Draw, phi: float, *, windows: int, onset: int, shift: float
) -> NDArray[np.float64]:
    """Log-mean per window; a lasting shift from `onset` on."""
    t = np.arange(windows)
    season = 0.15 * np.sin(2 * np.pi * t / DAY) + 0.05 * np.sin(2 * np.pi * t / (7 * DAY) + 1.0)
    own = draw(rng, windows) * 0.05 * np.sqrt(1 - phi * phi)
    for i in range(1, windows):
        own[i] += phi * own[i - 1]
    values: NDArray[np.float64] = season + own + draw(rng, windows) / 10.0
    values += np.log1p(shift) * (t >= onset)
    return values


def scored(values: NDArray[np.float64]) -> tuple[list[float], list[DetectorWindow]]:
    """The last week of the warm-up's scores, and the windows after it."""
    start_ms = np.arange(len(values), dtype=np.int64) * WINDOW_MS
    baseline = drift_baseline.fit(start_ms[:WARMUP], values[:WARMUP], SEASONS, sd_floor=0.005)
    scores = baseline.scores(start_ms, values, window_ms=WINDOW_MS)
    tolerance_z = baseline.tolerance_z(TOLERANCE)
    windows = [
        DetectorWindow((t + 1) * WINDOW_MS, 100, z, tolerance_z)
        for t, z in enumerate(scores)
        if t + 1 >= WARMUP
    ]
    return scores[WARMUP - 1 - 7 * DAY : WARMUP - 1], windows


def first_alarms(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Windows until Shiryaev-Roberts, ADWIN and both together say breach; inf for never."""
    primer, windows = scored(values)
    shift, vote = ShiryaevRoberts(), Adwin()
    vote.prime(primer)
    found = [float("inf")] * 3
    for t, window in enumerate(windows):
        first, second = shift.update(window), vote.update(window)
        alone = [first.outcome is Outcome.BREACH, second.outcome is Outcome.BREACH]
        says = [*alone, all(alone) and first.direction == second.direction]
        found = [min(f, t) if s else f for f, s in zip(found, says, strict=True)]
    return found[0], found[1], found[2]


def rate(id_: str, what: str, alarms: int, exposure: int) -> Row:
    """Alarms per million windows with a 95 % interval."""
    low = float(stats.beta.ppf(0.025, alarms, exposure - alarms + 1)) if alarms else 0.0
    high = float(stats.beta.ppf(0.975, alarms + 1, exposure - alarms))
    unit = "per 1e6 windows"
    return Row(id_, what, alarms / exposure * 1e6, unit, exposure, low * 1e6, high * 1e6)


def drift_rows(rng: np.random.Generator, *, count: int, weeks: int) -> list[Row]:
    """False alarms on unchanged series and delays on shifted ones, per law."""
    rows = []
    test = weeks * 7 * DAY
    names = ("shiryaev_roberts", "adwin", "both")
    for law, (draw, phi) in LAWS.items():
        null = [
            first_alarms(series(rng, draw, phi, windows=WARMUP + test, onset=0, shift=0.0))
            for _ in range(count)
        ]
        for i, name in enumerate(names):
            alarms = sum(found[i] < test for found in null)
            exposure = int(sum(min(found[i], test) for found in null))
            rows.append(rate(f"false_alarm.{name}", f"{law}: false alarms", alarms, exposure))
        for shift in (0.2, 0.1):
            onset = WARMUP + 48
            late = [
                first_alarms(series(rng, draw, phi, windows=WARMUP + 672, onset=onset, shift=shift))
                for _ in range(max(count // 5, 10))
            ]
            for i, name in enumerate(names):
                delay = statistics.median(found[i] - 48 for found in late)
                what = f"{law}: median delay at {shift:+.0%}"
                rows.append(Row(f"detection_delay.{name}", what, delay, "windows", len(late)))
    return rows


def label_rows(rng: np.random.Generator, *, count: int) -> list[Row]:
    """Delayed labels, 100 per window, 5 % wrong; then 10 % or 7 %."""

    def breach_at(share: list[float]) -> float:
        detector = LabelDrift()
        for t, p in enumerate(share):
            finding: Finding = detector.update(
                DetectorWindow(t * WINDOW_MS, 100, hits=int(rng.binomial(100, p)))
            )
            if finding.outcome is Outcome.BREACH:
                return float(t)
        return float("inf")

    null = [breach_at([0.05] * 2000) for _ in range(count)]
    alarms = sum(t < 2000 for t in null)
    exposure = int(sum(min(t, 2000.0) for t in null))
    rows = [rate("false_alarm.label_drift", "5 % wrong, 100 labels", alarms, exposure)]
    for p in (0.1, 0.07):
        delays = [breach_at([0.05] * 200 + [p] * 800) - 200 for _ in range(count)]
        what = f"median delay, 5 % to {p:.0%} wrong, 100 labels"
        rows.append(
            Row("detection_delay.label_drift", what, statistics.median(delays), "windows", count)
        )
    return rows


def hourly_use(
    rng: np.random.Generator, *, hours: int, sd: float, draw: Draw, phi: float
) -> list[float]:
    """Calls per hour: day and week, a slow growth, noise of its own."""
    t = np.arange(hours)
    log = 0.6 * np.sin(2 * np.pi * t / 24) + 0.2 * np.sin(4 * np.pi * t / 24 + 1)
    log += 0.1 * np.sin(2 * np.pi * t / 168) + 0.003 * t / 24
    noise = draw(rng, hours) * sd
    for i in range(1, hours):
        noise[i] += phi * noise[i - 1]
    used: list[float] = (700_000 * np.exp(log + noise)).tolist()
    return used


COST_NOISE: Final[dict[str, tuple[float, Draw, float]]] = {
    "5 %, independent": (0.05, normal, 0.0),
    "4 %, t4, AR 0.5": (0.04, t4, 0.5),
    "8 %, t4, AR 0.5": (0.08, t4, 0.5),
}
_COST_DAYS: Final = 44  # two weeks are learned, thirty are watched
_RISES: Final = range(24 * 32, 24 * 33)  # a rise begins in any hour of that day
_JUDGED_AFTER_H: Final = 1  # an hour is judged when the hour after it has ended


def cost_messages(used: list[float]) -> list[int]:
    """The hours that a message is sent for."""
    forecast = CostForecast(ForecastRules(floor_micros=1_000_000))
    prices = UnitPrices("EUR", 150, 0)
    return [
        t
        for t, calls in enumerate(used)
        if forecast.step("series", t * HOUR_MS, HourUse(round(calls)), prices).is_new
    ]


def cost_rows(rng: np.random.Generator, *, count: int) -> list[Row]:
    """S9: false messages a series-month, and hours of use until a lasting +20 % is told."""
    rows = []
    for name, (sd, draw, phi) in COST_NOISE.items():
        false, delays = 0, []
        for i in range(count):
            used = hourly_use(rng, hours=24 * _COST_DAYS, sd=sd, draw=draw, phi=phi)
            false += sum(t >= 24 * 14 for t in cost_messages(used))
            onset = _RISES[i % len(_RISES)]
            risen = [calls * (1.2 if t >= onset else 1.0) for t, calls in enumerate(used)]
            after = [t for t in cost_messages(risen[: onset + 168]) if t >= onset]
            delays.append(after[0] - onset + 1 + _JUDGED_AFTER_H if after else float("inf"))
        within = sum(d <= 6 for d in delays) / count
        rows += [
            Row("S9", f"cost, {name}: false messages", false / count, "per series-month", count),
            Row("S9", f"cost, {name}: +20 % told within 6 h", within, "share", count),
            Row("S9", f"cost, {name}: median delay", statistics.median(delays), "h", count),
        ]
    return rows


RATE_CHANGES: Final[tuple[tuple[float, int, int], ...]] = (
    (0.0, 3000, 600),
    (0.0, 3000, 1500),
    (1e-4, 3000, 600),
    (1.0, 3000, 600),
    (1e-4, 600, 3000),
    (0.01, 600, 3000),
    (0.01, 3000, 60_000),
)
"""Rates that stay while the traffic changes: (rate, observations before, after)."""
RATE_RISES: Final = ((0.0, 1e-3), (1e-4, 1e-3), (0.01, 0.02))


def rate_alarms(
    rng: np.random.Generator, before: tuple[float, int], after: tuple[float, int], *, days: int
) -> list[int]:
    """Windows after day 28, the day of the change, in which a rate's alarm begins."""
    monitor, onset = DriftMonitor(DriftRules()), 28 * DAY
    key, told = SeriesKey("a", "m", "1", "inference.error"), []
    for t in range(days * DAY):
        share, n = before if t < onset else after
        occurred = int(rng.binomial(n, share))
        counts = np.array([n - occurred, occurred], np.int64)
        if monitor.step(t * WINDOW_MS, {key: SeriesWindow(SeriesKind.RATE, counts)}):
            told.append(t - onset)
    return told


def rate_rows(rng: np.random.Generator, *, count: int) -> list[Row]:
    """S9: false alarms of a rate when only the traffic changes, and delays when the rate does."""
    rows = []
    for share, n, then in RATE_CHANGES:
        false = sum(len(rate_alarms(rng, (share, n), (share, then), days=45)) for _ in range(count))
        what = f"rate {share:g}, traffic {n} to {then}: false alarms"
        rows.append(Row("S9", what, false, "alarms", count))
    for share, then_share in RATE_RISES:
        delays = []
        for _ in range(max(count // 5, 10)):
            told = rate_alarms(rng, (share, 3000), (then_share, 3000), days=36)
            delays.append(min((t for t in told if t >= 0), default=float("inf")))
        what = f"rate {share:g} to {then_share:g}: median delay"
        rows.append(Row("S9", what, statistics.median(delays), "windows", len(delays)))
    return rows


def main() -> None:
    """Print the table, and with ``--json`` one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=100)
    parser.add_argument("--weeks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["drift", "label", "cost", "rate"], action="append")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    count = arguments.series
    parts: dict[str, Callable[[np.random.Generator], list[Row]]] = {
        "drift": lambda rng: drift_rows(rng, count=count, weeks=arguments.weeks),
        "label": lambda rng: label_rows(rng, count=max(count // 5, 10)),
        "cost": lambda rng: cost_rows(rng, count=count),
        "rate": lambda rng: rate_rows(rng, count=count),
    }
    rows = []
    for name in arguments.only or parts:
        rows += parts[name](np.random.default_rng(arguments.seed))
    for row in rows:
        interval = "" if np.isnan(row.low) else f" [{row.low:.1f}, {row.high:.1f}]"
        print(f"{row.id:34} {row.what:40} {row.value:10.4g} {row.unit}{interval}  n={row.n}")
    if arguments.json:
        print(json.dumps({"bench": "detectors", "results": [vars(row) for row in rows]}))


if __name__ == "__main__":
    main()
