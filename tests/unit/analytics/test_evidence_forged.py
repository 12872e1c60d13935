"""What forged counts may not do: bets without enrolments, one window, one stratum, bent strata."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.evidence.admission import Admission, Window
from analytics.evidence.assignment import AssignmentCheck
from analytics.evidence.rollout import RolloutEvidence
from analytics.evidence.spec import ArmCounts, BreachRules, Stratum
from analytics.types import Outcome
from tests.unit.analytics.evidence_fleet import (
    ERRORS,
    EVEN,
    LATENCY,
    TREE,
    de,
    failures,
    latency,
    rollout,
    window,
)

DE: Stratum = ("1", "de")
US: Stratum = ("1", "us")
NAME = ("errors", 0)
CELLS = {NAME: 2}


def came(candidate: list[int], control: list[int], stratum: Stratum = DE) -> Window:
    return {NAME: {stratum: ArmCounts(np.array(candidate), np.array(control))}}


def total(counts: Window) -> tuple[int, int]:
    arms = [a for strata in counts.values() for a in strata.values()]
    return sum(int(a.candidate.sum()) for a in arms), sum(int(a.control.sum()) for a in arms)


def test_nothing_counts_where_nobody_enrolled_and_all_of_it_once_somebody_has() -> None:
    admission = Admission()
    assert admission.admit(came([1, 2], [3, 0]), CELLS, 0) == {}

    admission.enrol({DE: (3, 0)})
    late = admission.admit({}, CELLS, 1)
    admission.enrol({DE: (0, 5)})
    later = admission.admit({}, CELLS, 2)

    assert late[NAME][DE].candidate.tolist() == [1, 2]
    assert not late[NAME][DE].control.any()
    assert later[NAME][DE].control.tolist() == [3, 0]
    assert admission.held == {}


units = st.lists(st.integers(0, 5), min_size=4, max_size=4)
steps = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), units), min_size=1, max_size=12)


@given(steps, st.integers(0, 11))
@settings(max_examples=200, deadline=None)
def test_bets_never_outnumber_enrolments_and_a_restart_changes_nothing(
    run: list[tuple[int, int, list[int]]], restart: int
) -> None:
    whole, stopped = Admission(), Admission()
    enrolled, counted, sent = np.zeros(2, int), np.zeros(2, int), np.zeros(2, int)
    for at, (candidate, control, units) in enumerate(run):
        if at == restart:
            stopped = Admission.restore(stopped.state())
        window = came(units[:2], units[2:])
        passed = []
        for admission in (whole, stopped):
            admission.enrol({DE: (candidate, control)})
            passed.append(admission.admit(window, CELLS, at))
        assert str(passed[0]) == str(passed[1])
        enrolled += (candidate, control)
        sent += (sum(units[:2]), sum(units[2:]))
        counted += total(passed[0])
        assert (counted == np.minimum(counted, enrolled)).all()
    held = [len(whole.held.get((NAME, DE, arm), ())) for arm in ("candidate", "control")]
    assert (counted + held == sent).all()
    assert ((counted == enrolled) | (np.array(held) == 0)).all()  # honest bets are never lost


def test_which_of_too_many_go_first_does_not_depend_on_their_values() -> None:
    first = []
    for start_ms in range(400):
        admission = Admission()
        admission.enrol({DE: (10, 0)})
        passed = admission.admit(came([50, 50], [0, 0]), CELLS, start_ms)
        first.append(passed[NAME][DE].candidate[1])

    assert abs(np.mean(first) - 5.0) < 0.3  # 4 standard errors of a hypergeometric


def test_one_window_or_too_few_units_are_no_breach() -> None:
    evidence = rollout(ERRORS)
    counts = {NAME: {DE: ArmCounts(np.array([0, 9000]), np.array([9000, 0]))}}
    evidence.step(counts, enrolled={})

    assert evidence.evaluate()[0] is Outcome.INCONCLUSIVE
    assert evidence.bettings[0].log_equal <= np.log(BreachRules().factor_max)

    few = rollout(ERRORS)
    for _ in range(29):
        few.step({NAME: {DE: ArmCounts(np.array([0, 1]), np.array([1, 0]))}}, enrolled={})
    assert few.evaluate()[0] is Outcome.INCONCLUSIVE
    few.step({NAME: {DE: ArmCounts(np.array([0, 1]), np.array([1, 0]))}}, enrolled={})
    assert few.evaluate()[0] is Outcome.BREACH


def test_a_bent_stratum_is_dropped_and_the_fault_is_found_in_the_rest() -> None:
    rng = np.random.default_rng(2)
    evidence = rollout(LATENCY)
    for _ in range(20):
        counts = window(rng, LATENCY, latency(1.5), latency(), EVEN)
        enrolled = {DE: (100, 100), US: (100, 100), ("1", "xx"): (200, 0)}
        evidence.step(counts, enrolled=enrolled)

    assert evidence.assignment.dropped == {("1", "xx")}
    assert evidence.evaluate()[0] is Outcome.BREACH


def test_what_a_dropped_stratum_said_is_forgotten() -> None:
    rng = np.random.default_rng(2)
    evidence = rollout(ERRORS)
    for _ in range(6):
        counts = window(rng, ERRORS, failures(0.9), failures(0.1), {US: (9, 9)})
        counts[NAME] |= window(rng, ERRORS, failures(0.1), failures(0.1), de(50, 50))[NAME]
        evidence.step(counts, enrolled={US: (40, 0), DE: (50, 50)})

    assert evidence.assignment.dropped == {US}
    assert evidence.evaluate()[0] is Outcome.INCONCLUSIVE
    assert evidence.bettings[0].log_equal_sup < 0.0
    twin = RolloutEvidence.restore([ERRORS], TREE, evidence.state(), alpha=1e-4, alpha_margin=0.05)
    assert str(twin.evaluate()) == str(evidence.evaluate())


def test_an_assignment_that_is_wrong_everywhere_is_found_and_one_that_is_bent_once_passes() -> None:
    rng = np.random.default_rng(5)
    wrong = AssignmentCheck(TREE, 0.5, alpha=1e-4)
    for _ in range(40):
        for region in ("de", "us", "fr", "in"):
            candidate = int(rng.binomial(100, 0.42))
            wrong.add(("1", region), candidate, 100 - candidate)
        wrong.look()
    assert wrong.is_skewed

    outlived = AssignmentCheck(TREE, 0.5, alpha=1e-4)
    outlived.add(US, 400, 0)
    outlived.look()
    assert outlived.is_skewed  # nothing is left
    outlived.add(DE, 500, 500)
    outlived.look()
    assert not outlived.is_skewed


def test_clipped_factors_have_a_mean_of_at_most_one_under_the_null() -> None:
    """Also with strata dropped by their enrolments, in the middle of the run."""
    rng = np.random.default_rng(9)
    ends = []
    for _ in range(800):
        evidence = RolloutEvidence(
            [ERRORS], TREE, alpha=1e-4, alpha_margin=0.05, rules=BreachRules(1, 1, 2.0)
        )
        for at in range(8):
            counts = window(rng, ERRORS, failures(0.2), failures(0.2), EVEN)
            evidence.step(counts, enrolled={US: (40, 0), DE: (20, 20)} if at > 3 else {})
        ends.append(np.exp(evidence.bettings[0].log_equal - evidence.bettings[0].log_weight))
    assert np.mean(ends) - 3 * np.std(ends) / np.sqrt(len(ends)) <= 1.0
