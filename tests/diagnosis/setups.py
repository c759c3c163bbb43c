"""Small setups with one fault each, and healthy ones: what `diagnose` is to say of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_physreg as kp

# x = z TRUTH + noise, of three inputs and two outputs.
TRUTH = np.array([[1.0, 0.0], [0.5, 1.0], [0.0, 0.5]], "float32")
NOISE = 0.1


class Setup(NamedTuple):
    """What `diagnose` is called with."""

    model: keras.Model
    z: Any
    x: Any
    options: dict


def law(z):
    """What the physics knows: the labels, but for their noise."""
    return ops.matmul(z, TRUTH)


def data(rows, seed, noise=NOISE):
    rng = np.random.default_rng([seed, rows])
    z = rng.normal(size=(rows, 3)).astype("float32")
    return z, (z @ TRUTH + noise * rng.normal(size=(rows, 2))).astype("float32")


def off_the_truth(shape, seed):
    """Weights that are wrong by as much as those of a network half trained."""
    wrong = 0.3 * np.random.default_rng([seed, 1]).normal(size=shape)
    return (TRUTH[:, : shape[1]] + wrong).astype("float32")


def model_of(physics, terms, seed, outputs=2, before=None, **options):
    """A linear network, with the physics on it."""
    keras.utils.set_random_seed(seed)
    z = keras.Input((3,))
    dense = keras.layers.Dense(outputs, **options)
    x = dense(z)
    dense.set_weights([off_the_truth((3, outputs), seed), np.full(outputs, 0.1, "float32")])
    given = x if before is None else before(x)
    passed = kp.PhysicsRegularization(physics, terms)(z, given)
    model = kp.PhysicsModel(z, passed if before is None else [x, passed])
    model.compile("sgd", "mse" if before is None else ["mse", None])
    return model


def connected(physics):
    """An estimate of the labels from the inputs, with a gradient that reaches the prediction."""
    return lambda z, p: {"t": physics(z) + 0.1 * (p - ops.stop_gradient(p))}


def residual(physics, weight=0.5, **options):
    def build(rows, seed):
        z, x = data(rows, seed)
        return Setup(model_of(physics, {"t": weight}, seed, **options), z, x, {})

    return build


def target(physics, labels=lambda x, rng: x, noise=NOISE, weight=0.5):
    """A term `x_hat` beside the label; `labels` makes the user's labels of the true ones."""

    def build(rows, seed):
        z, x = data(rows, seed, noise)
        x = labels(x, np.random.default_rng([seed, 2])).astype("float32")
        terms = [kp.PhysicsTerm("t", "target", weight=weight)]
        model = model_of(
            lambda z, p: {"t": physics(z) + 0.1 * (p - ops.stop_gradient(p))}, terms, seed
        )
        return Setup(model, z, x, {})

    return build


def changed(physics, labels=lambda x: x, inputs=lambda z: z, weight=0.5):
    """A residual, with the user's labels and inputs made of the true ones."""

    def build(rows, seed):
        z, x = data(rows, seed)
        z, x = np.array(inputs(z), "float32"), np.array(labels(x), "float32")
        return Setup(model_of(physics, {"t": weight}, seed), z, x, {})

    return build


# Faults: the gradient does not arrive.


def captured(rows, seed):
    z, x = data(rows, seed)
    outside = np.random.default_rng(0).normal(size=(rows, 2)).astype("float32")
    model = model_of(lambda z, p: outside - law(z), {"t": 0.5}, seed)
    return Setup(model, z, x, {"batch_size": rows})


def through_numpy(z, p):
    doubled = tf.numpy_function(lambda a: 2 * a, [p], tf.float32)
    return tf.reshape(doubled, tf.shape(p)) - 2 * law(z)


