"""Compiled models of every kind that the sweep tests train, with data for them."""

import keras
import numpy as np

import keras_physreg as kp
from tests import problems

ROWS = 20
LAYERS = keras.layers
# Arguments of a sweep that takes a few seconds.
SHORT = {
    "cv": 5,
    "repeats": 1,
    "seeds": 1,
    "epochs": 30,
    "batch_size": 8,
    "extend_to": 0,
    "verbose": 0,
}


def mlp(optimizer="adam", **compile_args):
    model = problems.physics_model()
    model.compile(optimizer, "mse", **compile_args)
    return model


def mlp_data(rows=ROWS, seed=0):
    return problems.data(rows, seed)


def sequences(rows=ROWS):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(rows, 6, 3)).astype("float32")
    return z, z[:, 0, :2] / 2


def _on_sequences(hidden):
    z = keras.Input((6, 3))
    x = LAYERS.Dense(2)(hidden(z))
    first = LAYERS.Lambda(lambda t: t[:, 0])(z)
    return z, kp.PhysicsRegularization(problems.doubling, problems.terms())(first, x)


def conv():
    hidden = keras.Sequential(
        [LAYERS.Conv1D(4, 3, activation="relu"), LAYERS.MaxPooling1D(2), LAYERS.Flatten()]
    )
    return _compiled(kp.PhysicsModel(*_on_sequences(hidden)))


def conv_2d():
    """Sequences as images; windows of the first layer are shared, those of the second are not."""
    hidden = keras.Sequential(
        [
            LAYERS.Reshape((6, 3, 1)),
            LAYERS.Conv2D(4, 2, padding="same", activation="relu"),
            LAYERS.MaxPooling2D((2, 1)),
            LAYERS.Conv2D(3, (2, 1), activation="tanh"),
            LAYERS.AveragePooling2D(2),
            LAYERS.Flatten(),
        ]
    )
    return _compiled(kp.PhysicsModel(*_on_sequences(hidden)))


def grouped_conv():
    """A convolution of which TensorFlow takes wrong gradients once it is stacked."""
    hidden = keras.Sequential([LAYERS.Conv1D(6, 3, groups=3), LAYERS.Flatten()])
    return _compiled(kp.PhysicsModel(*_on_sequences(hidden)))


def gru():
    return _compiled(kp.PhysicsModel(*_on_sequences(LAYERS.GRU(4))))


def lstm():
    return _compiled(kp.PhysicsModel(*_on_sequences(LAYERS.LSTM(4))))


def norm(dropout=0.0):
    z = keras.Input((3,))
    # A bias before it has no gradient but rounding errors, which Adam scales up to full steps.
    hidden = LAYERS.BatchNormalization()(LAYERS.Dense(4, use_bias=False)(z))
    x = LAYERS.Dense(2)(LAYERS.Dropout(dropout)(hidden) if dropout else hidden)
    layer = kp.PhysicsRegularization(problems.doubling, problems.terms())
    return _compiled(kp.PhysicsModel(z, layer(z, x)))


def multi_input():
    inputs = {"a": keras.Input((2,), name="a"), "b": keras.Input((1,), name="b")}
    x = LAYERS.Dense(2, kernel_regularizer="l2")(LAYERS.Concatenate()(list(inputs.values())))
    terms = [kp.PhysicsTerm("x", "target"), kp.PhysicsTerm("z", "input.a")]
    layer = kp.PhysicsRegularization(lambda z, x: {"x": z["a"] / 2, "z": 2 * x}, terms)
    return _compiled(kp.PhysicsModel(inputs, layer(inputs, x)))


def multi_input_data(rows=ROWS):
    z, x = problems.data(rows)
    return {"a": z[:, :2], "b": z[:, 2:]}, x


def constants():
    return _compiled(problems.physics_model(problems.Gain()))


def bounded_constant():
    return _compiled(problems.physics_model(problems.BoundedGain()))


def plain():
    z, x = problems.tensors()
    layer = kp.PhysicsRegularization(problems.residual, {"x": 0.1, "z": 0.0})
    layer = kp.PhysicsRegularization(lambda z, x: (2 * x - z[:, :2], x), {"x": 0.1, "z": 0.0})
    return _compiled(keras.Model(z, layer(z, x)))


def constrained():
    z = keras.Input((3,))
    x = LAYERS.Dense(2, kernel_constraint=keras.constraints.UnitNorm(axis=0))(z)
    layer = kp.PhysicsRegularization(problems.doubling, problems.terms())
    return _compiled(kp.PhysicsModel(z, layer(z, x)), keras.optimizers.AdamW(0.01, clipnorm=0.1))


def _compiled(model, optimizer=None):
    model.compile(optimizer or keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model
