"""Chains: exact tables, and errors of bad input."""

import numpy as np
import pytest

from keras_physreg.schedules import Chain, GeometricRamp, LinearRamp, Staircase

UP, DOWN, ONE = LinearRamp(0, 1, 4), LinearRamp(1, 0, 4), Staircase([1], 1)


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (Chain([UP], []), [0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1]),
        (Chain([UP, DOWN], [5]), [0, 0, 0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25, 0]),
        (Chain([UP, DOWN], [2]), [0, 0, 0.25, 1, 0.75, 0.5, 0.25, 0, 0, 0, 0]),
        (
            Chain([ONE, LinearRamp(0, 1, 1, begin=2), UP], [1, 6]),
            [0, 1, 0, 0, 0, 1, 1, 0, 0.25, 0.5, 0.75],
        ),
        (Chain([ONE, UP], [2.5]), [0, 1, 1, 1, 0.125, 0.375, 0.625, 0.875, 1, 1, 1]),
    ],
)
def test_table(chain, expected):
    np.testing.assert_allclose(chain(np.arange(-1, 10)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("schedules", "boundaries", "error", "message"),
    [
        ([], [], ValueError, "`schedules` must not be empty"),
        (UP, [], TypeError, "`schedules` must be a list"),
        ([UP, 0.5], [1], TypeError, r"`schedules` must hold schedules.*schedules\[1\]=0.5"),
        ([UP, abs], [1], TypeError, "`schedules` must hold schedules.*Staircase"),
        ([UP, DOWN], [], ValueError, r"one element fewer.*here 1.*boundaries=\[\]"),
        ([UP], [3], ValueError, "one element fewer than `schedules`, here 0"),
        ([UP, DOWN], 3, TypeError, "`boundaries` must be a list"),
        ([UP, DOWN], ["3"], TypeError, r"`boundaries\[0\]` must be a number"),
        ([UP, DOWN], [-3], ValueError, r"`boundaries\[0\]` must be at least 0"),
        ([UP, DOWN], [float("nan")], ValueError, r"`boundaries\[0\]` must be finite"),
        ([UP, DOWN], [0], ValueError, "`boundaries` must be above 0 and increase"),
        ([UP, DOWN, UP], [5, 4], ValueError, r"must be above 0 and increase.*\[5, 4\]"),
        ([UP, DOWN, UP], [5, 5], ValueError, "`boundaries` must be above 0 and increase"),
    ],
)
def test_bad_input(schedules, boundaries, error, message):
    with pytest.raises(error, match=f"Chain: .*{message}"):
        Chain(schedules, boundaries)


@pytest.mark.tensorflow
def test_no_tensor_leaks_from_a_trace():
    """A chain keeps nothing of the graph it was traced in."""
    import tensorflow as tf

    chain = Chain([GeometricRamp(1e-3, 1, 4), DOWN], [6])
    tf.function(chain)(tf.constant(3))
    assert chain(6) == 1.0
