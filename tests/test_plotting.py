"""Plots of schedules. That matplotlib is imported on the first plot only: see test_imports.py."""

import builtins

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from keras_physreg.plotting import plot_schedules
from keras_physreg.schedules import GeometricRamp, LinearRamp, Staircase

RAMPS = {"x": GeometricRamp(1e-10, 1.0, 80), "z": GeometricRamp(1e-10, 1.0, 80, begin=80)}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_weights_are_drawn_as_the_callback_sets_them():
    ax = plot_schedules(RAMPS, steps=200).axes[0]
    assert ax.get_yscale() == "log"
    lines = {line.get_label(): line.get_data() for line in ax.get_lines()}
    assert list(lines) == ["x", "z"]
    times, weights = lines["x"]
    np.testing.assert_array_equal(times, np.arange(201))
    np.testing.assert_allclose(weights[:200], RAMPS["x"](np.arange(200)))
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"x", "z"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "term weight")


def test_zero_has_a_line_of_its_own():
    ax = plot_schedules(RAMPS, steps=200).axes[0]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    marks = dict(zip(labels, ax.get_yticks(), strict=True))
    z = ax.get_lines()[1].get_ydata()
    assert np.all(z[:80] == marks["off"])
    assert marks["off"] < 1e-10
    assert "$10^{0}$" in marks


def test_no_zero_no_line_for_it():
    ax = plot_schedules({"x": LinearRamp(0.1, 1, 5)}, steps=20).axes[0]
    assert "off" not in [label.get_text() for label in ax.get_yticklabels()]


@pytest.mark.parametrize("weights", [[0.0], [1.0], [1e-37, 1e37], [0.0, 1e37]])
def test_odd_ranges(weights):
    figure = plot_schedules({"x": weights}, steps=5)
    figure.canvas.draw()
    assert len(figure.axes[0].get_yticks()) <= 13


def test_long_trainings_are_thinned_out():
    ax = plot_schedules({"x": Staircase([0, 1], 500_000)}, steps=1_000_000, unit="step").axes[0]
    times = ax.get_lines()[0].get_xdata()
    assert len(times) <= 2001
    assert (times[0], times[-1]) == (0, 1_000_000)
    assert ax.get_xlabel() == "step"


def test_draws_on_given_axes():
    figure, (left, right) = plt.subplots(1, 2)
    assert plot_schedules(RAMPS, 10, ax=right) is figure
    assert not left.lines


def test_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("show was called"))
    plot_schedules(RAMPS, 10)


@pytest.mark.parametrize(
    ("schedules", "steps", "error", "message"),
    [
        ({}, 10, ValueError, "must name at least one term"),
        (RAMPS, 0, ValueError, "`steps` must be at least 1"),
        (RAMPS, "10", TypeError, "`steps` must be a number"),
        ({"x": 1.0}, 10, TypeError, "term 'x'"),
        ({"x": lambda time: 3 - time}, 10, ValueError, "term 'x'.*At time 4 it returned -1"),
    ],
)
def test_bad_input(schedules, steps, error, message):
    with pytest.raises(error, match=message):
        plot_schedules(schedules, steps)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "keras_physreg\[plot\]"'):
        plot_schedules(RAMPS, 10)
