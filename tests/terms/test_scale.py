"""Losses of deviations in units of the term's scale, by their formula."""

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.terms.loss import row_losses, term_loss
from tests.problems import data
from tests.variants import slow_but

RNG = np.random.default_rng(0)
OUTPUT, REFERENCE = RNG.normal(size=(2, 6, 3)).astype("float32")
SCALES = {"one for all": 0.1, "one per component": (1000.0, 1.0, 0.01)}


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        ("mse", np.square),
        ("mae", np.abs),
        ("huber", lambda d: np.where(np.abs(d) <= 1, d**2 / 2, np.abs(d) - 0.5)),
    ],
    ids=["mse", "mae", "huber"],
)
def test_the_formula(loss, formula, scale):
    term = kp.PhysicsTerm("x", reference="target", loss=loss, scale=scale)
    expected = formula((OUTPUT - REFERENCE).astype("float64") / np.asarray(scale))
    np.testing.assert_allclose(term_loss(term, OUTPUT, REFERENCE), expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(row_losses(term, OUTPUT, REFERENCE), expected.mean(1), rtol=1e-5)


def test_on_the_rows_that_count():
    def physics(z, x_pred):
        return {"z": kp.on_rows(x_pred, z[:, 0] > 0)}

    z, y = data()
    inputs = keras.Input((z.shape[1],))
    term = kp.PhysicsTerm("z", reference="target", scale=(2.0, 0.5))
    model = kp.regularize(keras.Model(inputs, keras.layers.Dense(2)(inputs)), physics, [term])
    model.compile("sgd", "mse")
    logs = model.evaluate(z, y, batch_size=len(z), verbose=0, return_dict=True)
    deviations = (model.predict(z, verbose=0) - y) / np.array([2.0, 0.5])
    assert logs["z_loss"] == pytest.approx(np.mean(deviations[z[:, 0] > 0] ** 2), rel=1e-5)


@pytest.mark.parametrize("factor", slow_but({1000.0}, [1.0, 1000.0]), ids=["kW", "W"])
def test_training_does_not_depend_on_the_unit(factor):
    """Scaled by its unit, a term trains the same in W and in kW."""

    def physics(z, x_pred):
        return factor * x_pred

    def trained(scale, weight):
        keras.utils.set_random_seed(3)
        z, y = data()
        inputs = keras.Input((z.shape[1],))
        network = keras.Model(inputs, keras.layers.Dense(2)(inputs))
        model = kp.regularize(network, physics, [kp.PhysicsTerm("p", scale=scale, weight=weight)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(z, y, epochs=2, verbose=0)
        return model.get_weights()[:2]

    by_hand = trained(None, 0.5 / (3.0 * factor) ** 2)
    for got, expected in zip(trained(3.0 * factor, 0.5), by_hand, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_it_is_saved():
    term = kp.PhysicsTerm("x", scale=np.array([1.0, 2.0]))
    assert term.scale == (1.0, 2.0)
    assert kp.PhysicsTerm.from_config(term.get_config()) == term
    assert kp.PhysicsTerm("x", scale=np.float32(2)).get_config()["scale"] == 2.0


@pytest.mark.parametrize(
    ("scale", "error", "message"),
    [
        (0, ValueError, r"'x' must be above 0.*is 0\.0\. "),
        (-1.0, ValueError, r"is -1\.0"),
        (float("nan"), ValueError, r"'x' must be finite.*scale=nan"),
        ([1.0, float("nan")], ValueError, r"finite, but component 1 is nan"),
        ([1.0, 0.0], ValueError, r"is 0\.0 at component 1"),
        ([1.0, 1e-40], ValueError, r"within float32.*is 1e-40 at component 1"),
        (1e40, ValueError, r"within float32.*is 1e\+40"),
        ([], ValueError, r"shape \(0,\)"),
        (np.ones((2, 2)), ValueError, r"shape \(2, 2\)"),
        ("auto", ValueError, r"'x' is the standard deviation of an input or a label"),
        ("std", TypeError, r"'x' must be a number.*'std'"),
        (True, TypeError, r"a number or a vector of numbers.*True"),
        ([None], TypeError, r"a number or a vector of numbers"),
        ([[1.0], [1.0, 2.0]], TypeError, r"a number or a vector of numbers"),
    ],
)
def test_bad_scales(scale, error, message):
    with pytest.raises(error, match=message):
        kp.PhysicsTerm("x", scale=scale)


@pytest.mark.parametrize("shape", [(6, 3), (6,), (6, 1)])
def test_a_scale_of_another_length(shape):
    term = kp.PhysicsTerm("x", scale=[1.0, 2.0])
    values = np.ones(shape, "float32")
    with pytest.raises(ValueError, match=r"'x' has 2 numbers, but its output has shape"):
        term_loss(term, values, values)
