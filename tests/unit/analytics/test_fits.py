"""Our numerics say what SciPy's do, which cost a third of a second to import at every start."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import isotonic_regression
from scipy.special import betaln

from analytics.evidence.assignment import log_beta
from analytics.evidence.distribution import smoothed
from analytics.evidence.isotonic import isotonic

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 30))


@given(st.data())
def test_rows_are_fitted_as_scipy_fits_each_alone(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    values = data.draw(arrays(np.float64, shape, elements=st.floats(0.0, 50.0)))
    weights = data.draw(arrays(np.float64, shape, elements=st.floats(1e-6, 10.0)))

    fitted = isotonic(values, weights)

    for row, value, weight in zip(fitted, values, weights, strict=True):
        expected = isotonic_regression(value, weights=weight).x
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-9)
        assert (np.diff(row) >= 0).all()


def test_a_drop_at_the_end_is_pooled_back_to_where_it_fits() -> None:
    values = np.array([[*range(100), -1e6], [*range(101)]], np.float64)

    fitted = isotonic(values, np.ones_like(values))

    np.testing.assert_allclose(fitted[0], np.full(101, values[0].mean()))
    np.testing.assert_array_equal(fitted[1], values[1])


@given(st.data())
def test_counts_are_smoothed_as_scipy_smooths_them_and_none_is_lost(data: st.DataObject) -> None:
    counts = data.draw(arrays(np.int64, data.draw(SHAPES), elements=st.integers(0, 10**6))) * 1.0
    width = data.draw(st.floats(0.3, 40.0))
    start = data.draw(st.integers(0, counts.shape[1] - 1))

    smooth = smoothed(counts, width, start)

    expected = gaussian_filter1d(counts[:, start:], width, axis=1, mode="reflect")
    np.testing.assert_allclose(smooth[:, start:], expected, rtol=1e-9, atol=1e-6)
    np.testing.assert_array_equal(smooth[:, :start], counts[:, :start])
    np.testing.assert_allclose(smooth.sum(1), counts.sum(1), rtol=1e-9)


@pytest.mark.parametrize("width", [0.0, 0.29])
def test_a_narrow_kernel_changes_nothing(width: float) -> None:
    counts = np.arange(12.0).reshape(2, 6)

    assert smoothed(counts, width, 1) is counts


@given(st.floats(1e-3, 1e9), st.floats(1e-3, 1e9))
def test_the_log_of_beta_is_scipys(a: float, b: float) -> None:
    # what is subtracted is of the size of (a + b) log(a + b)
    allowed = 1e-15 * (1.0 + (a + b) * np.log(2.0 + a + b))

    assert log_beta(a, b) == pytest.approx(betaln(a, b), rel=1e-12, abs=4 * allowed)
