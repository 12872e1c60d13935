"""What a rollout's evidence keeps: order, restarts, the breach, the assignment."""

import io
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.evidence.rollout import RolloutEvidence
from analytics.evidence.spec import ArmCounts, EvidenceSpec, Law, State, Stratum
from analytics.types import Outcome
from tests.unit.analytics.evidence_fleet import (
    ERRORS,
    LATENCY,
    TREE,
    classes,
    de,
    failures,
    latency,
    rollout,
    window,
    windows_to_breach,
)

MANY_LABELS = EvidenceSpec("labels", 0, Law.CATEGORY, 0.3, 0.02, 100)
SPECS = (replace(LATENCY, weight=0.3), replace(ERRORS, weight=0.3), MANY_LABELS)
Windows = list[dict[tuple[str, int], dict[Stratum, ArmCounts]]]


def fleet(seed: int, windows: int = 8) -> Windows:
    """Windows of three metrics; regions and a second step appear as they go."""
    rng = np.random.default_rng(seed)
    zipf = 1.0 / np.arange(1, 101)
    labels = classes(zipf / zipf.sum())
    made: Windows = []
    for number in range(windows):
        step = "1" if number < 5 else "2"
        units: dict[Stratum, tuple[int, int]] = {
            (step, region): (30, 25) for region in ("us", "de", "fr")[: 1 + number % 3]
        }
        one = window(rng, SPECS[0], latency(1.1), latency(), units)
        one |= window(rng, SPECS[1], failures(0.05), failures(0.04), units)
        one |= window(rng, SPECS[2], labels, labels, units)
        made.append(one)
    return made


def enrolled(
    one: Mapping[tuple[str, int], Mapping[Stratum, ArmCounts]],
) -> dict[Stratum, tuple[int, int]]:
    return dict.fromkeys(one["latency", 0], (31, 29))


def through_a_file(state: State) -> State:
    file = io.BytesIO()
    np.savez(file, **state)  # type: ignore[arg-type]  # it takes any keyword for an array
    file.seek(0)
    with np.load(file) as loaded:
        return {key: loaded[key] for key in loaded.files}


def restored(state: State) -> RolloutEvidence:
    return RolloutEvidence.restore(SPECS, TREE, state, alpha=1e-4, alpha_margin=0.05)


def assert_same(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert np.array_equal(value, other[key]), key
        assert value.dtype.kind in "US" or value.tobytes() == other[key].tobytes(), key


def test_a_restart_after_every_window_changes_no_bit() -> None:
    straight, restarted = rollout(*SPECS), rollout(*SPECS)
    for one in fleet(1, 14):
        straight.step(one, enrolled=enrolled(one))
        restarted = restored(through_a_file(restarted.state()))
        restarted.step(one, enrolled=enrolled(one))

    assert_same(straight.state(), restarted.state())
    assert repr(straight.evaluate()) == repr(restarted.evaluate())
    assert straight.bettings[0].log_equal != straight.bettings[0].log_margin


def test_a_restart_keeps_the_breach() -> None:
    _, evidence = windows_to_breach(3, LATENCY, latency(1.5), latency())
    again = RolloutEvidence.restore(
        [LATENCY], TREE, through_a_file(evidence.state()), alpha=1e-4, alpha_margin=0.05
    )

    assert again.evaluate() == evidence.evaluate()
    assert again.evaluate()[0] is Outcome.BREACH


@settings(max_examples=8, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 1000))
def test_the_order_of_strata_and_empty_strata_change_nothing(
    shuffler: Random,
    seed: int,
) -> None:
    plain, mixed = rollout(*SPECS), rollout(*SPECS)
    for one in fleet(seed, 5):
        other = {}
        for key, by_stratum in one.items():
            cells = next(iter(by_stratum.values())).candidate.size
            nothing = np.zeros(cells, np.int64)
            items = [*by_stratum.items(), (("4", "jp"), ArmCounts(nothing, nothing))]
            shuffler.shuffle(items)
            other[key] = dict(items)
        plain.step(one, enrolled=enrolled(one))
        mixed.step(other, enrolled=enrolled(one) | {("4", "jp"): (0, 0)})

    assert_same(plain.state(), mixed.state())


def test_a_breach_is_frozen() -> None:
    rng = np.random.default_rng(4)
    _, evidence = windows_to_breach(4, LATENCY, latency(1.5), latency())
    before = evidence.evaluate()
    units = de(500, 500)
    for _ in range(3):
        evidence.step(window(rng, LATENCY, latency(0.5), latency(), units), enrolled={})

    assert evidence.evaluate() == before


def test_without_a_past_nothing_is_bet() -> None:
    rng = np.random.default_rng(4)
    evidence = rollout(LATENCY)
    evidence.step(window(rng, LATENCY, latency(3.0), latency(), de(500, 500)), enrolled={})

    assert evidence.bettings[0].log_equal == pytest.approx(np.log(0.99), abs=1e-12)


def test_a_new_stratum_bets_at_once_on_its_parents_past() -> None:
    rng = np.random.default_rng(4)
    evidence = rollout(LATENCY)
    for stratum in (("1", "de"), ("1", "us")):
        evidence.step(
            window(rng, LATENCY, latency(1.5), latency(), {stratum: (500, 500)}), enrolled={}
        )

    assert evidence.bettings[0].equal[1].max() > 3.0


def test_a_skewed_assignment_is_inconclusive_and_blocks_the_breach() -> None:
    rng = np.random.default_rng(6)
    evidence = rollout(LATENCY)
    for _ in range(30):
        candidates = int(rng.binomial(400, 0.35))
        counts = window(rng, LATENCY, latency(2.0), latency(), de(5, 5))
        evidence.step(counts, enrolled=de(candidates, 400 - candidates))
    outcome, arithmetic = evidence.evaluate()

    assert outcome is Outcome.INCONCLUSIVE
    assert arithmetic.reason == "assignment"
    assert arithmetic.assignment_log_e >= arithmetic.log_threshold_equal


def test_a_fair_assignment_with_few_betting_candidates_is_no_alarm() -> None:
    rng = np.random.default_rng(7)
    evidence = RolloutEvidence([LATENCY], TREE, alpha=1e-4, alpha_margin=0.05, rho=0.1)
    for _ in range(40):
        candidates = int(rng.binomial(400, 0.1))
        counts = window(rng, LATENCY, latency(), latency(), de(10, 300))
        evidence.step(counts, enrolled=de(candidates, 400 - candidates))

    assert not evidence.is_misassigned
    assert evidence.evaluate()[0] is not Outcome.BREACH


def test_weights_beyond_one_and_doubled_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to at most 1"):
        rollout(LATENCY, ERRORS)
    with pytest.raises(ValueError, match="same metric"):
        rollout(SPECS[0], SPECS[0])


def test_counts_of_another_length_are_refused() -> None:
    counts: dict[Stratum, ArmCounts] = {
        ("1", "de"): ArmCounts(np.ones(3, np.int64), np.ones(3, np.int64))
    }
    with pytest.raises(ValueError, match="shape"):
        rollout(LATENCY).step({("latency", 0): counts}, enrolled={})
