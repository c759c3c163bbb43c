"""Dropout in replicas: masks of the distribution of Keras' own, from the same seeds."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_physreg as kp
from keras_physreg.replicas.faster.dropout import random_words
from keras_physreg.replicas.faster.layers import faster_layers

LAYERS = keras.layers
SIGMAS = 5.0
WORDS = 2**18


def words(seed, draws=0, count=WORDS):
    return random_words(tf.constant([seed, draws], "int64"), count).numpy()


def uniform(*args):
    return words(*args) / 2.0**32


def correlation(one, other):
    """The correlation, in standard deviations of that of independent numbers."""
    return np.corrcoef(one, other)[0, 1] * np.sqrt(len(one))


@pytest.mark.parametrize("seed", [0, 1, -1, 2**31, 2**40 + 1])
def test_words_are_uniform(seed):
    numbers = uniform(seed)
    assert abs(numbers.mean() - 0.5) < SIGMAS * np.sqrt(1 / 12 / WORDS)
    assert abs(numbers.var() - 1 / 12) < SIGMAS * np.sqrt(1 / 180 / WORDS)
    counts = np.histogram(numbers, 256, (0, 1))[0]
    chi2 = np.sum((counts - WORDS / 256) ** 2) / (WORDS / 256)
    assert abs(chi2 - 255) < SIGMAS * np.sqrt(2 * 255)
    bits = np.unpackbits(words(seed).view("uint8")).reshape(-1, 32)
    assert np.all(np.abs(bits.mean(axis=0) - 0.5) < SIGMAS * 0.5 / np.sqrt(WORDS))


@pytest.mark.parametrize("lag", [1, 2, 64, 4096])
def test_words_of_other_positions_are_independent(lag):
    numbers = uniform(7)
    assert abs(correlation(numbers[lag:], numbers[:-lag])) < SIGMAS


OTHERS = {
    "next draw": (7, 4),
    "draw 64 later": (7, 67),
    "next seed": (8, 3),
    "seed and draw exchanged": (3, 7),
    "high word": (7 + 2**32, 3),
    "negative seed": (-7, 3),
}


@pytest.mark.parametrize("other", OTHERS)
def test_words_of_other_draws_and_seeds_are_independent(other):
    numbers, others = uniform(7, 3), uniform(*OTHERS[other])
    assert abs(correlation(numbers, others)) < SIGMAS
    for rate in (0.1, 0.5):  # What masks are made of.
        assert abs(correlation(numbers < rate, others < rate)) < SIGMAS


def test_an_element_is_independent_over_draws():
    seeds = tf.constant([[11, draw] for draw in range(2000)], "int64")
    draws = tf.vectorized_map(lambda seed: random_words(seed, 8), seeds).numpy() / 2.0**32
    assert np.all(np.abs(draws.mean(axis=0) - 0.5) < SIGMAS * np.sqrt(1 / 12 / 2000))
    for element in draws.T:
        assert abs(correlation(element[1:], element[:-1])) < SIGMAS


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "XLA"])
def test_stacked_replicas_draw_as_each_alone(jit):
    seeds = tf.constant([[3, 0], [3, 1], [2**33 + 1, 5]], "int64")
    run = tf.function(
        lambda seeds: tf.vectorized_map(lambda seed: random_words(seed, 1000), seeds),
        jit_compile=jit,
    )
    alone = [words(int(seed), int(draws), 1000) for seed, draws in seeds.numpy()]
    np.testing.assert_array_equal(run(seeds), alone)


def layer_and_inputs(kind, dtype):
    layer, shape = {
        "dropout": (LAYERS.Dropout(0.3, seed=5), (256, 40, 6)),
        "noise shape": (LAYERS.Dropout(0.3, noise_shape=(None, 1, 6), seed=5), (256, 40, 6)),
        "1D": (LAYERS.SpatialDropout1D(0.3, seed=5), (256, 40, 6)),
        "2D": (LAYERS.SpatialDropout2D(0.3, seed=5), (256, 5, 8, 6)),
        "2D, channels first": (
            LAYERS.SpatialDropout2D(0.3, data_format="channels_first", seed=5),
            (256, 6, 5, 8),
        ),
    }[kind]
    layer.dtype_policy = dtype
    return layer, np.random.default_rng(0).uniform(1.0, 2.0, shape).astype("float32")


def dropped_as_keras(layer, z):
    with tf.GradientTape() as tape:
        inputs = tf.constant(z)
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
    gradient = tape.gradient(outputs, inputs)
    return keras.ops.convert_to_numpy(keras.ops.cast(outputs, "float32")), gradient.numpy()


def constant_axes(kept):
    return [a for a in range(1, kept.ndim) if np.array_equal(kept.min(axis=a), kept.max(axis=a))]


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", ["dropout", "noise shape", "1D", "2D", "2D, channels first"])
def test_the_layer_drops_what_keras_drops_with_other_masks(kind, dtype):
    layer, z = layer_and_inputs(kind, dtype)
    theirs, _ = dropped_as_keras(layer, z)
    state = layer.seed_generator.state.numpy()
    layer.seed_generator.state.assign([5, 0])
    with faster_layers(layer):
        ours, gradient = dropped_as_keras(layer, z)
        assert np.array_equal(layer.seed_generator.state.numpy(), state)  # Draws as often.
        layer.seed_generator.state.assign([5, 0])
        assert np.array_equal(ours, dropped_as_keras(layer, z)[0])  # The seed tells the mask.
        assert not np.array_equal(ours, dropped_as_keras(layer, z)[0])  # The next draw.
    tolerance = 1e-6 if dtype == "float32" else 1e-2
    kept = ours != 0
    np.testing.assert_allclose(ours[kept], z[kept] / 0.7, rtol=tolerance)
    np.testing.assert_allclose(gradient, kept / 0.7, rtol=tolerance)
    assert not np.array_equal(kept, theirs != 0)
    # Whatever Keras keeps or drops together is kept or dropped together.
    axes = constant_axes(kept)
    assert axes == constant_axes(theirs != 0)
    free = kept[tuple(slice(1) if a in axes else slice(None) for a in range(z.ndim))]
    assert abs(free.mean() - 0.7) < SIGMAS * np.sqrt(0.21 / free.size)


def test_nothing_is_dropped_at_rate_0_or_outside_of_training_and_all_at_1():
    z = np.ones((4, 3), "float32")
    for rate, training, expected in [(0.0, True, 1.0), (0.5, False, 1.0), (1.0, True, 0.0)]:
        layer = LAYERS.Dropout(rate)
        with faster_layers(layer):
            np.testing.assert_array_equal(layer(z, training=training), np.full((4, 3), expected))


class Own(LAYERS.Dropout):
    def call(self, inputs, training=False):
        return 2.0 * inputs


def test_layers_are_as_before_afterwards_and_subclasses_and_own_methods_untouched():
    own, plain, changed = Own(0.5), LAYERS.Dropout(0.5), LAYERS.Dropout(0.5)
    changed.call = function = lambda inputs, training=False: 3.0 * inputs
    model = keras.Sequential([keras.Input((3,)), own, keras.Sequential([plain]), changed])
    z = np.ones((2, 3), "float32")
    before = {id(layer): dict(vars(layer)) for layer in (own, plain, changed)}
    with faster_layers(model):
        assert "call" in vars(plain)
        assert "call" not in vars(own)
        with contextlib.suppress(KeyError), faster_layers(model):
            raise KeyError
        assert "call" in vars(plain)  # The outer one ends it.
        np.testing.assert_array_equal(model(z), np.full((2, 3), 6.0))
    assert "call" not in vars(plain)
    assert changed.call is function
    assert all(dict(vars(x)).keys() == before[id(x)].keys() for x in (own, plain, changed))


def dropping_model():
    """Always the same weights, which do not move: only the masks make its losses differ."""
    z = keras.Input((3,))
    x = LAYERS.Dense(1, kernel_initializer="ones")(LAYERS.Dropout(0.25)(z))
    layer = kp.PhysicsRegularization(lambda z, x: {"r": x}, {"r": 0.0})
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile(keras.optimizers.SGD(1e-12), "mse")
    return model


@pytest.mark.slow
@pytest.mark.usefixtures("without_xla")
def test_replicas_drop_with_the_mean_of_fit_each_seed_in_its_way_and_say_so():
    z = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    seeds = [*range(24), 0]
    trainer = kp.ReplicaTrainer(dropping_model(), {}, seeds)
    history = trainer.fit(z, np.zeros((32, 1), "float32"), batch_size=8, epochs=30, verbose=0)
    assert history.engine.startswith("stacked")
    assert "random layers draw other numbers" in history.engine
    assert "6 steps equal those of `fit`" in history.engine
    losses = history.history["data_loss"]
    assert len(np.unique(losses[:, :-1])) == losses[:, :-1].size  # By epochs and by seeds.
    np.testing.assert_array_equal(losses[:, 0], losses[:, -1])
    # The square of a sum of inputs, each kept with probability 3/4 and then times 4/3.
    expected = np.mean(np.sum(z, axis=1) ** 2 + np.sum(z**2, axis=1) * (0.25 / 0.75))
    errors = losses[:, :-1] - expected
    assert abs(errors.mean()) < SIGMAS * errors.std() / np.sqrt(errors.size)
