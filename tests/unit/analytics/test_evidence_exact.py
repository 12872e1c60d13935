"""Exact expectations: every outcome of small windows, weighed by its probability."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import gammaln

from analytics.evidence.assignment import log_assignment
from analytics.evidence.category import CategoryBets
from analytics.evidence.distribution import PASS_TAIL_CUT, PASS_TAIL_RATIO, DistributionBets
from analytics.evidence.law import Growth, LawBets
from analytics.evidence.mixture import Cohorts, log_sum_exp
from analytics.evidence.past import Past
from analytics.evidence.rate import THETAS, log_rate_growth
from analytics.evidence.spec import CohortTree, EvidenceSpec, Law

TREE = CohortTree(("step", "region"), (2, 3))
Floats = NDArray[np.float64]
SEEDS = range(6)


def outcomes(cells: int, units: int) -> NDArray[np.int64]:
    """Every count vector of ``units`` over ``cells``."""
    if cells == 1:
        return np.array([[units]])
    return np.vstack([
        np.insert(outcomes(cells - 1, units - first), 0, first, axis=1)
        for first in range(units + 1)
    ])  # fmt: skip


def probability(counts: NDArray[np.int64], law: Floats) -> Floats:
    """Multinomial probability of each row."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(counts > 0, counts * np.log(law), 0.0).sum(1)
    ways = gammaln(counts.sum(1) + 1) - gammaln(counts + 1).sum(1)
    chances: Floats = np.exp(ways + logs)
    return chances


def expected(
    bets: LawBets, law_c: Floats, law_b: Floats, units: tuple[int, int]
) -> tuple[Floats, Floats, Floats]:
    """E[e] per bet against each null, by summing over all outcomes of one window."""
    arm_c, arm_b = outcomes(len(law_c), units[0]), outcomes(len(law_b), units[1])
    i, j = (index.ravel() for index in np.indices((len(arm_c), len(arm_b))))
    growth: Growth = bets.growth(np.zeros(len(i), np.int64), arm_c[i], arm_b[j])
    chance = probability(arm_c, law_c)[i] * probability(arm_b, law_b)[j]
    assert chance.sum() == pytest.approx(1.0)
    return (
        chance @ np.exp(growth.equal),
        chance @ np.exp(growth.margin),
        chance @ np.exp(growth.passing),
    )


def built(
    law: type[DistributionBets] | type[CategoryBets], spec: EvidenceSpec, seed: int
) -> LawBets:
    """Bets built from a random past of two strata, the arms differing."""
    rng = np.random.default_rng(seed)
    cohorts = Cohorts(TREE)
    cohorts.rows([("1", "de"), ("1", "us")])
    bets = law(spec, cohorts)
    past = Past(spec.cells)
    past.grow(2)
    laws = rng.dirichlet(np.ones(spec.cells), 4)
    arms = np.array([rng.multinomial(60, one) for one in laws])
    past.add(np.arange(2), arms[:2], arms[2:])
    bets.build(past)
    return bets


def moved_up(law: Floats, shift: int) -> Floats:
    """Law after every value but zero grew by ``shift`` buckets."""
    up = np.zeros_like(law)
    up[0] = law[0]
    up[1 + shift :] = law[1 : len(law) - shift]
    up[-1] += law[len(law) - shift :].sum()
    return up


def moved_down(rng: np.random.Generator, law: Floats) -> Floats:
    """A stochastically smaller law."""
    down = law.copy()
    for _ in range(3):
        source = int(rng.integers(1, len(law)))
        part = rng.random() * down[source]
        down[source] -= part
        down[int(rng.integers(0, source))] += part
    return down


DISTRIBUTION = EvidenceSpec("latency", 0, Law.DISTRIBUTION, 1.0, 0.05, 7)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("units", [(2, 2), (1, 3)])
def test_no_bet_on_a_distribution_gains_while_the_candidate_is_not_worse(
    seed: int, units: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed + 100)
    bets = built(DistributionBets, DISTRIBUTION, seed)
    law = rng.dirichlet(np.full(7, 0.5))

    same = expected(bets, law, law, units)[0]
    smaller = expected(bets, moved_down(rng, law), law, units)[0]

    assert same.max() <= 1.0 + 1e-12
    assert smaller.max() <= 1.0 + 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_no_margin_bet_on_a_distribution_gains_up_to_the_margin(seed: int) -> None:
    rng = np.random.default_rng(seed + 200)
    bets = built(DistributionBets, DISTRIBUTION, seed)
    law = rng.dirichlet(np.full(7, 0.5))
    worst = moved_up(law, 1)

    at_margin = expected(bets, worst, law, (2, 2))[1]
    below = expected(bets, moved_down(rng, worst), law, (2, 2))[1]

    assert at_margin.max() <= 1.0 + 1e-12
    assert below.max() <= 1.0 + 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_no_pass_bet_gains_while_the_candidate_is_twice_the_margin_worse(seed: int) -> None:
    rng = np.random.default_rng(seed + 300)
    bets = built(DistributionBets, DISTRIBUTION, seed)
    law = rng.dirichlet(np.full(7, 0.5))

    passing = expected(bets, moved_up(law, 2), law, (2, 2))[2]

    assert passing[: len(bets.pass_bets[0].names)].max() <= 1.0 + 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_no_tail_pass_bet_gains_while_the_tail_is_half_as_heavy_again(seed: int) -> None:
    bets = built(DistributionBets, DISTRIBUTION, seed)
    assert isinstance(bets, DistributionBets)
    cut = int(bets.cuts[0, PASS_TAIL_CUT])
    law, heavy = np.zeros(7), np.zeros(7)
    law[[0, min(cut + 1, 6)]] = 0.8, 0.2
    heavy[[0, min(cut + 1, 6)]] = 1.0 - 0.2 * PASS_TAIL_RATIO, 0.2 * PASS_TAIL_RATIO

    passing = expected(bets, heavy, law, (2, 3))[2]

    assert passing[len(bets.pass_bets[0].names) :].max() <= 1.0 + 1e-12


