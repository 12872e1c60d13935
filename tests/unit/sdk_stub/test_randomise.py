"""Randomised response keeps its promise: the ratio of chances, and a registered answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sdk_stub.randomise import RandomisedResponse, keep_share, randomise


@given(st.floats(0.1, 8), st.integers(2, 20))
def test_the_odds_of_two_truths_differ_by_e_to_the_epsilon(epsilon: float, groups: int) -> None:
    keep = keep_share(epsilon, groups)
    other = (1 - keep) / (groups - 1)

    assert np.isclose(np.log(keep / other), epsilon)


def test_answers_follow_the_channel() -> None:
    answers = randomise(np.full(40_000, 3), groups=8, epsilon=2.0, rng=np.random.default_rng(5))

    keep = keep_share(2.0, 8)
    expected = np.full(8, (1 - keep) / 7)
    expected[3] = keep
    assert stats.chisquare(np.bincount(answers, minlength=8), 40_000 * expected).pvalue > 1e-6


@given(st.integers(0, 999), st.integers(2, 8))
def test_every_answer_is_a_registered_group(prediction_class: int, groups: int) -> None:
    response = RandomisedResponse({i: i % groups for i in range(500)}, groups, 1.0)

    assert 0 <= response.answer(prediction_class, np.random.default_rng(1)) < groups


def test_an_unregistered_truth_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="not registered"):
        randomise(np.array([8]), groups=8, epsilon=1.0, rng=np.random.default_rng(1))
