"""False alarms by simulation, at levels that a test can measure."""

import numpy as np
from scipy.stats import binom

from analytics.buckets import COUNT, bucket_of
from analytics.evidence.spec import ArmCounts, Stratum
from tests.unit.analytics.evidence_fleet import (
    ERRORS,
    EVEN,
    LABELS,
    LATENCY,
    ZIPF,
    Counts,
    classes,
    de,
    failures,
    latency,
    rollout,
    window,
    windows_to_breach,
)

LEVEL = 0.05
_CONFIDENCE = 0.999


def bound(runs: int) -> float:
    """Most crossings that a true level of 5 % explains."""
    return float(binom.ppf(_CONFIDENCE, runs, LEVEL))


def test_seasons_and_unequal_regions_do_not_raise_the_false_alarm_rate() -> None:
    runs, crossings = 150, 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        evidence = rollout(LATENCY)
        for hour in range(24):
            season = 1.0 + 0.3 * np.sin(hour / 4.0)
            step = str(1 + hour // 12)
            counts: dict[Stratum, ArmCounts] = {}
            for region, slower, units in (("de", 1.0, (20, 90)), ("in", 2.0, (80, 30))):
                law = latency(season * slower)
                one = window(rng, LATENCY, law, law, {(step, region): units})
                counts |= one["latency", 0]
            evidence.step({("latency", 0): counts}, enrolled={})
        crossings += evidence.bettings[0].log_equal_sup >= -np.log(LEVEL)

    assert crossings <= bound(runs), f"{crossings} of {runs} crossed"


def test_a_candidate_at_the_margin_crosses_the_margin_tier_at_most_at_its_level() -> None:
    def buckets(rng: np.random.Generator, units: int) -> Counts:
        ms = 50.0 * np.exp(0.5 * rng.standard_normal(units))
        return bucket_of(ms.astype(np.float32)).astype(np.int64)

    runs, crossings = 150, 0
    for seed in range(runs):
        rng = np.random.default_rng(1000 + seed)
        evidence = rollout(LATENCY)
        for _ in range(25):
            one = window(
                rng,
                LATENCY,
                lambda rng, n: np.bincount(buckets(rng, n) + 1, minlength=COUNT),
                lambda rng, n: np.bincount(buckets(rng, n), minlength=COUNT),
                EVEN,
            )
            evidence.step(one, enrolled={})
        crossings += evidence.bettings[0].log_margin_sup >= -np.log(LEVEL)

    assert crossings <= bound(runs), f"{crossings} of {runs} crossed"


def test_equal_rates_and_equal_classes_stay_below_their_level() -> None:
    runs = 250
    for spec, draw in ((ERRORS, failures(0.02)), (LABELS, classes(ZIPF))):
        crossings = 0
        for seed in range(runs):
            rng = np.random.default_rng(2000 + seed)
            evidence = rollout(spec)
            for _ in range(25):
                evidence.step(window(rng, spec, draw, draw, EVEN), enrolled={})
            crossings += evidence.bettings[0].log_equal_sup >= -np.log(LEVEL)

        assert crossings <= bound(runs), f"{spec.metric}: {crossings} of {runs} crossed"


def test_an_improvement_is_never_a_breach() -> None:
    for seed in range(6):
        found, evidence = windows_to_breach(seed, LATENCY, latency(0.85), latency(), 30)

        assert found == float("inf")
        assert evidence.bettings[0].log_equal_sup < 3.0


def test_four_percent_slower_is_worse_but_not_worse_enough() -> None:
    breaches = 0
    worse = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        evidence = rollout(LATENCY)
        units = de(1000, 1000)
        for _ in range(40):
            evidence.step(window(rng, LATENCY, latency(1.04), latency(), units), enrolled={})
        worse.append(evidence.bettings[0].log_equal_sup)
        breaches += evidence.evaluate()[0] == "breach"

    assert np.median(worse) > np.log(1e4)
    assert breaches <= 1
