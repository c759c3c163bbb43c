"""Networks of the inputs (x, t) for the tests of derivatives."""

import keras
import numpy as np
from keras import ops

DERIVATIVES = ["x", "t", "xx", "tx", "xxt", "xxxx", "ttxx"]


def dense(activation="tanh", hidden=1, outputs=2, **options):
    """A sequential network."""
    layers = [keras.layers.Dense(6, activation, **options) for _ in range(hidden)]
    return keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(outputs, **options)])


@keras.saving.register_keras_serializable(package="tests")
class OwnNetwork(keras.Model):
    """A subclassed network, differentiated as a whole."""

    def __init__(self, outputs=1, **kwargs):
        super().__init__(**kwargs)
        self.outputs_count = outputs
        self.hidden = keras.layers.Dense(6, "tanh")
        self.last = keras.layers.Dense(outputs)

    def call(self, z):
        return self.last(self.hidden(z))

    def get_config(self):
        return {**super().get_config(), "outputs": self.outputs_count}


@keras.saving.register_keras_serializable(package="tests")
class Joining(OwnNetwork):
    """A subclassed network that takes its input apart and joins the parts."""

    def call(self, z):
        return self.last(self.hidden(ops.concatenate([z[:, 1:], z[:, :1]], axis=-1)))


def use_float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")


def points(rows=7, seed=0, dtype="float64"):
    return np.random.default_rng(seed).uniform(-1, 1, size=(rows, 2)).astype(dtype)


@keras.saving.register_keras_serializable(package="tests")
def burgers(z, u):
    return {"pde": u["u_t"] + u["u"] * u["u_x"] - 0.1 * u["u_xx"]}


@keras.saving.register_keras_serializable(package="tests")
def wave(z):
    return ops.sin(3 * z[:, :1]) * ops.exp(-z[:, 1:])
