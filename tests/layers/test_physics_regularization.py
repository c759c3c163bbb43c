"""PhysicsRegularization: its prediction, losses, logs, weights and configuration."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from keras_physreg._utils.backend import tensorflow as tf
from tests import problems
from tests.problems import arrays_equal, bare_model, data, endpoint_model, physics_model, terms
from tests.variants import slow_but, slow_but_rows

REWRITTEN_GRAPHS = True


def test_the_layer_returns_its_prediction_itself():
    layer = kp.PhysicsRegularization(problems.residual, {"r": 1.0})
    z, x = map(ops.convert_to_tensor, data())
    assert layer(z, x) is x


@pytest.mark.tensorflow
def test_a_plain_model_logs_and_adds_its_terms():
    z, x = data(rows=37)
    model = physics_model(problems.residual, {"r": 0.5}, model_class=keras.Model)
    model.compile("sgd", "mse")
    logs = model.evaluate(z, x, batch_size=8, verbose=0, return_dict=True)
    prediction = model.predict(z, verbose=0)
    r_loss = np.mean((2 * prediction - z[:, :2]) ** 2)
    assert logs["r_loss"] == pytest.approx(r_loss, rel=1e-5)
    assert logs["loss"] == pytest.approx(np.mean((prediction - x) ** 2) + 0.5 * r_loss, rel=1e-5)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_the_endpoint_pattern_equals_physics_model():
    z, x = data()
    plain, model = endpoint_model(), physics_model()
    histories = []
    for candidate, inputs in [(plain, [z, x]), (model, z)]:
        candidate.compile("sgd", "mse")
        histories.append(candidate.fit(inputs, x, epochs=2, shuffle=False, verbose=0).history)
    for key in ["loss", "x_loss", "z_loss"]:
        assert histories[0][key] == pytest.approx(histories[1][key], rel=1e-6)


def test_the_endpoint_pattern_works_in_a_physics_model_too():
    z_in, x_pred = problems.tensors()
    label = keras.Input((2,))
    layer = kp.PhysicsRegularization(problems.doubling, terms())
    model = kp.PhysicsModel([z_in, label], layer(z_in, x_pred, targets=label))
    model.compile("sgd", loss=None)
    z, x = data()
    logs = model.evaluate([z, x], verbose=0, return_dict=True)
    assert logs["x_loss"] == pytest.approx(np.mean((z[:, :2] / 2 - x) ** 2), rel=1e-5)


def test_outputs_as_dict_tuple_or_tensor_are_the_same():
    def as_tuple(z, x_pred):
        return tuple(problems.doubling(z, x_pred).values())

    z, x = data()
    logs = []
    for physics in [problems.doubling, as_tuple]:
        model = physics_model(physics)
        model.compile("sgd", "mse")
        logs.append(model.evaluate(z, x, verbose=0, return_dict=True))
    assert logs[0] == logs[1]


@pytest.mark.parametrize("path", slow_but({"input", "target"}, ["prediction", "input", "target"]))
def test_each_reference(path):
    z, x = data()
    z_in = keras.Input((2,))
    term = kp.PhysicsTerm("t", path, loss="mae")
    layer = kp.PhysicsRegularization(lambda z, x: 3 * x, [term])
    model = kp.PhysicsModel(z_in, layer(z_in, keras.layers.Dense(2)(z_in)))
    model.compile("sgd", "mse")
    logs = model.evaluate(z[:, :2], x, verbose=0, return_dict=True)
    prediction = model.predict(z[:, :2], verbose=0)
    reference = {"prediction": prediction, "input": z[:, :2], "target": x}[path]
    assert logs["t_loss"] == pytest.approx(np.mean(np.abs(3 * prediction - reference)), rel=1e-5)


@pytest.mark.parametrize(
    "shape",
    slow_but([(), (None, 2, 3)], [(), (None,), (None, 1), (None, 2), (None, 2, 3)]),
    ids=str,
)
def test_residuals_of_any_shape_are_averaged(shape):
    def physics(z, x):
        full = ops.broadcast_to(x[:, :, None], (ops.shape(x)[0], 2, 3))
        return (
            {0: ops.mean(x), 1: x[:, 0], 2: full[:, 0] if shape == (None, 2) else full}.get(
                len(shape), full
            )
            if shape != (None, 1)
            else x[:, :1]
        )

    z, x = data()
    model = physics_model(physics, {"r": 1.0})
    model.compile("sgd", "mse")
    logs = model.evaluate(z, x, verbose=0, return_dict=True, batch_size=20)
    prediction = model.predict(z, verbose=0)
    values = {0: prediction.mean(), 1: prediction[:, 0], 2: prediction[:, :1], 3: prediction}
    expected = np.mean(values[len(shape)] ** 2)
    assert logs["r_loss"] == pytest.approx(expected, rel=1e-5)


def where_first_is_positive(z, x):
    return tf.boolean_mask(x, z[:, 0] > 0)


@pytest.mark.tensorflow
@pytest.mark.parametrize("batch_size", slow_but({7}, [8, 7]))
@pytest.mark.parametrize("model_class", slow_but({kp.PhysicsModel}, [kp.PhysicsModel, keras.Model]))
def test_a_batch_without_rows_for_a_term_counts_nothing(model_class, batch_size):
    """The mean is over the batches that have rows; the gradient of the others is 0."""
    z, x = data(rows=24)
    z[:, 0] = np.where(np.arange(24) < 8, -1.0, 1.0)
    model = physics_model(where_first_is_positive, {"r": 0.5}, model_class)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    history = model.fit(z, x, batch_size=batch_size, shuffle=False, verbose=0).history
    prediction = model.predict(z, verbose=0)
    batches = [np.arange(i, min(i + batch_size, 24)) for i in range(0, 24, batch_size)]
    means, rows, total = [], [], 0.0
    for batch in batches:
        kept = prediction[batch][z[batch, 0] > 0]
        if len(kept):
            means.append(np.mean(kept**2))
            rows.append(len(batch))
            total += len(batch) * 0.5 * means[-1]
    assert len(means) == len(batches) - 1
    assert history["r_loss"][0] == pytest.approx(np.average(means, weights=rows), rel=1e-5)
    expected = np.mean((prediction - x) ** 2) + total / 24
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("eagerly", slow_but({False}, [False, True]))
def test_a_batch_without_rows_trains_as_without_physics(eagerly):
    z, x = data(rows=8)
    z[:, 0] = -1.0
    models = [physics_model(where_first_is_positive, {"r": 0.5}), bare_model()]
    for model in models:
        model.compile("adam", "mse", run_eagerly=eagerly)
        model.fit(z, x, batch_size=8, verbose=0)
    assert arrays_equal(*map(problems.trainable_values, models))


LOSSES = {
    "name": ("mae", lambda d: np.mean(np.abs(d))),
    "class name": ("MeanAbsoluteError", lambda d: np.mean(np.abs(d))),
    "instance": (keras.losses.Huber(0.1), None),
    "function": (lambda t, p: ops.mean(ops.abs(t - p) ** 3, -1), lambda d: np.mean(np.abs(d) ** 3)),
    "scalar function": (lambda t, p: ops.max(ops.abs(t - p)), lambda d: np.max(np.abs(d))),
}


@pytest.mark.parametrize(("loss", "formula"), slow_but_rows((1, 2, 3), LOSSES.values()), ids=LOSSES)
def test_every_kind_of_loss(loss, formula):
    z, x = data()
    model = physics_model(problems.residual, [kp.PhysicsTerm("r", loss=loss)])
    model.compile("sgd", "mse")
    logs = model.evaluate(z, x, verbose=0, return_dict=True, batch_size=20)
    residual = 2 * model.predict(z, verbose=0) - z[:, :2]
    expected = formula(residual) if formula else float(loss(np.zeros_like(residual), residual))
    assert logs["r_loss"] == pytest.approx(expected, rel=1e-5)


def test_components_select_from_the_reference_also_from_its_end():
    z, x = data()
    term = kp.PhysicsTerm("z", "input", components=[-1, 0])
    model = physics_model(lambda z, x: x, [term])
    model.compile("sgd", "mse")
    logs = model.evaluate(z, x, verbose=0, return_dict=True)
    expected = np.mean((model.predict(z, verbose=0) - z[:, [2, 0]]) ** 2)
    assert logs["z_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_changed_weight_takes_effect_in_a_compiled_model():
    for options in [{}, {"jit_compile": True}]:
        z, x = data()
        model = physics_model()
        model.compile(keras.optimizers.SGD(0.0), "mse", **options)
        first = model.fit(z, x, verbose=0).history
        kp.set_term_weights(model, {"x": 5.0, "z": 0.0})
        second = model.fit(z, x, verbose=0).history
        assert second["physics_loss"][0] == pytest.approx(5.0 * first["x_loss"][0], rel=1e-5)


def test_a_physics_layer_shows_its_constant_before_training():
    lines = []
    model = physics_model(problems.Gain())
    model.summary(print_fn=lines.append)
    bare = bare_model().count_params()
    assert any("Trainable params: " + str(bare + 1) in line for line in lines)


class LazyGain(problems.Gain):
    """Creates its constant, and a layer's weights, only when it is built."""

    def __init__(self, **kwargs):
        keras.layers.Layer.__init__(self, **kwargs)
        self.inner = keras.layers.Dense(2)

    def build(self, z_shape, x_pred_shape):
        self.gain = self.add_weight(shape=(z_shape[-1] - 2,), initializer="ones")

    def call(self, z, x_pred):
        return {"x": z[:, :2] / self.gain, "z": self.inner(x_pred)}


