"""A heat pump in W, in kW and in standard units: with scales, training gives one result."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp

WEIGHTS = {"power": 0.25, "balance": 0.5}
DEVIATION = 150.0  # W, of the balance
FORMS = {"W": 1.0, "kW": 1e-3, "standard units": 1.0}


@pytest.fixture(autouse=True)
def in_float64():
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


def measured(watt=1.0):
    """Power and temperature lift; heat and coefficient of performance."""
    rng = np.random.default_rng(0)
    power, lift = rng.uniform(500.0, 3000.0, 60), rng.uniform(20.0, 45.0, 60)
    cop = 6.0 - 0.08 * lift + 0.1 * rng.normal(size=60)
    heat = cop * power + 100.0 * rng.normal(size=60)
    return np.stack([power * watt, lift], axis=-1), np.stack([heat * watt, cop], axis=-1)


def heat_pump(z, x_pred):
    """In physical units, whatever they are: power from heat and COP, and the heat balance."""
    power, heat, cop = z[:, :1], x_pred[:, :1], x_pred[:, 1:]
    return {"power": heat / (6.0 - 0.08 * z[:, 1:]), "balance": heat - cop * power}


def layers(seed=0):
    keras.utils.set_random_seed(seed)
    return [keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(2)]


def normalization(values, invert=False):
    return keras.layers.Normalization(
        mean=values.mean(axis=0), variance=values.var(axis=0), invert=invert
    )


def in_physical_units(watt, scale):
    """No line of the physics scales anything."""
    z, x = measured(watt)
    network = [normalization(z), *layers(), normalization(x, invert=True)]
    terms = [
        kp.PhysicsTerm(
            "power", "input", components=[0], weight=WEIGHTS["power"], scale=scale or z[:, 0].std()
        ),
        kp.PhysicsTerm("balance", weight=WEIGHTS["balance"], scale=DEVIATION * watt),
    ]
    model = kp.regularize(keras.Sequential([keras.Input((2,)), *network]), heat_pump, terms)
    return model, z, x, kp.ScaledLoss("mse", x.std(axis=0))


def in_standard_units():
    """Standardised data; the physics goes back to W and divides its outputs, by hand."""
    z, x = measured()
    (z_mean, z_std), (x_mean, x_std) = ((a.mean(axis=0), a.std(axis=0)) for a in (z, x))

    def scaled_physics(z, x_pred):
        outputs = heat_pump(z * z_std + z_mean, x_pred * x_std + x_mean)
        power = (outputs["power"] - z_mean[0]) / z_std[0]
        return {"power": power, "balance": outputs["balance"] / DEVIATION}

    terms = [
        kp.PhysicsTerm("power", "input", components=[0], weight=WEIGHTS["power"]),
        kp.PhysicsTerm("balance", weight=WEIGHTS["balance"]),
    ]
    encoder = keras.Sequential([keras.Input((2,)), *layers()])
    return (
        kp.regularize(encoder, scaled_physics, terms),
        (z - z_mean) / z_std,
        (x - x_mean) / x_std,
        "mse",
    )


def trained(form, scale=None):
    if form == "standard units":
        model, z, x, loss = in_standard_units()
    else:
        model, z, x, loss = in_physical_units(FORMS[form], scale)
    model.compile(keras.optimizers.Adam(0.01), loss)
    history = model.fit(z, x, epochs=20, batch_size=20, shuffle=False, verbose=0).history
    return [ops.convert_to_numpy(v) for v in model.trainable_variables], history


@pytest.mark.slow
def test_one_result_in_all_units():
    weights, history = trained("standard units")
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert min(history["power_loss"][0], history["balance_loss"][0]) > 0.1
    for form, scale in (("W", None), ("kW", "auto")):
        ours, logs = trained(form, scale)
        for a, b in zip(ours, weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)
        assert logs.keys() == history.keys()
        for name, values in logs.items():
            np.testing.assert_allclose(values, history[name], rtol=1e-6)


@pytest.mark.tensorflow
def test_loss_and_gradient_are_those_of_the_form_scaled_by_hand():
    """By hand: two layers of NumPy's shapes, standardised data, and a loss without this package."""
    import tensorflow as tf

    model, z, x, loss = in_physical_units(1e-3, "auto")
    model.compile(keras.optimizers.SGD(1.0), loss)
    before = [v.numpy() for v in model.trainable_variables]
    logs = model.fit(z, x, batch_size=60, shuffle=False, verbose=0).history
    gradients = [b - v.numpy() for b, v in zip(before, model.trainable_variables, strict=True)]

    z, x = measured()
    variables = [tf.Variable(value) for value in before]
    with tf.GradientTape() as tape:
        first, bias, second, last = variables
        hidden = tf.tanh((z - z.mean(axis=0)) / z.std(axis=0) @ first + bias)
        standard = hidden @ second + last
        predicted = standard * x.std(axis=0) + x.mean(axis=0)
        data = tf.reduce_mean((standard - (x - x.mean(axis=0)) / x.std(axis=0)) ** 2)
        heat, cop = predicted[:, 0], predicted[:, 1]
        power = (heat / (6.0 - 0.08 * z[:, 1]) - z[:, 0]) / z[:, 0].std()
        balance = (heat - cop * z[:, 0]) / DEVIATION
        by_term = {"power": tf.reduce_mean(power**2), "balance": tf.reduce_mean(balance**2)}
        total = data + sum(WEIGHTS[name] * loss for name, loss in by_term.items())
    assert logs["loss"][0] == pytest.approx(float(total), rel=1e-6)
    for name, value in by_term.items():
        assert logs[f"{name}_loss"][0] == pytest.approx(float(value), rel=1e-6)
    for ours, by_hand in zip(gradients, tape.gradient(total, variables), strict=True):
        np.testing.assert_allclose(ours, by_hand, rtol=1e-6, atol=1e-8)
