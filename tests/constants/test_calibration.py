"""Constants are biased if they learn from a prediction, and recovered if they learn from labels."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from tests.variants import slow_but

REWRITTEN_GRAPHS = True

GAIN, OFFSET = 1.3, 0.2
NOISES = (0.1, 0.5)  # of the measurement, where the quantity has a standard deviation of 1
# Per constant, a chance of 6e-5 to miss the truth because of the noise of the data.
STANDARD_ERRORS = 4


class Sensor(keras.layers.Layer):
    """z = gain * x + offset at the prediction: constants and network compensate for noise."""

    def __init__(self):
        super().__init__()
        self.gain = kp.Constant(1.0, low=0.5, high=3.0, name="gain")
        self.offset = kp.Constant(0.0, scale=0.5, name="offset")

    def call(self, inputs, x_pred):
        return {"sensor": self.gain() * x_pred + self.offset() - inputs["z"]}


class Calibrated(Sensor):
    """The same at the prediction and at the label: the constants learn only at the label."""

    def call(self, inputs, x_pred):
        gain, offset = self.gain(), self.offset()
        fixed_gain, fixed_offset = ops.stop_gradient(gain), ops.stop_gradient(offset)
        at_label = gain * inputs["label"] + offset - inputs["z"]
        return {
            "sensor": fixed_gain * x_pred + fixed_offset - inputs["z"],
            "calibration": inputs["known"] * at_label,
        }


def measured(noise, rows=512, seed=0):
    """Inputs and labels of a sensor whose constants are known."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 1))
    z = GAIN * x + OFFSET + noise * rng.normal(size=x.shape)
    known = np.ones_like(x)
    inputs = {"z": z, "label": x, "known": known}
    return {name: array.astype("float32") for name, array in inputs.items()}, x.astype("float32")


def least_squares(inputs):
    """Gain and offset of z over x with their standard errors: x is exact, z alone has noise."""
    x, z = inputs["label"].astype("float64")[:, 0], inputs["z"].astype("float64")[:, 0]
    design = np.stack([x, np.ones_like(x)], axis=1)
    estimate = np.linalg.lstsq(design, z, rcond=None)[0]
    variance = np.sum((z - design @ estimate) ** 2) / (len(z) - 2)
    return estimate, np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))


def trained(physics, inputs, x, units=None, unlabelled=None):
    """Trains a model until its constants no longer change, and returns it."""
    keras.utils.set_random_seed(0)
    given = {name: keras.Input((1,), name=name) for name in ("z", "label", "known")}
    hidden = given["z"] if units is None else keras.layers.Dense(units, "tanh")(given["z"])
    terms = {"sensor": 1.0, **({"calibration": 1.0} if type(physics) is Calibrated else {})}
    prediction = keras.layers.Dense(1)(hidden)
    model = kp.PhysicsModel(given, kp.PhysicsRegularization(physics, terms)(given, prediction))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    options = {} if unlabelled is None else {"unlabelled": unlabelled}
    for rate, steps in ((0.05, 300), (0.005, 100)):
        model.optimizer.learning_rate = rate
        repeated = {name: np.tile(array, (steps, 1)) for name, array in inputs.items()}
        labels = np.tile(x, (steps, 1))
        model.fit(repeated, labels, batch_size=len(x), shuffle=False, verbose=0, **options)
    return model


def constants_of(model):
    return np.array([kp.get_constants(model)[name] for name in ("gain", "offset")])


@pytest.mark.slow
@pytest.mark.parametrize("noise", slow_but({0.1}, NOISES))
def test_recovered_from_the_labels_beside_a_network(noise):
    inputs, x = measured(noise)
    model = trained(Calibrated(), inputs, x, units=8)
    estimate, errors = least_squares(inputs)
    found = constants_of(model)
    # The training has converged to far less than the noise.
    assert (np.abs(found - estimate) < 0.05 * errors + 1e-4).all()
    assert (np.abs(found - [GAIN, OFFSET]) < STANDARD_ERRORS * errors + 1e-4).all()
    served = kp.strip_physics(model)
    assert [tensor.name for tensor in served.inputs] == ["z"]
    # The network has learned, too: it explains what the measurement can explain of the quantity.
    error = ops.convert_to_numpy(served({"z": inputs["z"]})) - x
    assert np.mean(error**2) < 1.5 * noise**2 / (GAIN**2 + noise**2) + 2e-3


@pytest.mark.slow
def test_biased_where_they_learn_from_the_prediction():
    inputs, x = measured(max(NOISES))
    found = constants_of(trained(Sensor(), inputs, x))
    estimate, errors = least_squares(inputs)
    # Network and constants converge to E[x | z] and gain / R^2, where both losses are smallest.
    r_squared = np.corrcoef(inputs["z"][:, 0], x[:, 0])[0, 1] ** 2
    assert found[0] == pytest.approx(estimate[0] / r_squared, rel=5e-3)
    assert found[0] - GAIN > STANDARD_ERRORS * errors[0]


@pytest.mark.slow
@pytest.mark.tensorflow
def test_recovered_beside_rows_without_labels():
    inputs, x = measured(0.5)
    others = measured(0.5, seed=1)[0]
    others = {**others, "label": np.zeros_like(x), "known": np.zeros_like(x)}
    model = trained(Calibrated(), inputs, x, unlabelled=others)
    estimate, errors = least_squares(inputs)
    assert (np.abs(constants_of(model) - estimate) < 0.05 * errors + 1e-4).all()
