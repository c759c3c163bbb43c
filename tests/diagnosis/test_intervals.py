"""Intervals for few rows, against SciPy."""

import numpy as np
import pytest
from scipy import stats

from keras_physreg.diagnosis.intervals import (
    correlation_interval,
    improbable,
    mean_interval,
    share_interval,
    t_quantile,
)


@pytest.mark.parametrize("count", [2, 3, 10, 16, 100])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_the_quantile_is_that_of_student_t(count, confidence):
    expected = stats.t.ppf((1 + confidence) / 2, count - 1)
    assert t_quantile(confidence, count) == pytest.approx(expected, rel=1e-6)


def test_an_interval_of_a_mean():
    values = np.random.default_rng(0).normal(1.0, 2.0, 16)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    np.testing.assert_allclose(mean_interval(values, 0.95), expected, rtol=1e-6)


@pytest.mark.parametrize("hits", [0, 1, 7, 16])
def test_the_interval_of_a_share_is_that_of_clopper_and_pearson(hits):
    expected = stats.binomtest(hits, 16).proportion_ci(0.95, method="exact")
    np.testing.assert_allclose(share_interval(hits, 16, 0.95), expected, atol=1e-6)


@pytest.mark.parametrize("r", [-0.9, 0.0, 0.5, 1.0])
def test_the_interval_of_a_correlation(r):
    middle, half = np.arctanh(np.clip(r, -1, 1 - 1e-12)), stats.norm.ppf(0.975) / np.sqrt(61)
    expected = np.tanh([middle - half, middle + half])
    np.testing.assert_allclose(correlation_interval(r, 64, 0.95), expected, atol=1e-9)
    wider = correlation_interval(r, 64, 0.95, rank=True)
    assert wider[0] <= expected[0] + 1e-9
    assert wider[1] >= expected[1] - 1e-9


@pytest.mark.parametrize("tests", [1, 4])
@pytest.mark.parametrize("count", [5, 16, 100])
def test_what_is_improbable_follows_student_t(count, tests):
    limit = stats.t.isf(stats.norm.sf(2.58) / tests, count - 1)
    assert improbable(1.001 * limit, count, 2.58, tests)
    assert not improbable(0.999 * limit, count, 2.58, tests)
    assert improbable(-1.001 * limit, count, 2.58, tests)


def test_one_value_tells_nothing():
    assert not improbable(np.inf, 1, 2.58)
    assert correlation_interval(0.9, 3, 0.95) == (-1.0, 1.0)
