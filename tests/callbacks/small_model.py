"""A linear model with a target term `x` and a label-free term `z`, and data for it."""

import keras
import numpy as np

import keras_physreg as kp


@keras.saving.register_keras_serializable(package="tests_callbacks")
def half_and_double(z, x_pred):
    return {"x": z / 2, "z": 2 * x_pred}


def terms(weight=0.25):
    references = {"x": "target", "z": "input"}
    return [kp.PhysicsTerm(name, at, weight=weight) for name, at in references.items()]


def physics_model(learning_rate=0.0, **compile_kwargs):
    """Learning rate 0: only the term weights change, so that the losses are known in advance."""
    z = keras.Input((2,))
    x_pred = keras.layers.Dense(2)(z)
    model = kp.PhysicsModel(z, kp.PhysicsRegularization(half_and_double, terms())(z, x_pred))
    model.compile(keras.optimizers.SGD(learning_rate), "mse", **compile_kwargs)
    return model


def plain_model():
    """A `keras.Model`, with the label-free term only, in a nested model."""
    z = keras.Input((2,))
    x_pred = keras.layers.Dense(2)(z)
    layer = kp.PhysicsRegularization(lambda z, x: 2 * x, terms()[1:])
    inner = keras.Model(z, layer(z, x_pred))
    outer = keras.Input((2,))
    model = keras.Model(outer, inner(outer))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def data(rows=20, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(2, rows, 2)).astype("float32"))


class Watch(keras.callbacks.Callback):
    """Records the weights at the end of each execution."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(kp.get_term_weights(self.model))
