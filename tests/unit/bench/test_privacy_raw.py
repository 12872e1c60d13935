"""Whose a difference is: the judge of `bench.privacy`."""

import numpy as np
import pytest

from bench.privacy_raw import is_somebodys

NINE = np.repeat(np.arange(9), 2)


@pytest.mark.parametrize(
    ("difference", "upload", "by_row", "expected"),
    [
        (9.0, NINE, np.tile([1.0, 0.0], 9), True),
        (9.4, NINE, np.tile([1.0, 0.0], 9), True),  # rounded
        (10.0, NINE, np.tile([1.0, 0.0], 9), False),  # one row of ten, by chance near
        (0.0, NINE, np.tile([1.0, -1.0], 9), False),  # nothing is told
        (10.0, np.arange(10), np.ones(10), False),
        (-3.0, np.array([7, 7, 7]), np.full(3, -1.0), True),
        (0.0, np.zeros(0, np.int64), np.zeros(0), False),
    ],
)
def test_a_difference_that_is_what_few_sent_is_theirs(
    difference: float, upload: np.ndarray, by_row: np.ndarray, expected: bool
) -> None:
    assert is_somebodys(difference, upload, by_row) is expected
