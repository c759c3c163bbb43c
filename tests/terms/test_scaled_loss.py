"""ScaledLoss is the loss it wraps, of labels and predictions in units of the scale."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from tests.layers import test_masks as masks
from tests.problems import data

RNG = np.random.default_rng(0)
SCALE = np.array([1000.0, 1.0, 0.01])
LABEL, PREDICTION = (RNG.normal(size=(2, 6, 3)) * SCALE).astype("float32")
SAMPLE_WEIGHT = RNG.uniform(0.5, 2.0, 6).astype("float32")


@keras.saving.register_keras_serializable(package="tests")
def cubes(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred) ** 3, axis=-1)


LOSSES = {
    "a name": "mse",
    "a class's name": "LogCosh",
    "an instance": keras.losses.MeanAbsoluteError(),
    "the sum": keras.losses.MeanSquaredError(reduction="sum"),
    "no reduction": keras.losses.MeanSquaredError(reduction=None),
    "the mean with weights": keras.losses.Huber(reduction="mean_with_sample_weight"),
    "a function": cubes,
    "a lambda": lambda y_true, y_pred: ops.max(ops.abs(y_true - y_pred), axis=-1),
}


def called(loss, *arguments):
    """The value of a loss, called as `compile` does."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    loss = keras.losses.get(loss)
    if isinstance(loss, keras.losses.Loss):
        return loss(*arguments)
    model.compile(loss=loss)
    return model.compute_loss(None, *arguments)


