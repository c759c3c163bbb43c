import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.diagnosis.gradients import GradientMeter, gradients
from keras_physreg.diagnosis.probe_rows import choose_rows
from tests.diagnosis.linear import closed_form, data, linear_model
from tests.variants import slow_but

DOUBLE = [kp.PhysicsTerm("double", weight=0.3)]


def double(z, x):
    return {"double": x - 2 * z[:, :2]}


@pytest.mark.parametrize("cls", [kp.PhysicsModel, keras.Model])
@pytest.mark.parametrize("batch_size", slow_but({32}, [7, 32, 70, 1000]))
def test_linear_model_closed_form(cls, batch_size):
    z, x = data()
    model = linear_model(double, DOUBLE, cls)
    found = gradients(model, z, x, batch_size=batch_size)
    _, by_data = closed_form(model, z, x)
    _, by_term = closed_form(model, z, 2 * z[:, :2])
    both = np.stack([by_data, by_term])
    assert found.names == ("data", "double")
    np.testing.assert_allclose(found.gramian, both @ both.T, rtol=1e-5)
    np.testing.assert_allclose(found.norm("double"), np.linalg.norm(by_term), rtol=1e-5)
    cosine = by_data @ by_term / np.linalg.norm(by_data) / np.linalg.norm(by_term)
    np.testing.assert_allclose(found.cosine("data", "double"), cosine, rtol=1e-5)
    kernel, bias = found.variables
    np.testing.assert_allclose(found.norm("data", kernel), np.linalg.norm(by_data[:6]), rtol=1e-5)
    np.testing.assert_allclose(found.norm("data", bias), np.linalg.norm(by_data[6:]), rtol=1e-5)
    part = by_data[:6] @ by_term[:6] / np.linalg.norm(by_data[:6]) / np.linalg.norm(by_term[:6])
    np.testing.assert_allclose(found.cosine("data", "double", kernel), part, rtol=1e-5)


def test_sample_weights_weigh_data_and_leave_label_free_terms_alone():
    z, x = data()
    weights = np.random.default_rng(2).uniform(0, 2, len(z))
    model = linear_model(double, DOUBLE)
    found = gradients(model, z, x, weights)
    _, by_data = closed_form(model, z, x, weights)
    _, by_term = closed_form(model, z, 2 * z[:, :2])
    np.testing.assert_allclose(found.norm("data"), np.linalg.norm(by_data), rtol=1e-5)
    np.testing.assert_allclose(found.norm("double"), np.linalg.norm(by_term), rtol=1e-5)


@pytest.mark.parametrize("weight", slow_but({0.0, 1e10}, [0.0, 1e-10, 1.0, 1e10]))
def test_gradient_is_that_of_the_unweighted_loss(weight):
    z, x = data()
    model = linear_model(double, [kp.PhysicsTerm("double", weight=weight)])
    _, by_term = closed_form(model, z, 2 * z[:, :2])
    found = gradients(model, z, x)
    np.testing.assert_allclose(found.norm("double"), np.linalg.norm(by_term), rtol=1e-5)


@keras.saving.register_keras_serializable(package="test_gradients")
class Scaled(keras.layers.Layer):
    def build(self, *shapes):
        self.factor = self.add_weight(name="factor", shape=(), initializer="ones")

    def call(self, z, x):
        return {"double": x - self.factor * z[:, :2]}


def test_physics_layer_at_weight_0_shows_the_gradient_of_its_constant():
    z, x = data()
    model = linear_model(Scaled(), [kp.PhysicsTerm("double", weight=0.0)])
    found = gradients(model, z, x)
    (factor,) = (path for path in found.variables if path.endswith("factor"))
    kernel, bias = (v.numpy() for v in model.trainable_variables[:2])
    residual = z @ kernel + bias - z[:, :2]
    expected = abs(np.mean(-2 * residual * z[:, :2]))
    np.testing.assert_allclose(found.norm("double", factor), expected, rtol=1e-5)
    assert found.connected["double"] == (True, True, True)