def frozen(rows, seed):
    setup = residual(lambda z, p: p - law(z))(rows, seed)
    other = keras.layers.Dense(2, name="other")
    out = setup.model.outputs[0]
    setup.model.layers[1].trainable = False
    model = kp.PhysicsModel(setup.model.inputs, [out, other(setup.model.inputs[0])])
    model.compile("sgd", ["mse", "mse"])
    return Setup(model, setup.z, [setup.x, setup.x], {})


def two_heads(physics):
    def build(rows, seed):
        z, x = data(rows, seed)
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((3,))
        heads = {name: keras.layers.Dense(2, name=name)(inputs) for name in "ab"}
        outputs = kp.PhysicsRegularization(physics, {"t": 0.5})(inputs, heads)
        model = kp.PhysicsModel(inputs, outputs)
        for name in "ab":
            wrong = [off_the_truth((3, 2), seed), np.full(2, 0.1, "float32")]
            model.get_layer(name).set_weights(wrong)
        model.compile("sgd", {"a": "mse", "b": "mse"})
        return Setup(model, z, {"a": x, "b": x}, {})

    return build


# Faults: a few rows, units, columns, signs.


def one_wild_label(rows, seed):
    z, x = data(rows, seed)
    x[rows // 3, 0] = 1e9
    return Setup(model_of(lambda z, p: p - law(z), {"t": 0.5}, seed), z, x, {})


def pump(rows, seed):
    """Inputs: flow, heat and noise; the temperature rise is heat over flow. At times it is off."""
    rng = np.random.default_rng([seed, rows])
    flow = rng.uniform(0.5, 2.0, rows)
    heat = rng.uniform(1.0, 3.0, rows)
    off = rng.permutation(rows)[: max(1, round(0.03 * rows))]
    rise = heat / flow + 0.02 * rng.normal(size=rows)
    flow[off], rise[off] = 0.0, 0.0
    z = np.stack([flow, heat, rng.normal(size=rows)], 1).astype("float32")
    return z, np.stack([rise, heat], 1).astype("float32")


def pump_off(rows, seed):
    def rise(z, p):
        return p[:, 0] - p[:, 1] / (z[:, 0] + 1e-6)

    return Setup(model_of(rise, {"t": 0.5}, seed), *pump(rows, seed), {})


def pump_on(rows, seed):
    def rise(z, p):
        on = z[:, 0] > 0.1
        return (p[:, 0] - p[:, 1] / ops.where(on, z[:, 0], 1.0))[on]

    z, x = pump(rows, seed)
    return Setup(model_of(rise, {"t": 0.02}, seed), z, x, {})


def shuffled(x, rng):
    return x[rng.permutation(len(x))]


def nan_rows(rows, seed):
    z, x = data(rows, seed)
    z[rows // 2, 0] = np.nan
    return Setup(model_of(lambda z, p: p - law(z), {"t": 0.5}, seed), z, x, {})


def contradicting(rows, seed):
    z, x = data(rows, seed)
    model = model_of(
        lambda z, p: {"a": p - law(z) - 3, "b": p - law(z) + 3}, {"a": 0.5, "b": 0.5}, seed
    )
    return Setup(model, z, x, {})


def memorised(rows, seed):
    """The network is right on the given rows, where the third input is 0, and there alone."""
    z, x = data(rows, seed)
    z[:, 2] = 0
    x = (z @ TRUTH + NOISE * np.random.default_rng(seed).normal(size=(rows, 2))).astype("float32")
    model = model_of(lambda z, p: p - law(z), {"t": 0.5}, seed)
    model.layers[1].set_weights(
        [np.vstack([TRUTH[:2], [[3, 3]]]).astype("float32"), np.full(2, 0.09, "float32")]
    )
    return Setup(model, z, x, {"validation_data": data(200, seed)})


def worse_teacher(rows, seed):
    """Physics that misses the labels by more than the network does, and has drawn it to itself."""
    z, x = data(rows, seed)
    terms = [kp.PhysicsTerm("t", "prediction", weight=20.0)]
    model = model_of(lambda z, p: {"t": 1.4 * law(z)}, terms, seed)
    model.layers[1].set_weights([1.2 * TRUTH, np.zeros(2, "float32")])
    return Setup(model, z, x, {"validation_data": data(200, seed)})


class Constants(keras.layers.Layer):
    """Physics with constants, by a function of input, prediction and them."""

    def __init__(self, function, **settings):
        super().__init__()
        self.function = function
        self.values = [kp.Constant(name=name, **given) for name, given in settings.items()]

    def call(self, z, p):
        return self.function(z, p, *(constant() for constant in self.values))


def with_constants(function, move=None, **settings):
    def build(rows, seed):
        z, x = data(rows, seed)
        layer = Constants(function, **settings)
        model = model_of(layer, {"t": 0.5}, seed)
        for constant, raw in zip(layer.values, move or [], strict=False):
            constant.raw.assign(raw)
        return Setup(model, z, x, {})

    return build


def moved_state(rows, seed):
    z, x = data(rows, seed)
    keras.utils.set_random_seed(seed)
    norm = keras.layers.BatchNormalization(name="norm")
    inputs = keras.Input((3,))
    dense = keras.layers.Dense(2)
    prediction = dense(norm(inputs))
    dense.set_weights([off_the_truth((3, 2), seed), np.zeros(2, "float32")])

    def physics(z, p):
        return p - law(norm(z, training=True))

    model = kp.PhysicsModel(
        inputs, kp.PhysicsRegularization(physics, {"t": 0.5})(inputs, prediction)
    )
    model.compile("sgd", "mse")
    return Setup(model, z, x, {})


def weightless(rows, seed):
    setup = residual(lambda z, p: p - law(z))(rows, seed)
    return setup._replace(options={"sample_weight": np.zeros(rows)})


def column_against_rows(rows, seed):
    z, x = data(rows, seed)
    model = model_of(lambda z, p: ops.mean(p - z[:, 0], -1), {"t": 0.5}, seed, outputs=1)
    return Setup(model, z, x[:, :1], {})


# Name -> (builder, code of the finding, rows from which it must be found).
FAULTS: dict[str, tuple[Callable, str, int]] = {
    "captured prediction": (captured, "disconnected", 16),
    "stop_gradient": (residual(lambda z, p: ops.stop_gradient(p) - law(z)), "disconnected", 16),
    "integer cast": (
        residual(lambda z, p: ops.cast(ops.cast(p, "int32"), "float32") - law(z)),
        "disconnected",
        16,
    ),
    "NumPy inside": (residual(through_numpy), "disconnected", 16),
    "detached copy": (
        residual(lambda z, p: p - law(z), before=ops.stop_gradient),
        "disconnected",
        16,
    ),
    "frozen network": (frozen, "disconnected", 16),
    "saturated clip": (
        residual(lambda z, p: ops.clip(p, 10.0, 20.0) - law(z)),
        "zero-gradient",
        16,
    ),
    "half detached": (
        two_heads(lambda z, p: p["a"] + ops.stop_gradient(p["b"]) - 2 * law(z)),
        "partly-connected",
        16,
    ),
    "column against rows": (column_against_rows, "mixes-rows", 16),
    "kW for W, x_hat": (target(lambda z: 1000 * law(z)), "rescaled", 16),
    "kW for W, residual": (changed(lambda z, p: p - 1000 * law(z), weight=1e-6), "rescaled", 64),
    "kW for W, labels": (
        changed(lambda z, p: p - law(z), labels=lambda x: 1000 * x, weight=0.5),
        "rescaled",
        64,
    ),
    "swapped sign, x_hat": (target(lambda z: -law(z)), "rescaled", 16),
    "swapped sign, residual": (residual(lambda z, p: p + law(z)), "rescaled", 64),
    "degrees for kelvin": (
        target(lambda z: 8 * law(z) + 20, labels=lambda x, rng: 8 * x + 293.15),
        "rescaled",
        16,
    ),
    "Fahrenheit": (
        target(lambda z: 1.8 * (8 * law(z) + 20) + 32, labels=lambda x, rng: 8 * x + 20),
        "rescaled",
        16,
    ),
    "forgotten unscaling": (
        target(lambda z: 8 * law(z) + 20, labels=lambda x, rng: x),
        "rescaled",
        16,
    ),
    "wrong column, x_hat": (
        target(lambda z: ops.roll(z, 7, axis=0)[:, :2]),
        "unrelated",
        64,
    ),
    "other order of rows, x_hat": (target(law, labels=shuffled), "unrelated", 64),
    "other order of rows, residual": (
        lambda rows, seed: changed(
            lambda z, p: p - law(z),
            labels=lambda x: shuffled(x, np.random.default_rng([seed, 3])),
        )(rows, seed),
        "unrelated",
        64,
    ),
    "one label of 1e9": (one_wild_label, "few-rows", 64),
    "division by nearly 0": (pump_off, "few-rows", 64),
    "biased sensor": (
        changed(lambda z, p: p - law(z), labels=lambda x: x + np.array([0.15, 0.0])),
        "biased",
        64,
    ),
    "biased x_hat": (target(lambda z: law(z) + 0.1), "biased", 16),
    "inequality broken by labels": (
        residual(lambda z, p: ops.relu(p[:, :1] - 0.5)),
        "violated",
        64,
    ),
    "NaN in the inputs": (nan_rows, "non-finite", 16),
    "log of what may be negative": (
        residual(lambda z, p: ops.log(p[:, 0]) - z[:, 0]),
        "non-finite",
        16,
    ),
    "root at 0": (residual(lambda z, p: ops.sqrt(ops.abs(0 * p)) + p - law(z)), "non-finite", 16),
    "contradicting terms": (contradicting, "conflict", 16),
    "weight too large": (residual(lambda z, p: p - law(z), weight=1e4), "dominates", 16),
    "weight too small": (residual(lambda z, p: p - law(z), weight=1e-7), "negligible", 16),
    "memorised rows": (memorised, "memorised", 16),
    "worse than the network": (worse_teacher, "below-floor", 16),
    "constant without effect": (
        with_constants(lambda z, p, a: p - law(z) + 0 * a, a={"initial": 1.0}),
        "unidentified",
        16,
    ),
    "constant at its bound": (
        with_constants(
            lambda z, p, a: a * p - law(z),
            move=[-20.0],
            a={"initial": 1.0, "low": 0.5, "high": 2.0},
        ),
        "near-bound",
        16,
    ),
    "collinear constants": (
        with_constants(
            lambda z, p, a, b: a * b * p - law(z), a={"initial": 1.0}, b={"initial": 1.0}
        ),
        "collinear",
        16,
    ),
    "trivial solution": (
        with_constants(lambda z, p, a: a * (p - law(z)), a={"initial": 1.0}),
        "trivial-solution",
        16,
    ),
    "moved batch statistics": (moved_state, "moves-network-state", 16),
    "weights of 0": (weightless, "weightless", 16),
}


# Healthy setups.


def input_term(rows, seed):
    z, x = data(rows, seed)
    inverse = np.linalg.pinv(TRUTH).astype("float32")
    z = (x @ inverse + NOISE * np.random.default_rng(seed).normal(size=z.shape)).astype("float32")
    terms = [kp.PhysicsTerm("t", "input", weight=0.5)]
    return Setup(model_of(lambda z, p: {"t": ops.matmul(p, inverse)}, terms, seed), z, x, {})


def heavy_tails(rows, seed):
    z, x = data(rows, seed)
    x = z @ TRUTH + NOISE * np.random.default_rng([seed, 4]).standard_t(3, size=x.shape)
    return Setup(model_of(lambda z, p: p - law(z), {"t": 0.5}, seed), z, x.astype("float32"), {})


def mass_balance(rows, seed):
    """The three outputs add up to the sum of two inputs; the labels do so but for noise."""
    z, _ = data(rows, seed)
    rng = np.random.default_rng([seed, 5])
    split = rng.normal(size=(rows, 2))
    x = np.stack([split[:, 0], split[:, 1], z[:, 0] + z[:, 1] - split.sum(1)], 1)
    x = (x + 0.02 * rng.normal(size=x.shape)).astype("float32")
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((3,))
    prediction = keras.layers.Dense(3)(inputs)
    layer = kp.PhysicsRegularization(lambda z, p: ops.sum(p, -1) - z[:, 0] - z[:, 1], {"t": 0.3})
    model = kp.PhysicsModel(inputs, layer(inputs, prediction))
    model.layers[1].set_weights(
        [0.4 * rng.normal(size=(3, 3)).astype("float32"), np.full(3, 0.1, "float32")]
    )
    model.compile("sgd", "mse")
    return Setup(model, z, x, {})


def labels_alone(rows, seed):
    """Two outputs that are equal but for noise, whatever the inputs."""
    z, x = data(rows, seed)
    x[:, 1] = x[:, 0] + 0.05 * np.random.default_rng([seed, 6]).normal(size=rows)
    return Setup(model_of(lambda z, p: p[:, 0] - p[:, 1], {"t": 0.3}, seed), z, x, {})


def closure(rows, seed):
    """A product of output and input, as in GHI = DNI cos z + DHI."""
    rng = np.random.default_rng([seed, rows])
    x = rng.uniform([0.0, 0.05], [1.0, 0.4], (rows, 2))
    cos = rng.uniform(0.2, 1.0, rows)
    ghi = x[:, 0] * cos + x[:, 1] + 0.02 * rng.normal(size=rows)
    z = np.stack([ghi, cos, rng.normal(size=rows)], 1).astype("float32")
    physics = lambda z, p: p[:, 0] * z[:, 1] + p[:, 1] - z[:, 0]  # noqa: E731
    return Setup(model_of(physics, {"t": 0.3}, seed), z, x.astype("float32"), {})


def derivative(rows, seed):
    """The slope of the prediction by the input; the last bias has none."""

    def slope(z, p):
        return tf.gradients(p[:, :1], z)[0][:, :2] - TRUTH[:2, 0]

    return residual(slope, weight=0.1)(rows, seed)


def better_teacher(rows, seed):
    """Physics that misses the labels by less than the network does on unseen rows."""
    z, x = data(rows, seed)
    terms = [kp.PhysicsTerm("t", "target", weight=0.5)]
    options = {"validation_data": data(200, seed)}
    return Setup(model_of(connected(law), terms, seed), z, x, options)


HEALTHY: dict[str, Callable] = {
    "a residual": residual(lambda z, p: p - law(z)),
    "an estimate beside the label": target(law),
    "an estimate of the input": input_term,
    "labels with noise of one sd": target(law, noise=1.1),
    "a residual with noise of one sd": lambda rows, seed: Setup(
        model_of(lambda z, p: p - law(z), {"t": 0.5}, seed), *data(rows, seed, noise=1.1), {}
    ),
    "heavy tails": heavy_tails,
    "an inequality that holds": residual(lambda z, p: ops.relu(p - 5.0)),
    "an inequality broken by a few": residual(lambda z, p: ops.relu(p[:, :1] - 2.4)),
    "a norm": residual(lambda z, p: ops.norm(p - law(z), axis=-1)),
    "a balance of three outputs": mass_balance,
    "a residual of labels alone": labels_alone,
    "a product with an input": closure,
    "a derivative": derivative,
    "one of two outputs": two_heads(lambda z, p: p["a"] - law(z)),
    "a constant that is learned": with_constants(
        lambda z, p, a: a * p - law(z), a={"initial": 1.05, "low": 0.5, "high": 2.0}
    ),
    "the pump, where it is on": pump_on,
    "better than the network": better_teacher,
}