@pytest.mark.parametrize("sample_weight", [None, SAMPLE_WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("scale", [0.1, SCALE], ids=["one for all", "one per component"])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_it_is_the_loss_of_the_quotients(loss, scale, sample_weight):
    quotients = [ops.convert_to_tensor((a / scale).astype("float32")) for a in (LABEL, PREDICTION)]
    expected = called(loss, *quotients, sample_weight)
    ours = kp.ScaledLoss(loss, scale)(LABEL, PREDICTION, sample_weight)
    np.testing.assert_allclose(ours, expected, rtol=2e-5)


def test_the_formula():
    loss = kp.ScaledLoss("mse", SCALE)
    deviations = (LABEL.astype("float64") - PREDICTION) / SCALE
    assert float(loss(LABEL, PREDICTION)) == pytest.approx(np.mean(deviations**2), rel=1e-5)
    weighted = np.mean(np.mean(deviations**2, axis=-1) * SAMPLE_WEIGHT)
    assert float(loss(LABEL, PREDICTION, SAMPLE_WEIGHT)) == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize(
    ("label", "prediction"), [((6,), (6, 1)), ((6, 1), (6,)), ((6, 4), (6, 4, 1))], ids=str
)
def test_shapes_that_differ_by_a_last_axis_of_1(label, prediction):
    y_true, y_pred = (RNG.normal(size=s).astype("float32") for s in (label, prediction))
    expected = keras.losses.MeanSquaredError()(y_true / 2, y_pred / 2)
    ours = kp.ScaledLoss("mse", 2.0)(y_true, y_pred)
    assert float(ours) == pytest.approx(float(expected), rel=1e-6)


def compiled(loss, model=None):
    keras.utils.set_random_seed(0)
    model = model or keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


@pytest.mark.slow
def test_masked_steps_do_not_count():
    z, y = masks.data()
    scaled = masks.model()
    scaled.compile("sgd", kp.ScaledLoss("mse", 2.0))
    plain = masks.model()
    plain.compile("sgd", "mse")
    ours, theirs = (m.evaluate(z, y, verbose=0, return_dict=True) for m in (scaled, plain))
    assert ours["data_loss"] == pytest.approx(theirs["data_loss"] / 4, rel=1e-5)
    with_zeros = np.mean((plain.predict(z, verbose=0) - y) ** 2)
    assert theirs["data_loss"] != pytest.approx(with_zeros, rel=0.05)


@pytest.mark.slow
def test_a_loaded_model_trains_on(tmp_path):
    z, y = data()
    for loss in (kp.ScaledLoss("mse", [2.0, 0.5]), kp.ScaledLoss(cubes, 2), None):
        model = compiled(loss or kp.ScaledLoss(keras.losses.LogCosh(), np.float32(3)))
        model.fit(z, y, verbose=0)
        model.save(tmp_path / "m.keras")
        loaded = keras.saving.load_model(tmp_path / "m.keras")
        assert loaded.loss.scale == model.loss.scale
        assert loaded.evaluate(z, y, verbose=0) == model.evaluate(z, y, verbose=0)
        histories = [m.fit(z, y, shuffle=False, verbose=0).history for m in (model, loaded)]
        assert histories[0] == histories[1]


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="the loss of `ScaledLoss`, cannot be saved"):
        kp.ScaledLoss(LOSSES["a lambda"], 2.0).get_config()


@pytest.mark.parametrize("kind", [dict, list])
def test_one_loss_per_output(kind):
    z, y = data()
    inputs = keras.Input((3,))
    parts = [keras.layers.Dense(1, name=name)(inputs) for name in ("heat", "flow")]
    outputs = dict(zip(("heat", "flow"), parts, strict=True)) if kind is dict else parts
    model = keras.Model(inputs, outputs)
    scales = {"heat": 2.0, "flow": 0.5}
    losses = {name: kp.ScaledLoss("mse", scale) for name, scale in scales.items()}
    labels = {"heat": y[:, :1], "flow": y[:, 1:]}
    if kind is list:
        losses, labels = list(losses.values()), list(labels.values())
    model.compile("sgd", losses)
    total = model.evaluate(z, labels, verbose=0, return_dict=True)["loss"]
    predicted = model.predict(z, verbose=0)
    expected = [
        np.mean(((predicted[name if kind is dict else k] - y[:, k : k + 1]) / scale) ** 2)
        for k, (name, scale) in enumerate(scales.items())
    ]
    assert total == pytest.approx(sum(expected), rel=1e-5)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_replicas_have_the_losses_of_fit():
    z, y = data()
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model = kp.regularize(encoder, lambda z, x: x - z[:, :2], {"same": 0.1})
    compiled(kp.ScaledLoss("mse", [2.0, 0.5]), model)
    trainer = kp.ReplicaTrainer(model, {"same": [0.0, 0.1]}, engine="stacked")
    history = trainer.fit(z, y, epochs=3, shuffle=False, verbose=0).history
    own = model.fit(z, y, epochs=3, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["data_loss"][:, 1], own["data_loss"], rtol=1e-5)


SHAPES = {
    "scale of another length": ([1.0, 2.0], (6, 3), (6, 3), r"has 2 numbers, but its prediction"),
    "label without components": ([1.0, 2.0], (6,), (6, 2), r"must be the\s+same"),
    "class indices": (2.0, (6, 1), (6, 3), r"label of shape \(6, 1\) and a prediction"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes_that_do_not_fit(case):
    scale, label, prediction, message = SHAPES[case]
    arrays = [np.ones(shape, "float32") for shape in (label, prediction)]
    with pytest.raises(ValueError, match=message):
        kp.ScaledLoss("mse", scale)(*arrays)


def test_a_wrong_length_is_named_by_the_first_step():
    with pytest.raises(ValueError, match=r"has 3 numbers, .* prediction has shape \(\w+, 2\)"):
        compiled(kp.ScaledLoss("mse", SCALE)).fit(*data(), batch_size=16, verbose=0)


class OwnCall(keras.losses.Loss):
    def __call__(self, y_true, y_pred, sample_weight=None):
        return ops.mean(y_true - y_pred)


@pytest.mark.parametrize(
    ("loss", "scale", "error", "message"),
    [
        ("mse", 0, ValueError, r"`scale` of `ScaledLoss` must be above 0"),
        ("mse", [1.0, -2.0], ValueError, r"is -2\.0 at component 1"),
        ("mse", float("nan"), ValueError, r"must be finite"),
        ("mse", None, TypeError, r"a number or a vector of numbers"),
        ("mse", "auto", TypeError, r"a number or a vector of numbers.*'auto'"),
        ("msee", 1.0, ValueError, r"not the name of a Keras loss.*'msee'"),
        (keras.losses.Huber, 1.0, TypeError, r"an instance, not a class: `Huber\(\)`"),
        (keras.metrics.MeanSquaredError(), 1.0, TypeError, r"must not be a metric"),
        (None, 1.0, TypeError, r"must be a Keras loss name"),
        (OwnCall(), 1.0, TypeError, r"Override `call` in `OwnCall`"),
    ],
)
def test_bad_input(loss, scale, error, message):
    with pytest.raises(error, match=message):
        kp.ScaledLoss(loss, scale)
