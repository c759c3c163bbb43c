"""Arguments accepted as schedules, and checks of the weights that they return."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_physreg.schedules import GeometricRamp, Staircase
from keras_physreg.schedules.values import as_schedule, weight_at


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (GeometricRamp(1, 8, 3), [1, 2, 4, 8]),
        (lambda time: 2 * time, [0, 2, 4, 6]),
        (lambda time: np.float32(0.5), [0.5, 0.5, 0.5, 0.5]),
        (lambda time: ops.cast(time, "float32") / 2, [0, 0.5, 1, 1.5]),
        (keras.optimizers.schedules.ExponentialDecay(8.0, 1, 0.5), [8, 4, 2, 1]),
        ([3, 1], [3, 1, 1, 1]),
        ((0.0, 1e-10), [0, 1e-10, 1e-10, 1e-10]),
        (np.array([0, 0, 1]), [0, 0, 1, 1]),
    ],
)
def test_what_serves_as_a_schedule(value, expected):
    schedule = as_schedule("x", value)
    weights = [weight_at("x", schedule, time) for time in range(4)]
    assert all(type(weight) is float for weight in weights)
    assert weights == pytest.approx(expected, rel=1e-6)


def test_a_list_is_a_staircase():
    assert as_schedule("x", [1, 2]) == Staircase([1, 2], every=1)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (1.0, TypeError, "constant weight.*Received: schedule=1.0"),
        ("ramp", TypeError, "Received: schedule='ramp'"),
        (None, TypeError, "Received: schedule=None"),
        ({"x": 1}, TypeError, "Received: schedule={'x': 1}"),
        ([], ValueError, "must not be empty"),
        ([1, float("nan")], ValueError, r"values\[1\].*finite"),
        ([-1], ValueError, r"values\[0\]"),
        (np.ones((2, 2)), TypeError, r"values\[0\]"),
        (["a"], TypeError, r"values\[0\]"),
    ],
)
def test_what_does_not(value, error, message):
    with pytest.raises(error, match=f"(?s)erm 'x'.*{message}"):
        as_schedule("x", value)


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (float("nan"), ValueError, "nan"),
        (float("inf"), ValueError, "inf"),
        (1e39, ValueError, r"1e\+39"),
        (-1e-12, ValueError, "-1e-12"),
        ([0.5], ValueError, r"of shape \(1,\)"),
        (np.array([0.5]), ValueError, r"of shape \(1,\)"),
        (ops.ones((2, 2)), ValueError, r"of shape \(2, 2\)"),
        ("0.5", TypeError, "'0.5'"),
        (None, TypeError, "None"),
        (True, TypeError, "True"),
        (1j, TypeError, "1j"),
        (object(), TypeError, "object"),
    ],
)
def test_what_cannot_be_a_weight(weight, error, message):
    with pytest.raises(error, match=f"(?s)term 'x'.*At time 7 it returned.*{message}"):
        weight_at("x", lambda time: weight, 7)


def test_what_is_too_small_for_a_weight_is_off():
    assert weight_at("x", lambda time: 1e-37, 0) == 1e-37
    assert weight_at("x", lambda time: 1e-38, 0) == 0.0


def test_an_error_inside_a_schedule_stays_visible():
    with pytest.raises(ZeroDivisionError):
        weight_at("x", lambda time: 1 / time, 0)
