"""Ramps: exact tables, and errors of bad input."""

import numpy as np
import pytest

from keras_physreg.schedules import CosineRamp, GeometricRamp, LinearRamp

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("ramp", "times", "expected"),
    [
        (
            GeometricRamp(1e-10, 1.0, duration=10),
            range(-1, 13),
            [0, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 1, 1],
        ),
        (GeometricRamp(1e-10, 1.0, 5, begin=2), range(8), [0, 0, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1]),
        (GeometricRamp(8.0, 1.0, duration=3, begin=1), range(6), [0, 8, 4, 2, 1, 1]),
        (GeometricRamp(1, 100, duration=1), [0, 0.25, 0.5, 1], [1, 10**0.5, 10, 100]),
        (GeometricRamp(2, 2, duration=3), range(5), [2, 2, 2, 2, 2]),
        (LinearRamp(0, 1, duration=4), range(-1, 7), [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]),
        (LinearRamp(1, 0, duration=4, begin=2), range(8), [0, 0, 1, 0.75, 0.5, 0.25, 0, 0]),
        (LinearRamp(1e-10, 1, duration=100), [0, 1, 50], [1e-10, 1e-2 + 0.99e-10, 0.5 + 0.5e-10]),
        (
            CosineRamp(0, 1, duration=6),
            range(-1, 8),
            [0, 0, (2 - 3**0.5) / 4, 0.25, 0.5, 0.75, (2 + 3**0.5) / 4, 1, 1],
        ),
        (CosineRamp(3, 1, duration=2, begin=1), range(5), [0, 3, 2, 1, 1]),
    ],
    ids=repr,
)
def test_table(ramp, times, expected):
    np.testing.assert_allclose(ramp(np.array(list(times))), expected, rtol=1e-12)


def test_equal_ratios():
    weights = GeometricRamp(1e-10, 1, duration=37)(np.arange(38))
    np.testing.assert_allclose(weights[1:] / weights[:-1], 1e10 ** (1 / 37), rtol=1e-9)


ALL = (GeometricRamp, LinearRamp, CosineRamp)
LINEAR = (LinearRamp, CosineRamp)
BAD = [
    *((cls, (NAN, 1, 5), ValueError, "`start` must be finite") for cls in ALL),
    *((cls, (1, INF, 5), ValueError, "`end` must be finite.*Received: end=inf") for cls in ALL),
    *((cls, (1, -1, 5), ValueError, "`end` must be") for cls in ALL),
    *((cls, (1, 1e39, 5), ValueError, "`end`.*float32") for cls in ALL),
    *((cls, (1e-40, 1, 5), ValueError, "`start`.*float32") for cls in ALL),
    *((cls, ("1", 1, 5), TypeError, "`start` must be a number.*type <class 'str'>") for cls in ALL),
    *((cls, (1, None, 5), TypeError, "`end` must be a number") for cls in ALL),
    *((cls, (True, 1, 5), TypeError, "`start` must be a number") for cls in ALL),
    *((cls, (np.ones(2), 1, 5), TypeError, "`start` must be a number") for cls in ALL),
    *((cls, (1, 2, 0), ValueError, "`duration` must be at least 1.*duration=0") for cls in ALL),
    *((cls, (1, 2, 0.5), ValueError, "`duration` must be at least 1") for cls in ALL),
    *((cls, (1, 2, -4), ValueError, "`duration` must be at least 1") for cls in ALL),
    *((cls, (1, 2, INF), ValueError, "`duration` must be finite") for cls in ALL),
    *((cls, (1, 2, 10**400), ValueError, "`duration` must be finite") for cls in ALL),
    *((cls, (1, 2, 10**5000), ValueError, "`duration` must be finite") for cls in ALL),
    *((cls, (1, 2, 1e300), ValueError, "`duration` must be at most 2") for cls in ALL),
    *((cls, (1, 2, 5, 2**60), ValueError, "`begin` must be at most 2") for cls in ALL),
    *((cls, (1, 10**400, 5), ValueError, "`end` must be finite") for cls in ALL),
    *((cls, (1, 2, True), TypeError, "`duration` must be a number") for cls in ALL),
    *((cls, (1, 2, np.True_), TypeError, "`duration` must be a number") for cls in ALL),
    *((cls, (1, 2, "5"), TypeError, "`duration` must be a number") for cls in ALL),
    *((cls, (1, 2, 5, -1), ValueError, "`begin` must be at least 0") for cls in ALL),
    *((cls, (1, 2, 5, NAN), ValueError, "`begin` must be finite") for cls in ALL),
    (GeometricRamp, (0, 1, 5), ValueError, "`start` must be above 0.*use LinearRamp"),
    (GeometricRamp, (1, 0.0, 5), ValueError, "`end` must be above 0"),
]


@pytest.mark.parametrize(("cls", "arguments", "error", "message"), BAD)
def test_bad_input(cls, arguments, error, message):
    with pytest.raises(error, match=f"{cls.__name__}: {message}"):
        cls(*arguments)


@pytest.mark.parametrize("cls", LINEAR)
def test_linear_and_cosine_ramps_may_touch_zero(cls):
    assert cls(0, 1, 2)(0) == 0.0
    assert cls(1, 0, 2)(2) == 0.0
