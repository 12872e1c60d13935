"""What is found, after how many windows of 200 units per arm, and who is named."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.evidence.spec import ArmCounts, CohortTree, EvidenceSpec, Stratum
from analytics.types import Outcome
from tests.unit.analytics.evidence_fleet import (
    ERRORS,
    LABELS,
    LATENCY,
    MOVED,
    ZIPF,
    Draw,
    WindowCounts,
    classes,
    de,
    failures,
    latency,
    rollout,
    window,
    windows_to_breach,
)

FAULTS = {
    "all x1.2": (LATENCY, latency(1.2), latency(), 11),
    "slow mode twice as frequent": (LATENCY, latency(slow_share=0.12), latency(), 13),
    "slowest 2 % x2": (LATENCY, latency(tail=2.0), latency(), 25),
    "errors 1 % to 3 %": (ERRORS, failures(0.03), failures(0.01), 20),
    "labels move .05": (LABELS, classes(MOVED), classes(ZIPF), 24),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_in_good_time(fault: str) -> None:
    spec, candidate, control, median_max = FAULTS[fault]
    spec = replace(spec, weight=0.25)

    found = [windows_to_breach(seed, spec, candidate, control)[0] for seed in range(9)]

    assert np.isfinite(found).all()
    assert float(np.median(found)) <= median_max, found


def test_a_fault_in_two_of_a_hundred_cohorts_is_found_and_named() -> None:
    rng = np.random.default_rng(5)
    tree = CohortTree(("step", "cohort"), (1, 100))
    evidence = rollout(LATENCY, tree=tree)
    broken, fine = latency(1.6), latency()
    units = (12, 12)
    for _ in range(60):
        counts: dict[Stratum, ArmCounts] = {}
        for cohort in range(100):
            draw: Draw = broken if cohort in (7, 42) else fine
            one = window(rng, LATENCY, draw, fine, {("1", str(cohort)): units})
            counts |= one["latency", 0]
        evidence.step({("latency", 0): counts}, enrolled={})
        if evidence.evaluate()[0] is Outcome.BREACH:
            break
    outcome, arithmetic = evidence.evaluate()

    assert outcome is Outcome.BREACH
    assert arithmetic.reason == "cohorts"
    assert set(arithmetic.named_cohorts) <= {"7", "42"}
    assert arithmetic.named_cohorts
    assert next(iter(arithmetic.strata)) in {"1/7", "1/42"}


def test_a_fault_everywhere_names_no_cohort() -> None:
    _, evidence = windows_to_breach(3, LATENCY, latency(1.5), latency())
    outcome, arithmetic = evidence.evaluate()

    assert outcome is Outcome.BREACH
    assert arithmetic.reason == "everywhere"
    assert arithmetic.named_cohorts == ()
    assert sum(arithmetic.strata.values()) == pytest.approx(1.0)


def test_the_metric_that_is_worse_is_the_one_named() -> None:
    specs = [replace(spec, weight=0.3) for spec in (LATENCY, ERRORS, LABELS)]
    rng = np.random.default_rng(8)
    evidence = rollout(*specs)
    draws: list[tuple[EvidenceSpec, Draw, Draw]] = [
        (specs[0], latency(), latency()),
        (specs[1], failures(0.06), failures(0.01)),
        (specs[2], classes(ZIPF), classes(ZIPF)),
    ]
    while evidence.evaluate()[0] is not Outcome.BREACH:
        assert evidence.windows < 40
        one: WindowCounts = {}
        for spec, candidate, control in draws:
            one |= window(rng, spec, candidate, control, de(200, 200))
        evidence.step(one, enrolled={})
    arithmetic = evidence.evaluate()[1]

    assert arithmetic.metric == "errors"
    assert arithmetic.log_e_equal_sup >= arithmetic.log_threshold_equal
    assert arithmetic.log_e_margin_sup >= arithmetic.log_threshold_margin
    assert arithmetic.bet.startswith("failures")


@pytest.mark.parametrize(
    ("spec", "candidate", "control", "truth"),
    [
        (LATENCY, latency(1.2), latency(), 0.2),
        (ERRORS, failures(0.10), failures(0.05), 1.0),
        (LABELS, classes(MOVED), classes(ZIPF), 0.05),
    ],
    ids=["latency", "errors", "labels"],
)
def test_the_effect_interval_holds_the_true_effect(
    spec: EvidenceSpec, candidate: Draw, control: Draw, truth: float
) -> None:
    rng = np.random.default_rng(11)
    evidence = rollout(spec, alpha=1e-300)
    for _ in range(40):
        evidence.step(window(rng, spec, candidate, control, de(400, 400)), enrolled={})
    arithmetic = evidence.evaluate()[1]

    assert 0.0 < arithmetic.effect_low <= truth <= arithmetic.effect_high
    assert arithmetic.effect == pytest.approx(truth, rel=0.35)


def test_a_ramp_with_a_season_shows_no_effect() -> None:
    rng = np.random.default_rng(12)
    evidence = rollout(LATENCY)
    for hour in range(40):
        law = latency(1.0 + 0.01 * hour)
        units = de(20 + 8 * hour, 380 - 8 * hour)
        evidence.step(window(rng, LATENCY, law, law, units), enrolled={})
    arithmetic = evidence.evaluate()[1]

    assert arithmetic.effect_low <= 0.0 <= arithmetic.effect_high
    assert abs(arithmetic.effect) < 0.06


def test_enough_good_units_pass_and_few_do_not() -> None:
    few = windows_to_breach(1, LATENCY, latency(), latency(), 4)[1].evaluate()
    many = windows_to_breach(1, LATENCY, latency(), latency(), 40)[1].evaluate()

    assert few[0] is Outcome.INCONCLUSIVE
    assert many[0] is Outcome.PASS


def test_a_rare_failure_rate_cannot_pass_on_few_units() -> None:
    _, evidence = windows_to_breach(1, ERRORS, failures(0.002), failures(0.002), 20)

    assert evidence.evaluate()[0] is Outcome.INCONCLUSIVE
