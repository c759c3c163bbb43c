"""Physics at weight 0 that calls the network again does not change its state."""

import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests import problems
from tests.problems import arrays_equal, data
from tests.variants import slow_but

REWRITTEN_GRAPHS = True

TERM = {"again": 0.0}


def encoder():
    keras.utils.set_random_seed(0)
    z = keras.Input((3,))
    h = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(4)(z))
    return keras.Model(z, keras.layers.Dense(2)(keras.layers.Dropout(0.5, seed=3)(h)))


class Again(keras.layers.Layer):
    """A physics layer with the network as an attribute, and its own state."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, z, x_pred):
        self.calls.assign_add(1.0)
        return x_pred - self.network(-z, training=True)


def of_function(network):
    return lambda z, x_pred: x_pred - network(-z, training=True)


def of_numbers(network):
    """Runs eagerly only: a symbolic call cannot show which variables it updates."""

    def physics(z, x_pred):
        return (x_pred - network(-z, training=True)) * float(z.numpy().shape[0])

    return physics


KINDS = {
    "function, graph": (of_function, {}),
    "function, jit": (of_function, {"jit_compile": True}),
    "function, eager": (of_function, {"run_eagerly": True}),
    "layer, graph": (Again, {}),
    "layer, eager": (Again, {"run_eagerly": True}),
}
if keras.backend.backend() == "tensorflow":  # JAX traces the step to build the model first.
    KINDS["numbers, eager"] = (of_numbers, {"run_eagerly": True})


def train(model, **compiled):
    model.compile(keras.optimizers.SGD(0.1), "mse", **compiled)
    keras.utils.set_random_seed(1)
    model.fit(*data(24), batch_size=8, epochs=2, shuffle=False, verbose=0)
    model.evaluate(*data(24), verbose=0)


@pytest.mark.parametrize("kind", slow_but({"function, graph", "layer, eager"}, KINDS))
def test_at_weight_zero_the_network_is_as_without_physics(kind):
    make, compiled = KINDS[kind]
    network, bare = encoder(), encoder()
    physics = make(network)
    model = kp.regularize(network, physics, TERM)
    train(model, **compiled)
    train(bare, **compiled)
    before = [v.numpy() for v in bare.variables]
    by_xla = "jit" in kind or (keras.backend.backend() == "jax" and "eager" not in kind)
    if by_xla:  # It rounds differently in another program.
        for one, other in zip([v.numpy() for v in network.variables], before, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    else:
        assert arrays_equal([v.numpy() for v in network.variables], before)
    if isinstance(physics, Again):
        assert float(physics.calls.numpy()) == 2 * 3 + 1


@pytest.mark.parametrize("weight", slow_but({1e-30}, [1e-30, 1.0]))
def test_above_zero_the_network_is_as_the_physics_leaves_it(weight):
    """The state is that after two calls per step, one after the other."""
    network = encoder()
    model = kp.regularize(network, of_function(network), {"again": weight})
    norm, start = network.get_layer("norm"), network.get_layer("norm").moving_mean.numpy()
    hidden = keras.Model(network.inputs, network.layers[1].output)
    z, x = data(8)
    means = [hidden.predict(sign * z, verbose=0).mean(axis=0) for sign in (1, -1)]
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(z, x, batch_size=8, verbose=0)
    expected = start
    for mean in means:
        expected = 0.99 * expected + 0.01 * mean
    np.testing.assert_allclose(norm.moving_mean.numpy(), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_a_weight_that_is_raised_later_moves_the_state_again():
    network = encoder()
    model = kp.regularize(network, of_function(network), TERM)
    train(model)
    seeds = [v for v in network.variables if "seed" in v.path]
    before = [v.numpy() for v in seeds]
    kp.set_term_weights(model, {"again": 1.0})
    model.fit(*data(8), batch_size=8, verbose=0)
    assert not arrays_equal(before, [v.numpy() for v in seeds])


@pytest.mark.tensorflow
def test_physics_that_calls_no_layer_is_not_run_on_symbols():
    calls = []

    def physics(z, x_pred):
        calls.append(1)
        return x_pred

    model = problems.physics_model(physics, {"r": 0.0})
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(*data(8), batch_size=8, epochs=3, verbose=0)
    assert len(calls) == 3