def test_gramian_scales_with_the_square_of_a_loss_and_ignores_term_order():
    z, x = data()

    def two(z, x):
        return {"a": x[:, 0] - z[:, 0], "b": x[:, 1] + z[:, 1]}

    def scaled(z, x):
        return {name: 3 * value for name, value in two(z, x).items()}

    ab = gradients(linear_model(two, {"a": 1.0, "b": 1.0}), z, x).gramian
    ba = gradients(linear_model(two, {"b": 1.0, "a": 1.0}), z, x).gramian
    nine = gradients(linear_model(scaled, {"a": 1.0, "b": 1.0}), z, x).gramian
    order = [0, 2, 1]
    np.testing.assert_allclose(ab, ba[np.ix_(order, order)], rtol=1e-5, atol=1e-6)
    factors = np.array([1.0, 9.0, 9.0])
    np.testing.assert_allclose(nine, ab * np.outer(factors, factors), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_data_loss_leaves_regularizers_out():
    z, x = data()
    plain = gradients(linear_model(double, DOUBLE, keras.Model), z, x)
    for cls in (keras.Model, kp.PhysicsModel):
        model = linear_model(
            double, DOUBLE, cls, kernel_regularizer="l2", activity_regularizer="l2"
        )
        np.testing.assert_allclose(gradients(model, z, x).gramian, plain.gramian, rtol=1e-5)


def test_unconnected_gradients_are_none_and_not_zero():
    def physics(z, x):
        return {"free": x, "stopped": keras.ops.stop_gradient(x), "input": z, "zero": 0 * x}

    z, x = data()
    terms = {"free": 1.0, "stopped": 1.0, "input": 1.0, "zero": 1.0}
    found = gradients(linear_model(physics, terms), z, x)
    assert found.connected["free"] == found.connected["zero"] == (True, True)
    assert found.connected["stopped"] == found.connected["input"] == (False, False)
    assert found.norm("stopped") is None
    assert found.cosine("data", "stopped") is None
    assert found.norm("zero") == 0.0
    assert found.cosine("data", "zero") is None
    assert found.cut_before == frozenset()


def test_embedding_gradients_are_summed_by_row():
    keras.utils.set_random_seed(0)
    tokens = keras.Input((4,), dtype="int32")
    x = keras.ops.mean(keras.layers.Embedding(9, 2)(tokens), axis=1)
    model = kp.PhysicsModel(
        tokens, kp.PhysicsRegularization(lambda z, x: x - 1, {"one": 1.0})(tokens, x)
    )
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    z = rng.integers(0, 9, (20, 4)).astype("int32")
    found = gradients(model, z, np.zeros((20, 2), "float32"), batch_size=6)
    counts = np.stack([np.bincount(row, minlength=9) for row in z]) / 4
    residual = counts @ model.trainable_variables[0].numpy() - 1
    expected = np.linalg.norm(counts.T @ residual * 2 / residual.size)
    np.testing.assert_allclose(found.norm("one"), expected, rtol=1e-5)


def test_without_labels_or_loss_there_is_no_data_gradient():
    z, x = data()
    model = linear_model(double, DOUBLE)
    assert gradients(model, z).norm("data") is None
    model = linear_model(double, DOUBLE, loss=None)
    assert gradients(model, z, x).norm("data") is None
    assert gradients(model, z, x).norm("double") > 0


def test_measure_equals_update_and_result():
    z, x = data()
    model = linear_model(double, DOUBLE)
    (batch,) = choose_rows(z, x).batches(len(z))
    at_once = GradientMeter(model).measure(batch)
    np.testing.assert_allclose(at_once.gramian, gradients(model, z, x).gramian, rtol=1e-5)
    assert at_once.connected == {"data": (True, True), "double": (True, True)}


def test_a_meter_follows_the_model_as_it_trains():
    z, x = data()
    model = linear_model(double, DOUBLE)
    meter = GradientMeter(model)
    (batch,) = choose_rows(z, x).batches(len(z))
    before = meter.measure(batch).norm("data")
    model.fit(z, x, epochs=3, verbose=0)
    after = meter.measure(batch).norm("data")
    assert after != before
    np.testing.assert_allclose(after, gradients(model, z, x).norm("data"), rtol=1e-5)


@pytest.mark.parametrize("policy", slow_but({"mixed_float16"}, ["mixed_float16", "mixed_bfloat16"]))
def test_mixed_precision(policy):
    z, x = data()
    full = gradients(linear_model(double, DOUBLE), z, x)
    mixed = gradients(linear_model(double, DOUBLE, dtype=policy), z, x)
    np.testing.assert_allclose(mixed.gramian, full.gramian, rtol=0.05)


@pytest.mark.slow
def test_training_turns_dropout_on_and_draws_anew_for_each_batch():
    keras.utils.set_random_seed(0)
    z = keras.Input((50,))
    x = keras.layers.Dense(1)(keras.layers.Dropout(0.5)(z))
    layer = kp.PhysicsRegularization(lambda z, x: x - 1, {"one": 1.0})
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile("sgd", "mse")
    rows = np.ones((2, 50), "float32"), np.zeros((2, 1), "float32")
    quiet = GradientMeter(model, in_full=True)
    noisy = GradientMeter(model, training=True, in_full=True)
    batches = [*choose_rows(*rows).batches(1)]
    still = [quiet.update(batch)["losses"]["data"] for batch in batches]
    moving = [noisy.update(batch)["losses"]["data"] for batch in batches]
    assert still[0] == still[1]
    assert moving[0] != moving[1]
    noisy.reset()
    assert noisy.update(batches[0])["losses"]["data"] == moving[0]


def test_run_eagerly_gives_the_same():
    z, x = data()
    model = linear_model(double, DOUBLE)
    compiled = gradients(model, z, x).gramian
    model.compile("sgd", "mse", run_eagerly=True)
    np.testing.assert_allclose(gradients(model, z, x).gramian, compiled, rtol=1e-5)


@pytest.mark.slow
def test_a_model_made_under_a_distribution_strategy():
    import tensorflow as tf

    z, x = data()
    plain = gradients(linear_model(double, DOUBLE), z, x)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = linear_model(double, DOUBLE)
    np.testing.assert_allclose(gradients(model, z, x).gramian, plain.gramian, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_masked_losses_and_sequences_are_those_of_keras(dtype):
    keras.config.set_floatx(dtype)
    z = keras.Input((5, 3))
    h = keras.layers.Masking()(z)
    x = keras.layers.Dense(2)(keras.layers.GRU(4, return_sequences=True)(h))
    layer = kp.PhysicsRegularization(lambda z, x: x - z[..., :2], {"t": 0.5})
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20, 5, 3)), rng.normal(size=(20, 5, 2))
    rows[0][:, 3:] = 0.0
    logs = model.evaluate(*rows, verbose=0, return_dict=True)
    report = kp.diagnose(model, *rows)
    np.testing.assert_allclose(report.data_loss, logs["data_loss"], rtol=1e-5)
    np.testing.assert_allclose(report["t"].loss, logs["t_loss"], rtol=1e-5)
    assert len(report["t"].bias) == 2
    assert report["t"].reached == 5
