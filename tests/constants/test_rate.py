"""A constant that trains at its own rate."""

import keras
import numpy as np
import pytest

import keras_physreg as kp

OPTIMIZERS = {
    "sgd": keras.optimizers.SGD,
    "momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "adam": keras.optimizers.Adam,
    "rmsprop": keras.optimizers.RMSprop,
}
KINDS = {
    "free": {},
    "one bound": {"low": -2.0},
    "two bounds": {"low": -2.0, "high": 9.0},
    "log": {"log": True},
    "vector": {"initial": [1.0, 2.0]},
}


def make(rate=1.0, initial=1.0, **options):
    return kp.Constant(initial, rate=rate, name="k", **options)


def trained(constant, optimizer, steps=1):
    """Drives the constant towards 5."""
    from keras_physreg._utils.backend import tensorflow as tf

    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = keras.ops.sum(keras.ops.square(constant() - 5.0))
        optimizer.apply(tape.gradient(loss, [constant.raw]), [constant.raw])
    return np.asarray(constant.value)


def dimensionless(constant):
    """How far the constant is from its start, in units of the variable of a constant of rate 1."""
    return constant.rate * constant.raw.numpy()


@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_first_update_is_rate_times_as_large(optimizer, kind):
    slow, fast = make(**KINDS[kind]), make(rate=7.0, **KINDS[kind])
    for constant in (slow, fast):
        trained(constant, OPTIMIZERS[optimizer](1e-3))
    np.testing.assert_allclose(dimensionless(fast), 7 * dimensionless(slow), rtol=1e-5)


@pytest.mark.tensorflow
def test_value_and_derivative_are_those_of_the_multiple():
    from keras_physreg._utils.backend import tensorflow as tf

    plain, fast = make(low=0.5, high=3.0), make(rate=4.0, low=0.5, high=3.0)
    plain.raw.assign(0.8)
    fast.raw.assign(0.2)
    assert fast.value == pytest.approx(plain.value, rel=1e-6)
    derivatives = []
    for constant in (plain, fast):
        with tf.GradientTape() as tape:
            value = constant()
        derivatives.append(float(tape.gradient(value, constant.raw)))
    assert derivatives[1] == pytest.approx(derivatives[0], rel=1e-6)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_constant_far_from_its_start_arrives():
    """108 from 10 at the learning rate of a network, 5e-4."""
    found = {}
    for rate in (1.0, 200.0):
        constant = kp.Constant(10.0, rate=rate, name="k")
        optimizer = keras.optimizers.Adam(5e-4)
        from keras_physreg._utils.backend import tensorflow as tf

        for _ in range(300):
            with tf.GradientTape() as tape:
                loss = keras.ops.square(constant() - 108.0)
            optimizer.apply(tape.gradient(loss, [constant.raw]), [constant.raw])
        found[rate] = constant.value
    assert found[1.0] < 12
    assert found[200.0] == pytest.approx(108, rel=0.01)


@pytest.mark.tensorflow
def test_rate_one_adds_no_operation():
    from keras_physreg._utils.backend import tensorflow as tf

    counts = []
    for options in ({}, {"rate": 1.0}, {"rate": 2.0}):
        constant = kp.Constant(1.0, name="k", **options)
        graph = tf.function(constant.call, autograph=False).get_concrete_function().graph
        counts.append(len(graph.get_operations()))
    assert counts[0] == counts[1] < counts[2]


@pytest.mark.slow
def test_nearest_to_zero_is_a_value_of_the_variable():
    for rate in (1.0, 10.0):
        constant = make(rate=rate, low=-1.0)
        constant.raw.assign(constant.nearest_to_zero())
        assert constant.value == pytest.approx(0.0, abs=1e-5)


def test_rate_is_in_the_config():
    loaded = kp.Constant.from_config(make(rate=3.0).get_config())
    assert loaded.rate == 3.0


def test_weights_of_another_rate_are_refused(tmp_path):
    class Physics(keras.layers.Layer):
        def __init__(self, rate):
            super().__init__()
            self.gain = kp.Constant(1.0, rate=rate, name="gain")

        def call(self, z, x_pred):
            return self.gain() * x_pred - z

    def model(rate):
        z = keras.Input((1,))
        x = keras.layers.Dense(1)(z)
        return kp.PhysicsModel(z, kp.PhysicsRegularization(Physics(rate), {"a": 1.0})(z, x))

    first = model(1.0)
    first.layers[-1].constants[0].raw.assign(0.5)
    first.save_weights(tmp_path / "w.weights.h5")
    same, other = model(1.0), model(2.0)
    same.load_weights(tmp_path / "w.weights.h5")
    assert kp.get_constants(same) == {"gain": 1.5}
    with pytest.raises(ValueError, match="rate"):
        other.load_weights(tmp_path / "w.weights.h5")


@pytest.mark.parametrize("rate", [0, -1.0, float("nan"), float("inf"), "fast", None, True], ids=str)
def test_bad_rates(rate):
    with pytest.raises((ValueError, TypeError), match="`rate`") as caught:
        kp.Constant(1.0, rate=rate, name="k")
    assert "'k'" in str(caught.value)
    assert repr(rate) in str(caught.value)
