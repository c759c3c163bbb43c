"""WeightScheduler: errors of bad input, in the constructor and in `fit`."""

import copy

import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests.callbacks.small_model import data, physics_model, plain_model

RAMP = kp.GeometricRamp(1e-4, 1.0, duration=4)


def fit(model, *callbacks):
    model.fit(*data(), batch_size=4, epochs=6, callbacks=list(callbacks), verbose=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"schedules": {}}, ValueError, "must name at least one term"),
        ({"schedules": [RAMP]}, TypeError, "must be a dict"),
        ({"schedules": RAMP}, TypeError, "must be a dict"),
        ({"schedules": {"x": 1.0}}, TypeError, "The schedule of term 'x' must be"),
        ({"schedules": {"x": "ramp"}}, TypeError, "The schedule of term 'x' must be"),
        ({"schedules": {"x": [1, -1]}}, ValueError, r"term 'x'.*values\[1\]"),
        ({"schedules": {"x": RAMP}, "unit": "batch"}, ValueError, "'epoch', 'step'.*'batch'"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        kp.WeightScheduler(**arguments)


@pytest.mark.parametrize(
    ("make", "schedules", "message"),
    [
        (physics_model, {"y": RAMP}, r"no physics term named 'y'.*\['x', 'z'\]"),
        (physics_model, {"zz": RAMP}, "Did you mean 'z'"),
        (plain_model, {"x": RAMP}, r"no physics term named 'x'.*\['z'\]"),
        (physics_model, {"x": lambda t: float("nan")}, "term 'x'.*At time 0 it returned nan"),
        (physics_model, {"x": lambda t: 2 - t}, "term 'x'.*At time 3 it returned -1"),
        (physics_model, {"x": lambda t: np.ones(2)}, r"term 'x'.*shape \(2,\)"),
    ],
)
def test_bad_input_in_fit(make, schedules, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        fit(make(), kp.WeightScheduler(schedules))


def test_a_schedule_that_returns_a_string():
    with pytest.raises(TypeError, match=r"term 'x'.*At time 0 it returned 'high'"):
        fit(physics_model(), kp.WeightScheduler({"x": lambda t: "high"}))


def test_a_model_without_physics():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="has no physics terms"):
        fit(model, kp.WeightScheduler({"x": RAMP}))


TWICE = r"Two WeightSchedulers set the weight of physics term 'z' of model '\w+' in one training"


@pytest.mark.parametrize("make", [physics_model, plain_model])
@pytest.mark.parametrize("units", [("epoch", "epoch"), ("step", "epoch")])
def test_one_term_steered_twice_is_refused_before_training(make, units):
    model = make()
    model.compile("sgd", "mse")
    before = model.get_weights()
    two = [kp.WeightScheduler({"z": RAMP}, unit=unit) for unit in units]
    with pytest.raises(ValueError, match=TWICE):
        fit(model, *two)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_one_scheduler_given_twice():
    scheduler = kp.WeightScheduler({"z": RAMP})
    with pytest.raises(ValueError, match=TWICE):
        fit(physics_model(), scheduler, scheduler)


@pytest.mark.slow
def test_schedulers_of_other_trainings_are_no_second_ones():
    """A second fit, a copy, another model, and a fit after an interrupted one."""
    model, first = physics_model(), kp.WeightScheduler({"x": RAMP, "z": RAMP})

    class Break(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise KeyboardInterrupt

    fit(model, first)
    with pytest.raises(KeyboardInterrupt):
        fit(model, first, Break())
    fit(model, kp.WeightScheduler({"z": [0.5]}))
    fit(model, first)
    fit(physics_model(), copy.deepcopy(first))
    fit(physics_model(), kp.WeightScheduler({"x": RAMP}), kp.WeightScheduler({"z": RAMP}))


def test_a_metric_of_the_name_of_a_weight():
    model = physics_model()
    metric = keras.metrics.MeanSquaredError(name="x_weight")
    model.compile("sgd", "mse", metrics=[metric])
    with pytest.raises(ValueError, match=r"already hold \['x_weight'\]: a metric or another"):
        fit(model, kp.WeightScheduler({"x": RAMP}))


def test_steps_named_in_errors_are_iterations():
    scheduler = kp.WeightScheduler({"x": lambda step: 6 - step}, unit="step")
    with pytest.raises(ValueError, match="At time 7 it returned -1"):
        fit(physics_model(), scheduler)
