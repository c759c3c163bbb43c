"""New weights by seed: those of the layers' own initializers, whatever they are."""

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.replicas.fresh_weights import FreshWeights
from tests.sweep import models

LAYERS = keras.layers


@keras.saving.register_keras_serializable("tests.fresh_weights")
class Drawn(keras.initializers.Initializer):
    """Draws from Keras' own generator, not from a seed."""

    def __call__(self, shape, dtype=None):
        return keras.random.normal(shape)


class Scaled(LAYERS.Layer):
    """Changes its weights after they were made."""

    def build(self, shape):
        self.kernel = self.add_weight((shape[-1], 2), "glorot_uniform", name="kernel")
        self.kernel.assign(100 * self.kernel)

    def call(self, inputs):
        return inputs @ self.kernel


def sequential(*layers):
    return keras.Sequential([keras.Input((3,)), *layers])


def of(model, seed, layer=-1):
    """Returns what is drawn for the weights of a layer."""
    drawn = FreshWeights(model).draw(seed)
    return [drawn[id(variable)] for variable in model.layers[layer].weights]


def test_weights_are_those_of_the_initializers():
    init = keras.initializers
    layer = LAYERS.Dense(
        4000, kernel_initializer=init.RandomUniform(2.0, 3.0), bias_initializer="ones"
    )
    model = sequential(layer)
    kernel, bias = of(model, 1)
    assert kernel.shape == (3, 4000)
    assert kernel.min() >= 2.0
    assert kernel.max() <= 3.0
    assert kernel.mean() == pytest.approx(2.5, abs=0.02)
    np.testing.assert_array_equal(bias, np.ones(4000))
    np.testing.assert_array_equal(of(model, 1)[0], kernel)
    assert not np.isin(of(model, 2)[0], kernel).all()


def test_equal_layers_differ():
    model = sequential(LAYERS.Dense(3), LAYERS.Dense(3))
    assert not np.allclose(of(model, 1, 0)[0], of(model, 1, 1)[0])


def test_a_seed_of_the_initializer_does_not_make_replicas_alike():
    model = sequential(LAYERS.Dense(3, kernel_initializer=keras.initializers.HeNormal(seed=7)))
    assert not np.allclose(of(model, 1)[0], of(model, 2)[0])


def test_nested_models_are_drawn():
    inner = keras.Sequential([keras.Input((3,)), LAYERS.Dense(2)])
    model = sequential(inner)
    assert not np.allclose(of(model, 1)[0], of(model, 2)[0])


@pytest.mark.parametrize(
    "build",
    [
        models.lstm,  # its bias is made by a function
        lambda: sequential(LAYERS.Dense(2, kernel_initializer=Drawn())),
        lambda: sequential(Scaled()),
    ],
    ids=["function", "unseeded", "changed afterwards"],
)
def test_what_no_initializer_tells_is_copied(build):
    model = build()
    fresh = FreshWeights(model)
    one, other = fresh.draw(1), fresh.draw(2)
    kernel = id(model.trainable_variables[0])
    assert set(one) == {id(variable) for variable in model.trainable_variables}
    assert not np.allclose(one[kernel], other[kernel])


def test_weights_changed_by_build_stay_so():
    assert np.abs(of(sequential(Scaled()), 1)[0]).max() > 10.0


@pytest.mark.tensorflow
def test_seeds_of_dropout_are_new_for_each_seed(quick):
    """Two layers and three replicas have masks of their own; equal seeds have equal masks."""
    model = sequential(LAYERS.Dropout(0.5), LAYERS.Dense(2), LAYERS.Dropout(0.5))
    model = kp.regularize(model, lambda z, x: x - z[:, :2], {"t": 0.0})
    model.compile(keras.optimizers.SGD(0.0), "mse")
    trainer = kp.ReplicaTrainer(model, {"t": [0.0] * 3}, seeds=[1, 2, 1])
    z = np.ones((8, 3), "float32")
    losses = trainer.fit(z, z[:, :2], epochs=1, shuffle=False, verbose=0).history["data_loss"][0]
    assert losses[0] == losses[2]
    assert losses[0] != losses[1]
    states = [
        value
        for variable, value in zip(
            trainer._job.step.variables.weights, trainer._outcome.initial, strict=True
        )
        if "seed" in variable.path
    ]
    assert len(states) == 2
    seeds = np.array(states)[:, :, 0]
    assert (seeds[:, 0] == seeds[:, 2]).all()
    assert len({*seeds[:, :2].ravel().tolist()}) == 4
    assert not np.array(states)[:, :, 1].any()
