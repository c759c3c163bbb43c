"""Terms of masked predictions are means over the steps that the Keras mask leaves in."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from tests.variants import slow_but

ROWS, STEPS = 8, 5
LENGTHS = np.array([5, 3, 1, 4, 2, 5, 3, 4])
WEIGHT = 0.5


def data(seed=0):
    """Sequences padded with 0; their labels are padded with what must not count."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.5, 1.5, (ROWS, STEPS, 2)).astype("float32")
    y = rng.normal(size=(ROWS, STEPS, 1)).astype("float32")
    z[~holds()], y[~holds()] = 0.0, 7.0
    return z, y


def holds():
    return np.arange(STEPS) < LENGTHS[:, None]


def residual(z, x_pred):
    return {"r": x_pred[..., 0] * 2 - z[..., 0]}


def against_input(z, x_pred):
    return {"r": ops.concatenate([x_pred, 2 * x_pred], axis=-1)}


def flat(z, x_pred):
    """One value per sequence."""
    return {"r": ops.mean(x_pred[..., 0], axis=1)}


def changes(z, x_pred):
    """One step fewer than the sequence has."""
    return {"r": ops.diff(x_pred[..., 0], axis=1)}


CELLS = {
    "LSTM": lambda: keras.layers.LSTM(4, return_sequences=True),
    "GRU": lambda: keras.layers.GRU(4, return_sequences=True),
    "Dense": lambda: keras.layers.Dense(4, activation="tanh"),
}


def model(physics=residual, term=None, cell="Dense", model_class=kp.PhysicsModel, **compile_args):
    keras.utils.set_random_seed(1)
    z = keras.Input((STEPS, 2))
    hidden = CELLS[cell]()(keras.layers.Masking()(z))
    layer = kp.PhysicsRegularization(physics, [term or kp.PhysicsTerm("r", weight=WEIGHT)])
    made = model_class(z, layer(z, keras.layers.Dense(1)(hidden)))
    made.compile(keras.optimizers.SGD(0.1), "mse", **compile_args)
    return made


def weighted_mean(values, weights):
    return np.sum(values * weights) / np.sum(weights)


def logged(made, z, y, **fit):
    return made.fit(z, y, batch_size=ROWS, shuffle=False, verbose=0, **fit).history


@pytest.mark.parametrize("cell", slow_but({"Dense"}, CELLS))
def test_the_mean_is_over_the_steps_of_the_mask(cell):
    (z, y), made = data(), model(cell=cell)
    x = made.predict(z, verbose=0).astype("float64")
    history = logged(made, z, y)
    r = (2 * x[..., 0] - z[..., 0]) ** 2
    assert history["r_loss"][0] == pytest.approx(weighted_mean(r, holds()), rel=1e-5)
    data_loss = weighted_mean((x[..., 0] - y[..., 0]) ** 2, holds())
    assert history["data_loss"][0] == pytest.approx(data_loss, rel=1e-5)
    assert history["loss"][0] == pytest.approx(
        data_loss + WEIGHT * weighted_mean(r, holds()), rel=1e-5
    )
    assert weighted_mean(r, holds()) != pytest.approx(np.mean(r), rel=0.01)


def test_a_term_that_equals_the_data_loss():
    """A term that compares the prediction with the label is the data loss."""

    def same(z, x_pred):
        return {"r": x_pred}

    history = logged(model(same, kp.PhysicsTerm("r", "target")), *data())
    assert history["r_loss"] == pytest.approx(history["data_loss"], rel=1e-6)


def test_sample_weight_beside_the_mask():
    def same(z, x_pred):
        return {"r": x_pred}

    trust = np.random.default_rng(1).uniform(0, 2, (ROWS, 1)).astype("float32")
    history = logged(model(same, kp.PhysicsTerm("r", "target")), *data(), sample_weight=trust)
    assert history["r_loss"] == pytest.approx(history["data_loss"], rel=1e-6)


@pytest.mark.slow
def test_a_reference_of_several_components():
    (z, y), made = data(), model(against_input, kp.PhysicsTerm("r", "input"))
    x = made.predict(z, verbose=0).astype("float64")
    r = np.mean((np.concatenate([x, 2 * x], -1) - z) ** 2, axis=-1)
    assert logged(made, z, y)["r_loss"][0] == pytest.approx(weighted_mean(r, holds()), rel=1e-5)


def test_the_old_meaning():
    (z, y), made = data(), model(term=kp.PhysicsTerm("r", mask=False))
    x = made.predict(z, verbose=0).astype("float64")
    r = (2 * x[..., 0] - z[..., 0]) ** 2
    assert logged(made, z, y)["r_loss"][0] == pytest.approx(np.mean(r), rel=1e-5)


