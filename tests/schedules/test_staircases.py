"""Staircases: exact tables, and errors of bad input."""

import numpy as np
import pytest

from keras_physreg.schedules import GeometricStaircase, Staircase


@pytest.mark.parametrize(
    ("stairs", "times", "expected"),
    [
        (Staircase([0, 1e-10, 1], every=2), range(-2, 8), [0, 0, 0, 0, 1e-10, 1e-10, 1, 1, 1, 1]),
        (Staircase([3, 1, 2], every=1, begin=2), range(7), [0, 0, 3, 1, 2, 2, 2]),
        (Staircase([1, 2], every=1.5), [0, 1, 1.49, 1.5, 2, 9], [1, 1, 1, 2, 2, 2]),
        (Staircase(np.float32([0.5, 0.25]), every=3), [0, 2, 3], [0.5, 0.5, 0.25]),
        (
            GeometricStaircase(1e-10, 1, steps=11, every=10),
            range(0, 120, 10),
            [1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 1],
        ),
        (
            GeometricStaircase(8, 2, steps=3, every=2, begin=1),
            range(9),
            [0, 8, 8, 4, 4, 2, 2, 2, 2],
        ),
    ],
    ids=repr,
)
def test_table(stairs, times, expected):
    np.testing.assert_allclose(stairs(np.array(list(times))), expected, rtol=1e-12)


def test_the_last_stair_is_exactly_the_end():
    for end in (0.1, 0.3, 7.0):
        assert GeometricStaircase(1e-10, end, steps=7, every=3)(18) == end


@pytest.mark.parametrize(
    ("cls", "arguments", "error", "message"),
    [
        (Staircase, ([], 1), ValueError, "`values` must not be empty"),
        (Staircase, ("123", 1), TypeError, "`values` must be a list"),
        (Staircase, (1.0, 1), TypeError, "`values` must be a list"),
        (Staircase, ({"x": 1}, 1), TypeError, "`values` must be a list"),
        (Staircase, ([1, "2"], 1), TypeError, r"`values\[1\]` must be a number.*'2'"),
        (Staircase, ([[1, 2]], 1), TypeError, r"`values\[0\]` must be a number"),
        (Staircase, (np.ones((2, 2)), 1), TypeError, r"`values\[0\]` must be a number"),
        (Staircase, ([1, -1], 1), ValueError, r"`values\[1\]` must be 0 \(off\), or.*-1"),
        (Staircase, ([float("nan")], 1), ValueError, r"`values\[0\]` must be finite"),
        (Staircase, ([1], 0), ValueError, "`every` must be at least 1"),
        (Staircase, ([1], None), TypeError, "`every` must be a number"),
        (Staircase, ([1], 1, -2), ValueError, "`begin` must be at least 0"),
        (GeometricStaircase, (0, 1, 3, 1), ValueError, "`start` must be above 0"),
        (GeometricStaircase, (1, -1, 3, 1), ValueError, "`end` must be above 0"),
        (GeometricStaircase, (1, float("inf"), 3, 1), ValueError, "`end` must be finite"),
        (GeometricStaircase, (1, 2, 1, 1), ValueError, "`steps` must be at least 2"),
        (GeometricStaircase, (1, 2, 2.5, 1), ValueError, "`steps` must be an integer"),
        (GeometricStaircase, (1, 2, "3", 1), TypeError, "`steps` must be a number"),
        (GeometricStaircase, (1, 2, 3, 0), ValueError, "`every` must be at least 1"),
        (GeometricStaircase, (1, 2, 3, 1, -1), ValueError, "`begin` must be at least 0"),
    ],
)
def test_bad_input(cls, arguments, error, message):
    with pytest.raises(error, match=f"{cls.__name__}: {message}"):
        cls(*arguments)
