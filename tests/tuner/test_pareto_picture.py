"""The picture of a Pareto front: what is drawn where."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from keras_physreg.tuner.pareto import ParetoFront, ParetoRow

LOSSES = [(0.1, 2.0), (0.12, 0.5), (0.15, 0.05), (0.2, 1.0)]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def front(losses=LOSSES, weights=(0.1, 1.0, 10.0, None), chosen=1):
    rows = [
        ParetoRow(
            str(k),
            *pair,
            {"z_on": weight is not None, **({"z_weight": weight} if weight else {})},
            on_front=k < 3,
            chosen=k == chosen,
        )
        for k, (pair, weight) in enumerate(zip(losses, weights, strict=True))
    ]
    return ParetoFront("z", "val_data_loss", tuple(rows))


def test_front_trials_and_chosen():
    figure = front().plot()
    ax, bar = figure.axes
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_array_equal(lines["Pareto front"].get_xydata(), LOSSES[:3])
    assert lines["Pareto front"].get_drawstyle() == "steps-post"
    np.testing.assert_array_equal(lines["chosen trial"].get_xydata(), [LOSSES[1]])
    points = {dots.get_label(): dots.get_offsets() for dots in ax.collections}
    np.testing.assert_array_equal(points["trial with z off"], LOSSES[3:])
    np.testing.assert_array_equal(points["trial"], LOSSES[:3])
    assert (ax.get_xlabel(), ax.get_ylabel()) == (
        "val_data_loss (unweighted)",
        "val_z_loss (unweighted)",
    )
    assert bar.get_ylabel() == "weight of z [1 / loss]"
    # Narrow: linear; over more than a decade: logarithmic.
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")


def test_the_legend_hides_no_trial():
    figure = front().plot()
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    assert not legend.overlaps(figure.axes[0].get_window_extent())


def test_losses_of_zero_are_drawn_on_a_linear_axis():
    figure = front(losses=[(0.1, 2.0), (0.2, 1.0), (0.3, 0.0), (0.4, 5.0)]).plot()
    assert figure.axes[0].get_yscale() == "linear"


def test_one_weight_and_no_weight():
    assert len(front(weights=(1.0, None, None, None)).plot().axes) == 2
    figure = front(weights=(None,) * 4).plot()
    assert [dots.get_label() for dots in figure.axes[0].collections] == ["trial"]


def test_trials_that_are_not_finite_are_left_out():
    figure = front(losses=[*LOSSES[:3], (0.2, np.nan)]).plot()
    assert [dots.get_label() for dots in figure.axes[0].collections] == ["trial"]