def test_a_larger_candidate_lets_bets_gain() -> None:
    bets = built(DistributionBets, DISTRIBUTION, 0)
    law = np.array([0.1, 0.5, 0.3, 0.1, 0.0, 0.0, 0.0])

    equal, margin, _ = expected(bets, moved_up(law, 3), law, (2, 2))

    assert equal.max() > 1.05
    assert margin.max() > 1.02


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5, -1.0 / 6.0])
@pytest.mark.parametrize("share_b", [0.01, 0.2, 0.6])
def test_no_bet_on_a_rate_gains_up_to_the_margin(margin: float, share_b: float) -> None:
    hits_c, hits_b = (index.ravel() for index in np.indices((6, 9)))
    units = np.full(hits_c.shape, 5.0), np.full(hits_c.shape, 8.0)
    growth = log_rate_growth(
        (hits_c.astype(float), hits_b.astype(float)), units, np.array(THETAS), margin
    )
    counts_b = np.stack((8 - hits_b, hits_b), axis=1)
    counts_c = np.stack((5 - hits_c, hits_c), axis=1)
    for part in (1.0, 0.7):
        share_c = share_b * (1.0 + margin) * part
        chance = probability(counts_c, np.array([1 - share_c, share_c])) * probability(
            counts_b, np.array([1 - share_b, share_b])
        )

        assert (chance @ np.exp(growth)).max() <= 1.0 + 1e-12


CATEGORY = EvidenceSpec("labels", 0, Law.CATEGORY, 1.0, 0.1, 4)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_bet_on_classes_gains_inside_the_total_variation_ball(seed: int) -> None:
    rng = np.random.default_rng(seed + 400)
    bets = built(CategoryBets, CATEGORY, seed)
    law = 0.9 * rng.dirichlet(np.ones(4)) + 0.025
    equal = expected(bets, law, law, (3, 2))[0]
    assert equal.max() <= 1.0 + 1e-12
    for source in range(4):
        for target in set(range(4)) - {source}:
            away = law.copy()
            part = min(0.1, away[source])
            away[source] -= part
            away[target] += part

            margin = expected(bets, away, law, (3, 2))[1]

            assert margin.max() <= 1.0 + 1e-12


def test_moving_more_than_the_margin_lets_class_bets_gain() -> None:
    bets = built(CategoryBets, CATEGORY, 1)
    law = np.array([0.7, 0.1, 0.1, 0.1])
    away = np.array([0.1, 0.1, 0.1, 0.7])

    assert expected(bets, away, law, (3, 3))[1].max() > 1.05


@pytest.mark.parametrize("rho", [0.05, 0.5])
def test_the_assignment_evidence_has_mean_one_under_the_assigned_share(rho: float) -> None:
    candidate = np.arange(31)
    counts = np.stack((candidate, 30 - candidate), axis=1)
    chance = probability(counts, np.array([rho, 1 - rho]))
    log_e = log_assignment(candidate.astype(float), 30 - candidate.astype(float), rho)

    assert chance @ np.exp(log_e) == pytest.approx(1.0)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.tuples(st.sampled_from("12"), st.sampled_from(["de", "us", "fr", "jp", "in"]))))
def test_stakes_never_exceed_one_whatever_strata_appear(strata: set[tuple[str, str]]) -> None:
    cohorts = Cohorts(TREE)  # holds three regions; others may not stake as cohorts
    cohorts.rows(sorted(strata))
    stakes = np.log(np.array([0.5, 0.3, 0.2]))
    by_bet = cohorts.log_by_bet(np.zeros((len(strata), 3)), stakes)

    total = np.exp(log_sum_exp(by_bet))

    assert total <= 1.0 + 1e-12
    if len({region for _, region in strata}) <= 3:
        assert total == pytest.approx(1.0)