def test_a_physics_layer_is_built_with_the_model():
    model = physics_model(LazyGain())
    assert len(model.trainable_variables) == len(bare_model().trainable_variables) + 3


class Noisy(keras.layers.Layer):
    """Physics with state that does not train: a seed, and a count of its calls."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(1)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, z, x_pred):
        self.calls.assign(self.calls + 1)
        self.add_loss(0.125 * ops.ones(()))
        return x_pred + keras.random.normal(ops.shape(x_pred), seed=self.seed)


def test_state_of_a_physics_layer_is_kept_and_its_own_losses_count():
    physics = Noisy()
    model = physics_model(physics, {"r": 0.0})
    model.compile(keras.optimizers.SGD(0.0), "mse")
    history = model.fit(*data(), batch_size=5, epochs=3, verbose=0).history
    assert float(physics.calls) == 12
    assert len(set(history["r_loss"])) == 3
    assert history["loss"][0] == pytest.approx(history["data_loss"][0] + 0.125, rel=1e-5)


@pytest.mark.slow
def test_an_unknown_constant_is_recovered_from_data():
    true_gain = 3.0
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 2)).astype("float32")
    z = np.concatenate([true_gain * x, rng.normal(size=(256, 1))], axis=1).astype("float32")
    z += 0.01 * rng.normal(size=z.shape).astype("float32")
    physics = problems.Gain(initial=1.0)
    model = physics_model(physics, terms(x=0.0, z=1.0))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    model.fit(z, x, epochs=60, verbose=0)
    assert float(physics.gain.numpy()) == pytest.approx(true_gain, rel=0.02)


@pytest.mark.slow
def test_masks_pass_and_those_of_the_input_do_not_spill():
    tokens = keras.Input((4,), dtype="int32")
    embedded = keras.layers.Embedding(5, 3, mask_zero=True)(tokens)
    pooled = keras.layers.LSTM(2)(embedded)
    layer = kp.PhysicsRegularization(lambda z, x: x, {"r": 0.1})
    model = kp.PhysicsModel(tokens, layer(embedded, pooled))
    model.compile("sgd", "mse")
    x = np.array([[1, 2, 0, 0], [3, 0, 0, 0]])
    loss = model.evaluate(x, np.zeros((2, 2)), verbose=0, return_dict=True)
    assert loss["data_loss"] == pytest.approx(np.mean(model.predict(x, verbose=0) ** 2), rel=1e-5)


@pytest.mark.slow
def test_zero_weight_in_a_plain_model_trains_as_the_bare_one():
    z, x = data()
    models = [
        physics_model(lambda z, x: ops.sqrt(-1 - x**2), {"r": 0.0}, model_class=keras.Model),
        bare_model(),
    ]
    for model in models:
        model.compile("adam", "mse")
        model.fit(z, x, epochs=2, shuffle=False, verbose=0)
    first, second = map(problems.trainable_values, models)
    assert arrays_equal(first, second)
