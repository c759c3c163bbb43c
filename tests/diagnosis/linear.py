"""A linear model whose losses, gradients and floors are known in closed form."""

import keras
import numpy as np

import keras_physreg as kp

ROWS = 70


def linear_model(physics, terms, cls=kp.PhysicsModel, loss="mse", outputs=2, **layer_kwargs):
    """`x = z W + b` from three inputs, with the physics on it."""
    keras.utils.set_random_seed(1)
    z = keras.Input((3,))
    x = keras.layers.Dense(outputs, bias_initializer="random_normal", **layer_kwargs)(z)
    model = cls(z, kp.PhysicsRegularization(physics, terms)(z, x))
    model.compile("sgd", loss)
    return model


def unbuilt_model(cls=kp.PhysicsModel, physics=lambda z, x: x - 2 * z[:, :2], loss="mse"):
    """A subclassed model that the first step of `fit` builds."""

    class Net(cls):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)
            self.physics = kp.PhysicsRegularization(physics, {"t": 0.3})

        def call(self, z):
            return self.physics(z, self.dense(z))

    keras.utils.set_random_seed(1)
    model = Net()
    model.compile("adam", loss)
    return model


def data(rows=ROWS, outputs=2, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 3)).astype("float32")
    return z, rng.normal(size=(rows, outputs)).astype("float32")


def closed_form(model, z, target, weights=None):
    """Loss and gradient of `mean((z W + b - target)^2)`, in float64."""
    kernel, bias = (v.numpy().astype("float64") for v in model.trainable_variables)
    residual = z @ kernel + bias - target
    rows = np.ones(len(z)) if weights is None else weights
    loss = np.mean(rows[:, None] * residual**2)
    scaled = 2 * rows[:, None] * residual / residual.size
    return loss, np.concatenate([(z.T @ scaled).ravel(), scaled.sum(axis=0)])
