"""A linear problem with few noisy labels, and physics that is right, wrong or of no use."""

import keras
import numpy as np

import keras_physreg as kp

TRUTH = np.random.default_rng(7).normal(size=(6, 2)).astype("float32")


def data(rows, noise, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 6)).astype("float32")
    return z, (z @ TRUTH + noise * rng.normal(size=(rows, 2))).astype("float32")


def linear(sign=1.0, scale=1.0, terms=("law",), optimizer=None):
    """A linear model of few noisy labels; the law says what it should predict, or the opposite."""

    def law(z, x_pred):
        return {name: scale * (x_pred - sign * keras.ops.matmul(z, TRUTH)) for name in terms}

    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    model = kp.regularize(encoder, law, dict.fromkeys(terms, 0.0))
    model.compile(optimizer or keras.optimizers.Adam(0.05), "mse")
    return model
