"""Setups that no rule of `diagnose` was tuned on: what it is to say of them was fixed beforehand.

Their networks are small and nonlinear: random tanh features, and a last layer that fits the labels
and is then put off by a fifth. Where a rule was mended for a setup, the setup is named in `MENDED`:
its later hits prove nothing of the rules, and a second round of setups, written before the mended
rules were run on them, takes its place.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

import keras_physreg as kp
from tests.diagnosis.setups import Setup

HIDDEN = 24
OFF = 0.2  # How far the last layer is from its fit, relative.


def rng_of(rows, seed, number):
    return np.random.default_rng([rows, seed, number])


def network(z, x, seed, activation=None):
    """Input and prediction of a network that knows about as much as one that is half trained."""
    keras.utils.set_random_seed(seed)
    z, x = np.asarray(z, "float32"), np.asarray(x, "float32")
    centre, spread = z.mean(axis=0), z.std(axis=0) + 1e-6
    inputs = keras.Input((z.shape[1],))
    scaled = keras.layers.Rescaling(1 / spread, -centre / spread)(inputs)
    first = keras.layers.Dense(HIDDEN, activation="tanh")
    hidden, last = first(scaled), keras.layers.Dense(x.shape[1], activation=activation)
    prediction = last(hidden)
    features = np.tanh((z - centre) / spread @ first.get_weights()[0])
    middle = x.mean(axis=0)
    square = features.T @ features + 0.01 * len(z) * np.eye(HIDDEN)
    kernel = np.linalg.solve(square, features.T @ (x - middle))
    kernel *= 1 + OFF * np.random.default_rng(seed).normal(size=kernel.shape)
    last.set_weights([kernel.astype("float32"), middle.astype("float32")])
    return inputs, prediction


def setup(z, x, physics, terms, seed, **options):
    inputs, prediction = network(z, x, seed, options.pop("activation", None))
    model = kp.PhysicsModel(inputs, kp.PhysicsRegularization(physics, terms)(inputs, prediction))
    model.compile("adam", "mse")
    return Setup(model, np.asarray(z, "float32"), np.asarray(x, "float32"), options)


def beside_label(estimate, weight=0.5):
    """Physics and term of an estimate beside the label, which the prediction moves a little."""
    terms = [kp.PhysicsTerm("t", "target", weight=weight)]
    return lambda z, p: {"t": estimate(z) + 0.05 * (p - ops.stop_gradient(p))}, terms


# Healthy.


def module_temperature(rows, seed):
    """Temperature in kelvin of a PV module, from air, sun and wind."""
    rng = rng_of(rows, seed, 1)
    z = np.stack([rng.normal(288, 8, rows), rng.uniform(0, 900, rows), rng.uniform(0, 6, rows)], 1)
    x = (z[:, 0] + 0.03 * z[:, 1] - 0.8 * z[:, 2])[:, None] + 0.7 * rng.normal(size=(rows, 1))
    law = lambda z: (z[:, 0] + 0.03 * z[:, 1] - 0.8 * z[:, 2])[:, None]  # noqa: E731
    return setup(z, x, *beside_label(law), seed)


def pressure_drop(rows, seed):
    """Pressure drop over three decades of flow, with a relative error of 15 %; labels are logs."""
    rng = rng_of(rows, seed, 2)
    flow, width = 10 ** rng.uniform(0, 3, rows), rng.uniform(0.8, 1.25, rows)
    drop = 0.02 * flow**1.8 / width**5 * np.exp(0.15 * rng.normal(size=rows))
    z = np.stack([np.log10(flow), width], 1)

    def relative(z, p):
        known = 0.02 * 10 ** (1.8 * z[:, 0]) / z[:, 1] ** 5
        return (10.0 ** p[:, 0] - known) / known

    return setup(z, np.log10(drop)[:, None], relative, {"t": 0.3}, seed)


def day_and_night(rows, seed):
    """Power of a plant: exactly 0 in half of the rows, for physics and labels alike."""
    rng = rng_of(rows, seed, 3)
    sun = np.maximum(rng.uniform(-1, 1, rows), 0)
    z = np.stack([sun, rng.uniform(0.8, 1.2, rows)], 1)
    x = (3 * z[:, 0] * z[:, 1] * (1 + 0.06 * rng.normal(size=rows)))[:, None]
    return setup(z, x, *beside_label(lambda z: (3 * z[:, 0] * z[:, 1])[:, None]), seed)


def tank(rows, seed):
    """Levels of a tank over 12 steps: each step adds what flows in; the sensor has noise."""
    rng = rng_of(rows, seed, 4)
    flows = rng.normal(size=(rows, 12, 1)).astype("float32")
    x = (0.5 * np.cumsum(flows, axis=1) + 0.05 * rng.normal(size=flows.shape)).astype("float32")
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((12, 1))
    levels = keras.layers.Dense(1)(keras.layers.GRU(8, return_sequences=True)(inputs))

    def steps(z, p):
        return p[:, 1:] - p[:, :-1] - 0.5 * z[:, 1:]

    model = kp.PhysicsModel(inputs, kp.PhysicsRegularization(steps, {"t": 0.3})(inputs, levels))
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    model.fit(flows, x, epochs=20, batch_size=max(rows // 4, 4), verbose=0)
    return Setup(model, flows, x, {})


def kinetic(rows, seed):
    """A dict of outputs, speed and energy, that an equation ties together."""
    rng = rng_of(rows, seed, 5)
    mass = rng.uniform(1, 2, rows)
    speed = 1 + rng.uniform(0, 2, rows)
    z = np.stack([mass, speed + 0.1 * rng.normal(size=rows)], 1).astype("float32")
    energy = 0.5 * mass * speed**2 + 0.1 * rng.normal(size=rows)
    inputs, both = network(z, np.stack([speed, energy], 1), seed)
    heads = {name: keras.layers.Dense(1, use_bias=False, name=name) for name in ("speed", "energy")}
    outputs = {name: head(both) for name, head in heads.items()}
    for k, head in enumerate(heads.values()):
        head.set_weights([np.eye(2, dtype="float32")[:, k : k + 1]])

    def balance(z, p):
        return p["energy"] - 0.5 * z[:, :1] * p["speed"] ** 2

    layer = kp.PhysicsRegularization(balance, {"t": 0.3})
    model = kp.PhysicsModel(inputs, layer(inputs, outputs))
    model.compile("adam", {"speed": "mse", "energy": "mse"})
    labels = {"speed": speed[:, None], "energy": energy[:, None]}
    return Setup(model, z, {k: v.astype("float32") for k, v in labels.items()}, {})


def shares(rows, seed):
    """Shares of four substances add up to 1: in the labels but for rounding, in a softmax by
    itself."""
    rng = rng_of(rows, seed, 6)
    z = rng.normal(size=(rows, 3))
    x = np.exp(z @ rng.normal(size=(3, 4)))
    x = np.round(x / x.sum(axis=1, keepdims=True), 3)
    return setup(z, x, lambda z, p: ops.sum(p, -1) - 1.0, {"t": 0.1}, seed, activation="softmax")


def outliers(rows, seed):
    """3 % of the labels are off by five standard deviations."""
    rng = rng_of(rows, seed, 7)
    z = rng.normal(size=(rows, 2))
    noise = 0.3 * rng.normal(size=(rows, 1))
    noise[rng.random(rows) < 0.03] *= 5
    law = lambda z: ops.sin(z[:, :1]) + z[:, 1:]  # noqa: E731
    x = np.sin(z[:, :1]) + z[:, 1:] + noise
    return setup(z, x, lambda z, p: p - law(z), {"t": 0.3}, seed)


def plate(rows, seed):
    """Temperatures of a plate, as an image: the Laplacian equals the heat source."""
    rng = rng_of(rows, seed, 8)
    places = np.arange(8) / 4
    waves = rng.normal(size=(rows, 2, 1, 1))
    field = waves[:, :1] * np.sin(places)[None, None, :, None] * np.ones(8)
    field = field + waves[:, 1:] * np.cos(places)[None, None, None, :] * np.ones((8, 1))
    field = np.moveaxis(field, 1, -1)
    heat = -field / 16 + 0.002 * rng.normal(size=field.shape)
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 1))
    hidden = keras.layers.Conv2D(8, 3, padding="same", activation="tanh")(inputs)
    temperature = keras.layers.Conv2D(1, 3, padding="same")(hidden)

    def laplacian(z, p):
        inner = p[:, 1:-1, 1:-1]
        around = p[:, 2:, 1:-1] + p[:, :-2, 1:-1] + p[:, 1:-1, 2:] + p[:, 1:-1, :-2]
        return 16 * (around - 4 * inner) - 256 * z[:, 1:-1, 1:-1] / 16

    layer = kp.PhysicsRegularization(laplacian, {"t": 1e-4})
    model = kp.PhysicsModel(inputs, layer(inputs, temperature))
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    z, x = heat.astype("float32"), field.astype("float32")
    model.fit(z, x, epochs=15, batch_size=max(rows // 4, 4), verbose=0)
    return Setup(model, z, x, {})


def weak_law(rows, seed):
    """Physics that explains a quarter of what varies, without a bias."""
    rng = rng_of(rows, seed, 31)
    z = rng.normal(size=(rows, 3))
    x = 10 + z[:, :1] + 1.7 * np.sin(2 * z[:, 1:2]) + 1.2 * rng.normal(size=(rows, 1))
    return setup(z, x, *beside_label(lambda z: 10 + z[:, :1]), seed)


def length_of_a_residual(rows, seed):
    """The length of a vector of three residuals, which is never negative."""
    rng = rng_of(rows, seed, 32)
    z = rng.uniform(0, 1, (rows, 3))
    x = 2 * z + 0.1 * rng.normal(size=(rows, 3))
    return setup(
        z, x, lambda z, p: ops.sqrt(ops.sum((p - 2 * z) ** 2, -1) + 1e-6), {"t": 0.3}, seed
    )


def ratio_of_outputs(rows, seed):
    """An efficiency: useful over given power, beside what the datasheet says."""
    rng = rng_of(rows, seed, 33)
    z = np.stack([rng.uniform(0.2, 0.9, rows), rng.uniform(1, 5, rows)], 1)
    given = z[:, 1] * (1 + 0.02 * rng.normal(size=rows))
    x = np.stack([z[:, 0] * given * (1 + 0.03 * rng.normal(size=rows)), given], 1)
    return setup(z, x, lambda z, p: p[:, 0] / (p[:, 1] + 1e-3) - z[:, 0], {"t": 0.3}, seed)


def smallness(rows, seed):
    """A residual that asks for small currents of either sign."""
    rng = rng_of(rows, seed, 34)
    z = rng.normal(size=(rows, 2))
    x = 0.3 * z[:, :1] + 0.1 * rng.normal(size=(rows, 1))
    return setup(z, x, lambda z, p: p, {"t": 0.05}, seed)


FRESH_HEALTHY: dict[str, Callable] = {
    "temperatures in kelvin": module_temperature,
    "three decades of flow": pressure_drop,
    "day and night": day_and_night,
    "a tank, step by step": tank,
    "a dict of outputs": kinetic,
    "shares by softmax": shares,
    "outliers of 3 %": outliers,
    "a plate as an image": plate,
    "a law that explains a quarter": weak_law,
    "the length of a residual": length_of_a_residual,
    "a ratio of two outputs": ratio_of_outputs,
    "a residual that asks for little": smallness,
}


# Faults.


def celsius_in_the_gas_law(rows, seed):
    rng = rng_of(rows, seed, 11)
    z = np.stack([rng.uniform(90, 110, rows), rng.uniform(5, 35, rows)], 1)
    x = (z[:, 0] / 0.287 / (z[:, 1] + 273.15))[:, None] + 0.005 * rng.normal(size=(rows, 1))
    return setup(z, x, *beside_label(lambda z: (z[:, 0] / 0.287 / z[:, 1])[:, None]), seed)


def forgotten_root(rows, seed):
    """Speed from dynamic pressure, without the root."""
    rng = rng_of(rows, seed, 12)
    z = np.stack([rng.uniform(1, 20, rows), rng.normal(size=rows)], 1)
    x = np.sqrt(2 * z[:, :1] / 1.2) + 0.1 * rng.normal(size=(rows, 1))
    return setup(z, x, *beside_label(lambda z: 2 * z[:, :1] / 1.2, 0.1), seed)


def minutes_for_hours(rows, seed):
    """A temperature after one hour of heating, by a rate per minute."""
    rng = rng_of(rows, seed, 13)
    z = np.stack([rng.normal(20, 5, rows), rng.uniform(1, 5, rows)], 1)
    x = z[:, :1] + z[:, 1:] + 0.2 * rng.normal(size=(rows, 1))
    return setup(z, x, *beside_label(lambda z: z[:, :1] + 60 * z[:, 1:], 1e-3), seed)


def dropouts(rows, seed):
    """A sensor of temperatures in kelvin that says 0 in 3 % of the rows."""
    rng = rng_of(rows, seed, 14)
    z = np.stack([rng.normal(300, 10, rows), rng.uniform(0, 5, rows)], 1)
    x = z[:, :1] + 2 * z[:, 1:] + 0.5 * rng.normal(size=(rows, 1))
    clean = setup(z, x, lambda z, p: p - z[:, :1] - 2 * z[:, 1:], {"t": 0.3}, seed)
    x = x.astype("float32")
    x[rng.permutation(rows)[: max(1, round(0.03 * rows))]] = 0
    return clean._replace(x=x)


def outputs_swapped(rows, seed):
    rng = rng_of(rows, seed, 15)
    z = rng.normal(size=(rows, 3))
    true = np.stack([15 + 8 * z[:, 0], 60 + 12 * z[:, 1]], 1)
    x = true + rng.normal(size=(rows, 2))
    law = lambda z: ops.stack([60 + 12 * z[:, 1], 15 + 8 * z[:, 0]], -1)  # noqa: E731
    return setup(z, x, *beside_label(law, 0.1), seed)


def wrong_way_inequality(rows, seed):
    """Concentrations must not be negative; the residual asks for the contrary."""
    rng = rng_of(rows, seed, 16)
    z = rng.normal(size=(rows, 2))
    x = np.exp(0.5 * z[:, :1]) + 0.05 * np.abs(rng.normal(size=(rows, 1)))
    return setup(z, x, lambda z, p: kp.residuals.positive(-p), {"t": 0.1}, seed)


def rounded(rows, seed):
    rng = rng_of(rows, seed, 17)
    z = rng.normal(size=(rows, 2))
    x = 3 * z[:, :1] + 0.2 * rng.normal(size=(rows, 1))
    return setup(z, x, lambda z, p: ops.round(p) - 3 * z[:, :1], {"t": 0.3}, seed)


def standardised_labels(rows, seed):
    """Direct and diffuse sun are standardised; the closure takes them for kW/m2."""
    rng = rng_of(rows, seed, 18)
    x = rng.uniform([0.0, 0.05], [1.0, 0.4], (rows, 2))
    cos = rng.uniform(0.2, 1.0, rows)
    ghi = x[:, 0] * cos + x[:, 1] + 0.02 * rng.normal(size=rows)
    z = np.stack([ghi, cos], 1)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    return setup(z, x, lambda z, p: p[:, 0] * z[:, 1] + p[:, 1] - z[:, 0], {"t": 0.1}, seed)


def without_the_mean(rows, seed):
    """Anomalies by the mean of the batch."""
    rng = rng_of(rows, seed, 19)
    z = rng.normal(size=(rows, 2))
    x = 5 + 2 * z[:, :1] + 0.2 * rng.normal(size=(rows, 1))

    def anomaly(z, p):
        return p - ops.mean(p, axis=0) - 2 * z[:, :1]

    return setup(z, x, anomaly, {"t": 0.3}, seed)


def sign_of_one_input(rows, seed):
    """A balance of two flows of which one is added in place of taken off."""
    rng = rng_of(rows, seed, 20)
    z = rng.normal(size=(rows, 2))
    x = z[:, :1] - 0.7 * z[:, 1:] + 0.1 * rng.normal(size=(rows, 1))
    return setup(z, x, lambda z, p: p - z[:, :1] - 0.7 * z[:, 1:], {"t": 0.3}, seed)


def missing_labels(rows, seed):
    rng = rng_of(rows, seed, 21)
    z = rng.normal(size=(rows, 2))
    x = z[:, :1] + 0.1 * rng.normal(size=(rows, 1))
    clean = setup(z, x, lambda z, p: p - z[:, :1], {"t": 0.3}, seed)
    x = x.astype("float32")
    x[1], x[rows // 2] = np.nan, np.nan
    return clean._replace(x=x)


def watts_at_weight_1(rows, seed):
    """Labels in kW, a residual in W, weight 1."""
    rng = rng_of(rows, seed, 22)
    z = rng.uniform(0, 5, (rows, 2))
    x = z.sum(axis=1, keepdims=True) + 0.2 * rng.normal(size=(rows, 1))
    known = lambda z: ops.sum(z, -1, keepdims=True)  # noqa: E731
    return setup(z, x, lambda z, p: 1000 * (p - known(z)), {"t": 1.0}, seed)


def feet_in_one_input(rows, seed):
    """Hydrostatic pressure in kPa of two layers, of which one depth is in feet."""
    rng = rng_of(rows, seed, 41)
    z = rng.uniform(2, 20, (rows, 2))
    x = 9.81 * z[:, :1] + 7.8 * z[:, 1:] + 2 * rng.normal(size=(rows, 1))
    return setup(
        z, x, *beside_label(lambda z: 9.81 * z[:, :1] / 0.3048 + 7.8 * z[:, 1:], 1e-3), seed
    )


def bound_in_another_unit(rows, seed):
    """A tank of at most 3 m; the levels are in cm."""
    rng = rng_of(rows, seed, 42)
    z = rng.normal(size=(rows, 2))
    x = 150 + 40 * np.tanh(z[:, :1]) + 3 * rng.normal(size=(rows, 1))
    return setup(z, x, lambda z, p: kp.residuals.bounded(p, high=3.0), {"t": 0.1}, seed)


def degrees_for_radians(rows, seed):
    """Sun on a tilted plane, with the angle in degrees in the cosine."""
    rng = rng_of(rows, seed, 43)
    z = np.stack([rng.uniform(0.3, 1, rows), rng.uniform(0, 80, rows)], 1)
    x = (z[:, 0] * np.cos(np.radians(z[:, 1])))[:, None] + 0.02 * rng.normal(size=(rows, 1))
    return setup(z, x, *beside_label(lambda z: (z[:, 0] * ops.cos(z[:, 1]))[:, None]), seed)


# Name -> (builder, codes of which each names the cause, rows from which one must be found).
FRESH_FAULTS: dict[str, tuple[Callable, tuple[str, ...], int]] = {
    "Celsius in the gas law": (celsius_in_the_gas_law, ("rescaled", "unrelated"), 64),
    "forgotten root": (forgotten_root, ("rescaled",), 64),
    "minutes for hours": (minutes_for_hours, ("rescaled", "unrelated"), 64),
    "dropouts of a sensor": (dropouts, ("few-rows",), 64),
    "outputs swapped": (outputs_swapped, ("unrelated",), 64),
    "inequality the wrong way": (wrong_way_inequality, ("violated", "biased"), 64),
    "rounded prediction": (rounded, ("disconnected", "zero-gradient"), 16),
    "standardised labels": (standardised_labels, ("rescaled", "biased", "unrelated"), 64),
    "mean of the batch": (without_the_mean, ("mixes-rows",), 16),
    "sign of one input": (sign_of_one_input, ("rescaled", "unrelated"), 64),
    "missing labels": (missing_labels, ("non-finite",), 16),
    "W in place of kW, weight 1": (watts_at_weight_1, ("dominates",), 16),
    "feet in one of two inputs": (feet_in_one_input, ("rescaled",), 64),
    "a bound in another unit": (bound_in_another_unit, ("violated", "biased"), 64),
    "degrees for radians": (degrees_for_radians, ("unrelated", "rescaled"), 64),
}
MENDED = ("Celsius in the gas law", "minutes for hours", "inequality the wrong way")
