"""Points that are spread more evenly than at random."""

import sys

import numpy as np
import pytest

import keras_physreg as kp

LOW, HIGH = {"x": [-1.0, 5.0], "t": [0.0]}, {"x": [1.0, 9.0], "t": [2.0]}


@pytest.mark.parametrize("design", ["latin_hypercube", "sobol"])
def test_each_interval_of_a_coordinate_holds_one_point(design):
    pytest.importorskip("scipy")
    sampler = kp.UniformSampler(LOW, HIGH, seed=3, dtype="float64", design=design)
    points = sampler(0, 16)
    assert points["x"].shape == (16, 2)
    assert points["t"].shape == (16, 1)
    unit = np.concatenate([(points["x"] - LOW["x"]) / [2.0, 4.0], points["t"] / 2.0], axis=1)
    for column in unit.T:
        assert sorted(np.floor(column * 16).astype(int)) == list(range(16))
    again, later = sampler(0, 16), sampler(1, 16)
    np.testing.assert_array_equal(points["x"], again["x"])
    assert not np.array_equal(points["x"], later["x"])


def test_points_at_random_are_not_spread_evenly():
    points = kp.UniformSampler([0.0], [1.0], seed=3)(0, 16)
    assert len(set(np.floor(points[:, 0] * 16))) < 16


def test_unknown_design():
    with pytest.raises(ValueError, match="`design` must be one of"):
        kp.UniformSampler([0.0], [1.0], design="halton")


def test_sobol_needs_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats.qmc", None)
    with pytest.raises(ImportError, match="needs SciPy: `pip install scipy`"):
        kp.UniformSampler([0.0], [1.0], design="sobol")
