"""k-ary randomised response: what leaves the phone is deniable, and still says something.

With probability e^epsilon / (e^epsilon + k - 1) the true group is sent, otherwise one of the other
k - 1, all alike. The ratio of any answer's chances under two truths is at most e^epsilon.

Source: Warner 1965, JASA 60; Kairouz, Oh, Viswanath 2014 (k-ary form, optimal at large epsilon).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def keep_share(epsilon: float, groups: int) -> float:
    """How likely the true group is sent, in [1/groups, 1)."""
    if epsilon <= 0.0 or groups < 2:  # noqa: PLR2004 - one group says nothing
        raise ValueError("epsilon must be positive and there must be two groups or more")
    return 1.0 / (1.0 + (groups - 1) * float(np.exp(-epsilon)))


def randomise(
    truth: NDArray[np.int64], *, groups: int, epsilon: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The answers that are sent for the true groups ``0 .. groups - 1``, any shape."""
    if truth.size and not (int(truth.min()) >= 0 and int(truth.max()) < groups):
        raise ValueError("a true group is not registered")
    keep = rng.random(truth.shape) < keep_share(epsilon, groups)
    step = rng.integers(1, groups, size=truth.shape)
    return np.where(keep, truth, (truth + step) % groups)


@dataclass(frozen=True, slots=True)
class RandomisedResponse:
    """How one model's class is randomised: class number -> registered group, and epsilon.

    Classes that are not listed go to group 0. At most 8 groups keep the evidence affordable.
    """

    group_of: Mapping[int, int]
    groups: int
    epsilon: float

    def answer(self, prediction_class: int, rng: np.random.Generator) -> int:
        """What is sent instead of the class."""
        truth = np.array([self.group_of.get(prediction_class, 0)], np.int64)
        return int(randomise(truth, groups=self.groups, epsilon=self.epsilon, rng=rng)[0])
