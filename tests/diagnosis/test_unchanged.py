"""A diagnosis leaves no trace in weights, optimizer, metrics, random state or later training."""

import random

import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests.diagnosis.linear import data


@keras.saving.register_keras_serializable(package="test_unchanged")
class NoisyPhysics(keras.layers.Layer):
    """Physics with a constant, a moving average and noise of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras.layers.BatchNormalization()
        self.noise = keras.layers.GaussianNoise(0.1)

    def build(self, *shapes):
        self.factor = self.add_weight(name="factor", shape=(), initializer="ones")

    def call(self, z, x, training=None):
        return self.noise(
            self.norm(x - self.factor * z[:, :2], training=training), training=training
        )


def eventful_model(cls):
    """A model with everything that a careless measurement would move."""
    keras.utils.set_random_seed(3)
    z = keras.Input((3,))
    h = keras.layers.Dense(8, "relu", kernel_regularizer="l2", activity_regularizer="l1")(z)
    h = keras.layers.BatchNormalization()(h)
    h = keras.layers.Dropout(0.5)(h)
    x = keras.layers.Dense(2)(h)
    layer = kp.PhysicsRegularization(NoisyPhysics(), {"balance": 0.2})
    model = cls(z, [layer(z, x), keras.layers.Dense(1, name="other")(h)])
    model.compile("adam", ["mse", "mae"], metrics=[["mae"], ["mse"]])
    return model


def state_of(model):
    variables = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    return [(id(v), v.numpy().tobytes()) for v in variables]


@pytest.mark.parametrize(
    ("cls", "fitted", "training"),
    [
        pytest.param(kp.PhysicsModel, False, False, marks=pytest.mark.slow),
        (kp.PhysicsModel, True, True),
        pytest.param(keras.Model, True, False, marks=pytest.mark.slow),
    ],
)
def test_bit_for_bit(cls, fitted, training):
    z, x = data()
    labels = [x, x[:, :1]]

    def run(diagnosed):
        keras.backend.clear_session()
        model = eventful_model(cls)
        if fitted:
            model.fit(z, labels, epochs=2, verbose=0)
        losses, before = model.losses, state_of(model)
        if diagnosed:
            kp.diagnose(model, z, labels, validation_data=(z, labels), training=training)
            after = state_of(model)
            assert [item for item in after if item in before] == before
            # Keras makes its per-output loss metrics on first use; they are made, and still 0.
            assert not any(value.strip(b"\0") for _, value in after if (_, value) not in before)
            left = model.losses
            added = [i for i, loss in enumerate(losses) if not hasattr(loss, "numpy")]
            assert len(left) == len(losses)
            assert all(left[i] is losses[i] for i in added)
        later = model.fit(z, labels, epochs=2, verbose=0)
        draws = random.random(), np.random.rand(), keras.random.uniform((2,)).numpy().tolist()
        new_layer = keras.layers.Dense(1)
        state = [value for _, value in state_of(model)]
        return later.history, state, draws, new_layer.name, keras.Model().name

    assert run(diagnosed=True) == run(diagnosed=False)
