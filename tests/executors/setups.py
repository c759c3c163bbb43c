"""Models that travel, executors without processes, and what the tests ask of them."""

import concurrent.futures

import keras
import numpy as np
from keras import ops

import keras_physreg as kp
from keras_physreg.executors.futures_pool import FuturesPool
from keras_physreg.executors.trainer import DistributedTrainer
from tests.sweep.linear import TRUTH, data

ROWS = data(20, 0.3, seed=1)
HELD_OUT = data(16, 0.0, seed=2)
WEIGHTS, SEEDS = {"law": [0.0, 0.1, 1.0, 10.0] * 3}, [0] * 4 + [1] * 4 + [2] * 4


class Doubled(keras.layers.Layer):
    """A class that is not registered with Keras."""

    def call(self, inputs):
        return inputs * 2


def make(slope=1.0, layer=Doubled, loss=None):
    """A model with a local function, lambdas and a class of the user's, none of them registered."""

    def law(z, x_pred):
        return slope * (x_pred - ops.matmul(z, TRUTH))

    z = keras.Input((6,))
    hidden = layer()(keras.layers.Dense(4, activation=lambda v: ops.tanh(v) * slope)(z))
    x = keras.layers.Dense(2, activation=lambda v: v)(hidden)
    model = kp.PhysicsModel(z, kp.PhysicsRegularization(law, {"law": 0.0})(z, x))
    rate = keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9)
    square = loss or (lambda y, y_pred: ops.mean((y - y_pred) ** 2, axis=-1))
    model.compile(keras.optimizers.Adam(rate), square, metrics=["mae"])
    return model


class Here(concurrent.futures.Executor):
    """Runs a task at once, in this process; from a certain number on it does something else."""

    def __init__(self, number=None, instead=None):
        self.number, self.instead, self.tasks = number, instead, 0

    def submit(self, function, /, *arguments, **settings):
        self.tasks += 1
        future = concurrent.futures.Future()
        try:
            if self.number is not None and self.tasks >= self.number:
                self.instead()
            future.set_result(function(*arguments, **settings))
        except Exception as error:
            future.set_exception(error)
        return future


def trained_by(
    executor, workers=2, model=None, build=None, weights=WEIGHTS, seeds=SEEDS, **settings
):
    pool = FuturesPool(executor, workers)
    return DistributedTrainer(pool, build, model or make(), weights, seeds, **settings)


def fit(trainer, **settings):
    settings = {"validation_data": HELD_OUT, "batch_size": 5, "epochs": 3, "verbose": 0} | settings
    return trainer.fit(*ROWS, **settings)


def assert_same(found, expected, rtol=0.0):
    assert found.history.keys() == expected.history.keys()
    for key, value in expected.history.items():
        np.testing.assert_allclose(found.history[key], value, rtol=rtol, err_msg=key)
    np.testing.assert_array_equal(found.best_epoch, expected.best_epoch)
    np.testing.assert_array_equal(found.epochs_done, expected.epochs_done)
