"""Residuals: zero where the law holds, else the size of the violation in the quantity's unit."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from keras_physreg import residuals
from keras_physreg._utils.backend import tensorflow as tf

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(3, 4, 5)).astype("float32")


TABLE = {
    "positive": (residuals.positive, [[1.0, -2.0, 0.0]], {}, [[0.0, 2.0, 0.0]]),
    "bounded": (
        residuals.bounded,
        [[-1.0, 0.5, 3.0, 0.0, 1.0]],
        {"low": 0, "high": 1},
        [[1, 0, 2, 0, 0]],
    ),
    "from below": (residuals.bounded, [[-1.0, 5.0]], {"low": 0.5}, [[1.5, 0.0]]),
    "from above": (residuals.bounded, [[-1.0, 5.0]], {"high": -3.0}, [[2.0, 8.0]]),
    "a bound per row": (
        residuals.bounded,
        [[1.0, 2.0], [1.0, 2.0]],
        {"high": np.array([[0.0], [1.5]], "float32")},
        [[1.0, 2.0], [0.0, 0.5]],
    ),
    "rising": (residuals.monotone, [[1.0, 3.0, 2.5, 2.5]], {}, [[0.0, 0.5, 0.0]]),
    "falling": (residuals.monotone, [[1.0, 3.0, 2.5]], {"increasing": False}, [[2.0, 0.0]]),
    "rising in the middle": (
        residuals.monotone,
        [[[1.0, 0.0], [0.0, 2.0]]],
        {"axis": 1},
        [[[1.0, 0.0]]],
    ),
    "conserved": (residuals.conserved, [[2.0, 2.0, 5.0]], {}, [[-1.0, -1.0, 2.0]]),
    "conserved in the middle": (
        residuals.conserved,
        [[[1.0, 5.0], [3.0, 5.0]]],
        {"axis": -2},
        [[[-1.0, 0.0], [1.0, 0.0]]],
    ),
}


@pytest.mark.parametrize("kind", TABLE)
def test_table(kind):
    function, values, options, expected = TABLE[kind]
    found = function(np.array(values, "float32"), **options)
    np.testing.assert_allclose(found, expected, atol=1e-6)


FUNCTIONS = {
    "positive": (residuals.positive, np.abs(VALUES)),
    "bounded": (lambda v: residuals.bounded(v, -1e3, 1e3), VALUES),
    "monotone": (residuals.monotone, np.sort(VALUES)),
    "falling": (lambda v: residuals.monotone(v, 1, False), -np.sort(VALUES, axis=1)),
    "conserved": (residuals.conserved, np.broadcast_to(VALUES[..., :1], VALUES.shape)),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_zero_where_the_law_holds(kind):
    function, lawful = FUNCTIONS[kind]
    np.testing.assert_allclose(function(lawful), 0.0, atol=1e-6)
    broken = lawful + np.linspace(-2e3, 2e3, 5, dtype="float32") * (
        -1.0 if kind == "monotone" else 1
    )
    if kind != "falling":
        assert np.max(np.abs(function(broken))) > 1.0


@pytest.mark.parametrize("kind", ["positive", "monotone", "falling", "conserved"])
def test_units_are_kept(kind):
    """In a unit a thousand times smaller, the residual is a thousand times larger."""
    function = FUNCTIONS[kind][0]
    np.testing.assert_allclose(
        function(1000 * VALUES), 1000 * function(VALUES), rtol=1e-4, atol=1e-3
    )


@pytest.mark.tensorflow
def test_in_a_traced_step_with_a_batch_of_any_size():
    @tf.function(input_signature=[tf.TensorSpec((None, 4, None))], jit_compile=False)
    def step(values):
        parts = residuals.positive(values), residuals.bounded(values, 0.0, 1.0)
        return *parts, residuals.monotone(values, -1), residuals.conserved(values, 1)

    shapes = [tuple(part.shape) for part in step(VALUES)]
    assert shapes == [(3, 4, 5), (3, 4, 5), (3, 4, 4), (3, 4, 5)]


BAD = {
    "integers": (residuals.positive, (np.arange(3),), {}, TypeError, ["dtype int", "(3,)"]),
    "booleans": (residuals.conserved, (VALUES > 0,), {}, TypeError, ["bool"]),
    "no bound": (residuals.bounded, (VALUES,), {}, ValueError, ["low=None, high=None"]),
    "low above high": (residuals.bounded, (VALUES, 2, 1), {}, ValueError, ["low=2, high=1"]),
    "low equal to high": (residuals.bounded, (VALUES, 1.0, 1.0), {}, ValueError, ["less than"]),
    "a string": (residuals.bounded, (VALUES, "0"), {}, TypeError, ["`low`", "a number", "'0'"]),
    "a boolean": (residuals.bounded, (VALUES, 0, True), {}, TypeError, ["`high`", "True"]),
    "NaN": (residuals.bounded, (VALUES, float("nan")), {}, ValueError, ["NaN"]),
    "arrays out of order": (
        residuals.bounded,
        (VALUES, np.zeros(5), np.zeros(5)),
        {},
        ValueError,
        ["`low` must be less than `high`"],
    ),
    "a bound of another size": (
        residuals.bounded,
        (VALUES, np.zeros(4)),
        {},
        ValueError,
        ["(4,)", "(3, 4, 5)"],
    ),
    "a bound that broadcasts the values": (
        residuals.bounded,
        (VALUES[:, 0, :1], np.zeros((3, 5))),
        {},
        ValueError,
        ["(3, 5)", "(3, 1)"],
    ),
    "the batch": (residuals.monotone, (VALUES, 0), {}, ValueError, ["the batch", "axis=0"]),
    "the batch from behind": (residuals.conserved, (VALUES, -3), {}, ValueError, ["the batch"]),
    "the only axis": (residuals.monotone, (VALUES[0, 0],), {}, ValueError, ["the batch", "(5,)"]),
    "no such axis": (
        residuals.monotone,
        (VALUES, 3),
        {},
        ValueError,
        ["an axis of `values`", "axis=3"],
    ),
    "one element": (residuals.monotone, (VALUES[..., :1],), {}, ValueError, ["two elements"]),
    "a direction that is no bool": (
        residuals.monotone,
        (VALUES, -1, "no"),
        {},
        TypeError,
        ["`increasing`", "'no'"],
    ),
    "an axis that is no integer": (residuals.conserved, (VALUES, 1.0), {}, TypeError, ["1.0"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input(kind):
    function, arguments, options, error, parts = BAD[kind]
    with pytest.raises(error) as raised:
        function(*arguments, **options)
    assert all(part in str(raised.value) for part in parts), raised.value


# The worked patterns of the README


def train(physics, terms, z, x, outputs, steps=150):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((z.shape[-1],))
    hidden = keras.layers.Dense(16, activation="tanh")(inputs)
    prediction = keras.layers.Dense(outputs)(hidden)
    model = kp.PhysicsModel(inputs, kp.PhysicsRegularization(physics, terms)(inputs, prediction))
    model.compile(keras.optimizers.Adam(0.02), "mse")
    repeated = [np.tile(part, (steps, 1)) for part in (z, x)]
    model.fit(*repeated, batch_size=len(z), shuffle=False, verbose=0)
    return model


@pytest.mark.slow
def test_tank_levels_stay_in_bounds_and_rise():
    def limits(z, tank):
        return {
            "level": residuals.bounded(tank, low=0.0, high=3.0),
            "filling": residuals.monotone(tank),
        }

    z = RNG.normal(size=(40, 4)).astype("float32")
    times = np.linspace(-0.5, 3.5, 5) + RNG.normal(size=(40, 5))
    x = times.astype("float32")
    broken = {}
    for weight in (0.0, 30.0):
        model = train(limits, {"level": weight, "filling": weight}, z, x, 5)
        tank = kp.strip_physics(model).predict(z, verbose=0)
        outside = np.maximum(-tank, 0) + np.maximum(tank - 3, 0)
        broken[weight] = np.mean(outside**2), np.mean(np.minimum(np.diff(tank), 0) ** 2)
    assert all(b < 0.2 * a for a, b in zip(broken[0.0], broken[30.0], strict=True))


@pytest.mark.tensorflow
@pytest.mark.slow
def test_monotone_in_an_input_by_its_derivative():
    def rising(z, x_pred):
        slope = tf.gradients(x_pred[:, 0], z)[0]
        return {"rising": residuals.positive(slope[:, 1])}

    z = RNG.uniform(-2, 2, size=(60, 2)).astype("float32")
    x = (np.sin(3 * z[:, 1:]) + z[:, 1:] + 0.1 * z[:, :1]).astype("float32")
    falls = {}
    for weight in (0.0, 10.0):
        model = kp.strip_physics(train(rising, {"rising": weight}, z, x, 1, steps=300))
        line = np.stack([np.zeros(200), np.linspace(-2, 2, 200)], axis=1).astype("float32")
        steps = np.diff(ops.convert_to_numpy(model(line))[:, 0])
        falls[weight] = np.minimum(steps, 0).sum()
    assert falls[0.0] < -0.3
    assert falls[10.0] > 0.2 * falls[0.0]