@pytest.mark.slow
def test_on_rows_beside_the_mask():
    """What counts is what both leave in."""

    def some(z, x_pred):
        return {"r": kp.on_rows(residual(z, x_pred)["r"], ops.relu(z[..., 1] - 0.8))}

    (z, y), made = data(), model(some)
    x = made.predict(z, verbose=0).astype("float64")
    r = (2 * x[..., 0] - z[..., 0]) ** 2
    weights = np.maximum(z[..., 1] - 0.8, 0) * holds()
    assert logged(made, z, y)["r_loss"][0] == pytest.approx(weighted_mean(r, weights), rel=1e-5)


def test_where_beside_the_mask():
    term = kp.PhysicsTerm("r", where=lambda z: z[:, 0, 0] > 1.0)
    (z, y), made = data(), model(term=term)
    x = made.predict(z, verbose=0).astype("float64")
    r = (2 * x[..., 0] - z[..., 0]) ** 2
    weights = (z[:, :1, 0] > 1.0) * holds()
    assert logged(made, z, y)["r_loss"][0] == pytest.approx(weighted_mean(r, weights), rel=1e-5)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("share", slow_but({0.3}, [None, 0.3]), ids=["all rows alike", "share"])
def test_unlabelled_sequences(share):
    (z, y), made = data(), model(cell="Dense")
    x = made.predict(z, verbose=0).astype("float64")
    history = logged(
        made, z[:6], y[:6], unlabelled=z[6:], unlabelled_share=share, unlabelled_batch_size=2
    )
    r = (2 * x[..., 0] - z[..., 0]) ** 2
    expected = weighted_mean(r, holds())
    if share is not None:
        parts = [weighted_mean(r[rows], holds()[rows]) for rows in (slice(6), slice(6, None))]
        expected = (1 - share) * parts[0] + share * parts[1]
    assert history["r_loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_plain_model():
    (z, y), made = data(), model(model_class=keras.Model)
    ours = logged(model(), z, y)
    assert logged(made, z, y)["r_loss"] == pytest.approx(ours["r_loss"], rel=1e-6)


@pytest.mark.slow
def test_one_value_per_sequence_has_no_steps():
    (z, y), made = data(), model(flat)
    x = made.predict(z, verbose=0).astype("float64")
    expected = np.mean(np.mean(x[..., 0], axis=1) ** 2)
    assert logged(made, z, y)["r_loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.tensorflow
def test_terms_at_the_labels():
    class Gain(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.gain = kp.Constant(1.5, name="gain")

        def call(self, z, x_pred):
            return {"r": self.gain() * x_pred[..., 0] - z[..., 0]}

    (z, y), made = data(), model(Gain(), kp.PhysicsTerm("r", at="labels"))
    r = (1.5 * y[..., 0].astype("float64") - z[..., 0]) ** 2
    assert logged(made, z, y)["r_loss"][0] == pytest.approx(weighted_mean(r, holds()), rel=1e-5)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_replicas_equal_fit(quick):
    (z, y), made = data(), model(cell="Dense")
    fit = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    history = kp.ReplicaTrainer(made, {"r": [0.0, WEIGHT]}).fit(z, y, **fit).history
    for key, values in made.fit(z, y, **fit).history.items():
        np.testing.assert_allclose(history[key][:, 1], values, rtol=1e-4, err_msg=key)


# Bad input


@pytest.mark.slow
def test_other_steps_than_the_mask_has():
    with pytest.raises(ValueError, match=r"'r' has a Keras mask of shape.*mask=False"):
        logged(model(changes), *data())
    z, _ = data()
    made = model(changes, kp.PhysicsTerm("r", mask=False))
    x = made.predict(z, verbose=0).astype("float64")
    expected = np.mean(np.diff(x[..., 0], axis=1) ** 2)
    assert logged(made, *data())["r_loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_steps_of_its_own_by_on_rows():
    def both_count(z, x_pred):
        there = ops.any(z != 0, axis=-1)
        return {"r": kp.on_rows(changes(z, x_pred)["r"], there[:, 1:])}

    z, _ = data()
    made = model(both_count)
    x = made.predict(z, verbose=0).astype("float64")
    expected = weighted_mean(np.diff(x[..., 0], axis=1) ** 2, holds()[:, 1:])
    assert logged(made, *data())["r_loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.tensorflow
def test_padding_with_a_derivative_that_is_not_finite():
    def divides(z, x_pred):
        return {"r": x_pred[..., 0] / z[..., 0] - 1}

    with pytest.raises(ValueError, match=r"'r' do not count, but the derivative.*Row\(s\) 1, 2, 3"):
        logged(model(divides), *data())


@pytest.mark.slow
def test_a_model_without_masks_is_as_before():
    keras.utils.set_random_seed(1)
    z = keras.Input((STEPS, 2))
    layer = kp.PhysicsRegularization(residual, [kp.PhysicsTerm("r")])
    made = kp.PhysicsModel(z, layer(z, keras.layers.Dense(1)(z)))
    made.compile("sgd", "mse")
    (z, y), x = data(), made.predict(data()[0], verbose=0).astype("float64")
    expected = np.mean((2 * x[..., 0] - z[..., 0]) ** 2)
    assert logged(made, z, y)["r_loss"][0] == pytest.approx(expected, rel=1e-5)
