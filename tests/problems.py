"""Small models and physics for the tests."""

import keras
import numpy as np
from keras import ops

import keras_physreg as kp


@keras.saving.register_keras_serializable(package="tests")
def doubling(z, x_pred):
    """Known physics: z is twice x, so that x_hat = z / 2 and Z_pred = 2 x."""
    return {"x": z[:, :2] / 2, "z": 2 * x_pred}


@keras.saving.register_keras_serializable(package="tests")
def residual(z, x_pred):
    return 2 * x_pred - z[:, :2]


@keras.saving.register_keras_serializable(package="tests")
def not_finite(z, x_pred):
    return {"x": ops.log(-ops.abs(z[:, :2]) - 1), "z": ops.sqrt(-1 - ops.abs(x_pred))}


@keras.saving.register_keras_serializable(package="tests")
class Gain(keras.layers.Layer):
    """Physics with one unknown constant: z is `gain` times x."""

    def __init__(self, initial=1.0, **kwargs):
        super().__init__(**kwargs)
        self.initial = initial
        self.gain = self.add_weight(
            name="gain", shape=(), initializer=keras.initializers.Constant(initial)
        )

    def call(self, z, x_pred):
        return {"x": z[:, :2] / self.gain, "z": self.gain * x_pred}

    def get_config(self):
        return {**super().get_config(), "initial": self.initial}


@keras.saving.register_keras_serializable(package="tests")
class BoundedGain(keras.layers.Layer):
    """The same constant, between bounds."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.gain = kp.Constant(1.0, low=0.1, high=10.0, name="gain")

    def call(self, z, x_pred):
        return {"x": z[:, :2] / self.gain(), "z": self.gain() * x_pred}


@keras.saving.register_keras_serializable(package="tests")
class NotFiniteGain(Gain):
    def call(self, z, x_pred):
        return {"x": z[:, :2] * ops.sqrt(-self.gain), "z": ops.log(-self.gain) * x_pred}


def terms(x=0.5, z=0.25):
    return [
        kp.PhysicsTerm("x", reference="target", weight=x),
        kp.PhysicsTerm("z", reference="input", components=[0, 1], weight=z),
    ]


def data(rows=20, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 3)).astype("float32")
    return z, (z[:, :2] / 2 + 0.1 * rng.normal(size=(rows, 2))).astype("float32")


def tensors(seed=0):
    """Input and prediction of a small network; the same initial weights for the same seed."""
    keras.utils.set_random_seed(seed)
    z = keras.Input((3,), name="measurements")
    hidden = keras.layers.Dense(4, activation="tanh")(z)
    return z, keras.layers.Dense(2)(hidden)


def bare_model(seed=0):
    return keras.Model(*tensors(seed))


def physics_model(physics=doubling, term_list=None, model_class=kp.PhysicsModel, seed=0):
    z, x = tensors(seed)
    layer = kp.PhysicsRegularization(physics, terms() if term_list is None else term_list)
    return model_class(z, layer(z, x))


def endpoint_model(term_list=None):
    """A plain model whose label is a second input."""
    z, x = tensors()
    label = keras.Input((2,), name="label")
    layer = kp.PhysicsRegularization(doubling, terms() if term_list is None else term_list)
    return keras.Model([z, label], layer(z, x, targets=label))


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(kp.PhysicsModel):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2)
        self.physics_layer = kp.PhysicsRegularization(doubling, terms())

    def call(self, z):
        return self.physics_layer(z, self.dense(z))


def arrays_equal(first, second):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True))


def trainable_values(model):
    return [v.numpy() for v in model.trainable_variables]
