"""What is checked before replicas train leaves the model as it was, whatever the physics does."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_physreg as kp
from keras_physreg.replicas import preparation
from tests import problems
from tests.sweep import models


class Counting(keras.layers.Layer):
    """A layer of the network that counts its calls in a variable, as moving averages do."""

    def build(self, shape):
        self.count = self.add_weight(name="count", initializer="zeros", trainable=False)

    def call(self, z):
        self.count.assign_add(1.0)
        return z


def failing(fails_at):
    """Physics that may fail at its n-th call with values, and the list of these calls."""
    calls = []

    def physics(z, x_pred):
        if isinstance(z, tf.Tensor) and tf.executing_eagerly():
            calls.append(z)
            if len(calls) == fails_at:
                raise ArithmeticError("the physics fails")
        return {"x": z[:, :2] / 2, "z": 2 * x_pred}

    return physics, calls


def counting_model(fails_at):
    (physics, calls), counting = failing(fails_at), Counting()
    z = keras.Input((3,))
    x = keras.layers.Dense(2)(counting(z))
    model = kp.PhysicsModel(z, kp.PhysicsRegularization(physics, problems.terms())(z, x))
    model.compile("sgd", "mse", metrics=["mae"])
    return model, calls, preparation.as_batches("x, y", models.mlp_data(), 8)


def assert_untouched(model, kept):
    assert problems.arrays_equal(kept, model.get_weights())
    assert all(np.all(variable.numpy() == 0) for variable in model.metrics_variables)


@pytest.mark.parametrize(("check", "fails_at"), [("build", 1), ("check_repeatable", 2)])
def test_an_error_of_the_physics_moves_nothing(check, fails_at):
    model, calls, data = counting_model(fails_at)
    kept = model.get_weights()
    with pytest.raises(ArithmeticError, match="the physics fails"):
        getattr(preparation, check)(model, data)
    assert len(calls) == fails_at
    assert_untouched(model, kept)


def test_the_checks_move_nothing():
    model, calls, data = counting_model(None)
    kept = model.get_weights()
    preparation.build(model, data)
    preparation.check_repeatable(model, data)
    assert len(calls) == 3
    assert_untouched(model, kept)


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (2.5, TypeError), (True, TypeError)])
def test_a_batch_size_is_a_whole_number(size, error):
    with pytest.raises(error, match=f"`batch_size` must be an integer >= 1.*batch_size={size}"):
        preparation.as_batches("x, y", models.mlp_data(), size)


def test_labels_of_another_shape_are_named():
    z, x = models.mlp_data()[:2]
    trainer = kp.ReplicaTrainer(models.mlp(), {"x": [1.0]})
    with pytest.raises(ValueError, match=r"`y` cannot be compared.*\(20,\).*\(None, 2\)"):
        trainer.fit(z, x[:, 0], verbose=0)


def test_a_model_of_several_devices_is_refused(monkeypatch):
    model = problems.physics_model()
    model.compile("sgd", "mse")
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(type(model), "distribute_strategy", strategy, raising=False)
    with pytest.raises(ValueError, match=r"for 2 devices\. Build it outside of the scope"):
        kp.ReplicaTrainer(model, {"x": [1.0]})
