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
from analytics.drift_baseline import DAY_MS, WEEK_MS
from analytics.forecast import CostForecast, ForecastRules
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


def hourly_cost(rng: np.random.Generator, *, hours: int, sd: float) -> list[int]:
    """Micros per hour: day and week, t4 noise with memory."""
    t = np.arange(hours)
    log = 0.6 * np.sin(2 * np.pi * t / 24) + 0.2 * np.sin(4 * np.pi * t / 24 + 1)
    log += 0.25 * np.sin(2 * np.pi * t / 168)
    noise = t4(rng, hours) * sd
    for i in range(1, hours):
        noise[i] += 0.5 * noise[i - 1]
    return [round(x) for x in (5e6 * np.exp(log + noise)).tolist()]


def cost_rows(rng: np.random.Generator, *, count: int) -> list[Row]:
    """Error of the forecast against the seasonal naive one; share above the band; spikes found."""
    rules = ForecastRules(period_ms=HOUR_MS, floor_micros=1_000_000)
    error, naive, total, above, judged, found = 0, 0, 0, 0, 0, 0
    for _ in range(count):
        costs = hourly_cost(rng, hours=24 * 56, sd=0.08)
        costs[-1] *= 3
        forecast = CostForecast(rules)
        for t, cost in enumerate(costs):
            finding = forecast.step("series", t * HOUR_MS, cost)
            if finding.outcome is Outcome.INCONCLUSIVE:
                continue
            if t == len(costs) - 1:
                found += finding.outcome is Outcome.BREACH
                continue
            judged += 1
            above += cost > finding.high_micros
            total += cost
            error += abs(cost - finding.expected_micros)
            naive += abs(cost - costs[t - 24])
    return [
        Row("forecast.wape", "forecast error", error / total, "share of cost", judged),
        Row("forecast.wape_naive", "error of the day before", naive / total, "share", judged),
        Row("forecast.above", "periods above the 1 % band", above / judged, "share", judged),
        Row("forecast.found", "hours at three times the cost", found / count, "share", count),
    ]


def main() -> None:
    """Print the table, and with ``--json`` one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=100)
    parser.add_argument("--weeks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    rows = drift_rows(rng, count=arguments.series, weeks=arguments.weeks)
    rows += label_rows(rng, count=max(arguments.series // 5, 10))
    rows += cost_rows(rng, count=max(arguments.series // 10, 5))
    for row in rows:
        interval = "" if np.isnan(row.low) else f" [{row.low:.1f}, {row.high:.1f}]"
        print(f"{row.id:34} {row.what:40} {row.value:10.4g} {row.unit}{interval}  n={row.n}")
    if arguments.json:
        print(json.dumps({"bench": "detectors", "results": [vars(row) for row in rows]}))


if __name__ == "__main__":
    main()
