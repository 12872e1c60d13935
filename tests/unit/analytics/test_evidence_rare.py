"""What few phones are in speaks for no breach: its price is a share of the whole fleet."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.evidence.rare import quietened, rare_cohorts
from analytics.evidence.rollout import RolloutEvidence
from analytics.evidence.spec import ArmCounts, BreachRules, Stratum
from analytics.types import Outcome
from tests.unit.analytics.evidence_fleet import (
    ERRORS,
    LATENCY,
    TREE,
    failures,
    latency,
    rollout,
    window,
)

DE: Stratum = ("1", "de")
US: Stratum = ("1", "us")
XX: Stratum = ("1", "xx")
NAME = ("errors", 0)


@given(st.integers(0, 10_000), st.floats(0.0, 0.2))
def test_no_value_grows_and_the_rare_say_their_share_of_what_the_others_say(
    seed: int, voice: float
) -> None:
    rng = np.random.default_rng(seed)
    logs = rng.normal(0.0, 3.0, (int(rng.integers(1, 8)), 3))
    rare = rng.random(len(logs)) < 0.5

    kept = quietened(logs, rare, voice)

    assert (kept <= logs + 1e-12).all()
    assert (kept[~rare] == logs[~rare]).all()
    lead = np.maximum(logs[~rare].sum(0), 0.0)
    assert (np.maximum(kept[rare], 0.0).sum(0) <= voice * lead + 1e-9).all()
    assert (kept[rare][logs[rare] <= 0.0] == logs[rare][logs[rare] <= 0.0]).all()


arms = st.tuples(st.integers(0, 400), st.integers(0, 400))
strata = st.tuples(st.sampled_from("123"), st.sampled_from(["de", "us", "fr", "xx"]))
fleets = st.dictionaries(strata, arms, max_size=12)


def rollout_with(share: float, factor_max: float = 10_000.0, units_min: int = 0) -> RolloutEvidence:
    rules = BreachRules(rare_share=share, factor_max=factor_max, units_min=units_min)
    return RolloutEvidence([ERRORS], TREE, alpha=1e-4, alpha_margin=0.05, rules=rules)


@given(fleets, st.floats(0.0, 0.5), st.integers(0, 200))
@settings(deadline=None)
def test_the_rare_hold_at_most_so_much_and_one_more_would_hold_more(
    enrolled: dict[Stratum, tuple[int, int]], share: float, units_min: int
) -> None:
    weights: dict[Stratum, int] = {}
    for cohort in {stratum[1:] for stratum in enrolled}:
        both = [arms for stratum, arms in enrolled.items() if stratum[1:] == cohort]
        weights[cohort] = min(sum(a for a, _ in both), sum(b for _, b in both))
    total = sum(weights.values())

    rare = rare_cohorts(enrolled, share, units_min)

    held = sum(weights[cohort] for cohort in rare)
    others = [weight for cohort, weight in weights.items() if cohort not in rare]
    most = max(share * total, units_min)
    assert held <= most
    if not total:
        assert rare == frozenset()  # nobody said who enrolled
    elif others:
        assert held + min(others) > most
        assert max((weights[cohort] for cohort in rare), default=0) <= min(others)
    else:
        assert total <= units_min


@pytest.mark.parametrize("forged", [(10_000, 0), (0, 10_000)])
def test_enrolments_of_one_arm_make_no_cohort_speak(forged: tuple[int, int]) -> None:
    assert rare_cohorts({DE: (100, 100), XX: forged}, 0.05, 30) == {("xx",)}


def test_an_early_step_of_a_ramp_is_judged_with_the_later_ones() -> None:
    enrolled: dict[Stratum, tuple[int, int]]
    enrolled = {("1", "de"): (1, 1), ("2", "de"): (500, 500), ("2", "us"): (500, 500)}
    assert rare_cohorts(enrolled, 0.05, 30) == frozenset()


@given(st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_what_is_kept_never_exceeds_the_process_that_is_proven(seed: int) -> None:
    rng = np.random.default_rng(seed)
    with_rule, without = rollout_with(0.4), rollout_with(0.0, factor_max=np.inf)
    for _ in range(12):
        sizes = {s: (int(rng.integers(1, 60)), int(rng.integers(1, 60))) for s in (DE, US, XX)}
        law = failures(float(rng.choice([0.02, 0.3])))
        counts = window(rng, ERRORS, law, failures(0.02), sizes)
        for evidence in (with_rule, without):
            evidence.step(counts, enrolled=sizes)
        capped, plain = with_rule.bettings[0], without.bettings[0]
        assert capped.log_equal <= plain.log_equal + 1e-9
        assert capped.log_margin <= plain.log_margin + 1e-9
        if without.evaluate()[0] is Outcome.BREACH:  # it takes no more windows
            return


def forged(evidence: RolloutEvidence, per_window: int, honest: int) -> Outcome:
    rng = np.random.default_rng(3)
    units = {DE: (honest, honest), US: (honest, honest)}
    for _ in range(20):
        counts = window(rng, ERRORS, failures(0.02), failures(0.02), units)
        crashed, fine = np.array([0, per_window]), np.array([per_window, 0])
        counts[NAME][XX] = ArmCounts(crashed, fine)
        evidence.step(counts, enrolled={**units, XX: (per_window, per_window)})
    return evidence.evaluate()[0]


def test_an_unused_stratum_decides_nothing_until_a_share_of_the_fleet_is_forged() -> None:
    assert forged(rollout_with(0.0), 3, honest=40) is Outcome.BREACH
    assert forged(rollout_with(0.05), 3, honest=40) is Outcome.INCONCLUSIVE
    assert forged(rollout_with(0.05), 12, honest=40) is Outcome.BREACH


def test_a_fault_in_all_cohorts_is_found_beside_rare_ones_and_after_a_restart() -> None:
    rng = np.random.default_rng(5)
    units = {DE: (100, 100), US: (100, 100), XX: (2, 2)}
    first, second = rollout(LATENCY), rollout(LATENCY)
    for _ in range(20):
        counts = window(rng, LATENCY, latency(1.5), latency(), units)
        first.step(counts, enrolled=units)
        second.step(counts, enrolled=units)
        second = RolloutEvidence.restore(
            [LATENCY], TREE, second.state(), alpha=1e-4, alpha_margin=0.05
        )
        assert first.evaluate() == second.evaluate()
    assert first.evaluate()[0] is Outcome.BREACH
