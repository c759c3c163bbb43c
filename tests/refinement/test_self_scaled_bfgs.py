"""The minimisers alone, against minima and formulas that are known."""

import itertools

import numpy as np
import pytest

from keras_physreg.refinement.scipy_optimize import limited_memory_bfgs
from keras_physreg.refinement.self_scaled_bfgs import _Inverse, self_scaled_bfgs

MINIMISERS = [self_scaled_bfgs, limited_memory_bfgs]


def rosenbrock(w):
    """The minimum, 0, is at ones."""
    ends, starts = w[1:], w[:-1]
    gradient = np.zeros_like(w)
    gradient[:-1] = -400 * starts * (ends - starts**2) - 2 * (1 - starts)
    gradient[1:] += 200 * (ends - starts**2)
    return float(np.sum(100 * (ends - starts**2) ** 2 + (1 - starts) ** 2)), gradient


@pytest.mark.parametrize("minimise", MINIMISERS)
def test_rosenbrock_in_ten_dimensions(minimise):
    path = []
    minimise(rosenbrock, np.full(10, -1.2) * (-1) ** np.arange(10), 300, path.append)
    np.testing.assert_allclose(path[-1], 1.0, atol=1e-8)
    assert len(path) < 150


@pytest.mark.parametrize("minimise", MINIMISERS)
def test_a_bowl_of_condition_1e6(minimise):
    curvatures = np.logspace(-3, 3, 20)
    path = []
    minimise(
        lambda w: (float(curvatures @ w**2) / 2, curvatures * w), np.ones(20), 400, path.append
    )
    assert curvatures @ path[-1] ** 2 < 1e-14 * curvatures.sum()


@pytest.mark.parametrize("minimise", MINIMISERS)
def test_every_step_makes_the_loss_smaller(minimise):
    path = [np.full(6, -1.0)]
    minimise(rosenbrock, path[0], 60, path.append)
    losses = [rosenbrock(w)[0] for w in path]
    assert len(losses) > 20
    assert all(after < before for before, after in itertools.pairwise(losses))


def test_updates_follow_the_published_formula():
    rng = np.random.default_rng(0)
    hessian = (lambda a: a @ a.T + np.eye(5))(rng.normal(size=(5, 5)))
    inverse, expected, taus = _Inverse(5), None, []
    for length in (1.0, 0.5, 3.0, 0.1, 2.0):
        gradient = rng.normal(size=5)
        before = np.eye(5) if expected is None else expected
        step = -length * before @ gradient
        change = hessian @ step
        inverse.update(step, change, gradient, length)
        curvature = change @ step
        if expected is None:
            before = np.eye(5) * curvature / (change @ change)
        product = before @ change
        both = change @ product
        v = np.sqrt(both) * (step / curvature - product / both)
        taus.append(min(1.0, curvature / (step @ np.linalg.solve(before, step))))
        expected = (before - np.outer(product, product) / both + np.outer(v, v)) / taus[-1]
        expected += np.outer(step, step) / curvature
        got = np.stack([inverse.times(column) for column in np.eye(5)])
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
    assert min(taus) < 1.0 == max(taus)  # Both cases of the minimum.


def test_a_step_along_which_the_loss_curves_downwards_changes_nothing():
    inverse = _Inverse(2)
    inverse.update(np.array([1.0, 0.0]), np.array([-1.0, 0.0]), np.array([-1.0, 0.0]), 1.0)
    assert inverse.is_fresh


@pytest.mark.parametrize("minimise", MINIMISERS)
def test_it_says_why_it_stopped(minimise):
    bowl = lambda w: (float(w @ w), 2 * w)  # noqa: E731
    assert minimise(bowl, np.zeros(2), 5, print) == "the gradient is 0"
    assert minimise(rosenbrock, np.zeros(4), 2, lambda w: None) == "2 iterations done"
    flat = lambda w: (1.0, np.ones(2))  # noqa: E731  # A gradient that leads nowhere.
    assert minimise(flat, np.zeros(2), 5, print).startswith("no step")
