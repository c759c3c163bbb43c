import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from keras_physreg._utils.backend import tensorflow as tf
from tests import problems
from tests.problems import arrays_equal, bare_model, data, physics_model, terms, trainable_values
from tests.variants import slow_but

REWRITTEN_GRAPHS = True
EXECUTIONS = {
    "graph": {},
    "jit": {"jit_compile": True},
    "eager": {"run_eagerly": True},
    "several steps": {"steps_per_execution": 3},
}


def expected_losses(model, z, x, a=0.5, b=0.25, label_weight=1.0):
    """The losses by hand, in NumPy."""
    prediction = kp.strip_physics(model).predict(z, verbose=0)
    data_loss = np.mean(label_weight * np.mean((prediction - x) ** 2, axis=-1))
    x_loss = np.mean(label_weight * np.mean((z[:, :2] / 2 - x) ** 2, axis=-1))
    z_loss = np.mean((2 * prediction - z[:, :2]) ** 2)
    physics = a * x_loss + b * z_loss
    return {
        "loss": data_loss + physics,
        "data_loss": data_loss,
        "physics_loss": physics,
        "x_loss": x_loss,
        "z_loss": z_loss,
    }


@pytest.mark.parametrize("execution", slow_but({"graph"}, EXECUTIONS))
def test_evaluate_gives_the_losses_of_the_formula(execution):
    z, x = data(rows=37)
    model = physics_model()
    model.compile("sgd", "mse", **EXECUTIONS[execution])
    logs = model.evaluate(z, x, batch_size=8, verbose=0, return_dict=True)
    assert logs == pytest.approx(expected_losses(model, z, x), rel=1e-5)


@pytest.mark.tensorflow
@pytest.mark.parametrize("execution", slow_but({"graph", "jit"}, EXECUTIONS))
def test_training_follows_the_gradient_of_the_formula(execution):
    z, x = data(rows=24)
    model = physics_model()
    plain = kp.strip_physics(model)
    with tf.GradientTape() as tape:
        prediction = plain(z)
        total = ops.mean((prediction - x) ** 2)
        total += 0.25 * ops.mean((2 * prediction - z[:, :2]) ** 2)
    gradients = tape.gradient(total, plain.trainable_variables)
    expected = [
        v.numpy() - 0.1 * g.numpy()
        for v, g in zip(plain.trainable_variables, gradients, strict=True)
    ]
    model.compile(keras.optimizers.SGD(0.1), "mse", **EXECUTIONS[execution])
    model.fit(z, x, batch_size=24, epochs=1, verbose=0)
    for value, wanted in zip(trainable_values(model), expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-7)


LAYER = "a layer, not finite"
PHYSICS = {
    "finite": lambda: problems.doubling,
    "not finite": lambda: problems.not_finite,
    LAYER: problems.NotFiniteGain,
}
ZERO = [f"not finite; {execution}" for execution in ("graph", "eager", "several steps")]
ZERO += ["finite; jit", f"{LAYER}; graph", f"{LAYER}; jit"]
QUICK = {f"{LAYER}; graph"}


@pytest.mark.parametrize("kind", slow_but(QUICK, ZERO))
def test_weights_of_zero_train_bit_for_bit_as_the_bare_model(kind):
    z, x = data(rows=37)
    physics, execution = kind.split("; ")
    physics, options = PHYSICS[physics](), EXECUTIONS[execution]
    models = [physics_model(physics, terms(x=0, z=0)), bare_model()]
    histories = []
    for model in models:
        model.compile(keras.optimizers.Adam(0.01, global_clipnorm=1.0), "mse", **options)
        keras.utils.set_random_seed(1)
        histories.append(model.fit(z, x, epochs=3, batch_size=8, verbose=0).history)
    assert arrays_equal(trainable_values(models[0])[:4], trainable_values(models[1]))
    assert histories[0]["loss"] == histories[1]["loss"] == histories[0]["data_loss"]


@pytest.mark.slow
def test_under_jit_larger_networks_agree_up_to_rounding():
    """XLA rounds the gradient of the data differently where another, of zeros, joins it."""
    z, x = data(rows=37)
    models = []
    for with_physics in (True, False):
        keras.utils.set_random_seed(0)
        z_in = keras.Input((3,))
        hidden = keras.layers.Dense(64, activation="gelu")(z_in)
        x_pred = keras.layers.Dense(2)(keras.layers.Dense(64, activation="tanh")(hidden))
        if with_physics:
            layer = kp.PhysicsRegularization(problems.not_finite, terms(x=0, z=0))
            x_pred = layer(z_in, x_pred)
        models.append((kp.PhysicsModel if with_physics else keras.Model)(z_in, x_pred))
        models[-1].compile("adam", "mse", jit_compile=True)
        models[-1].fit(z, x, epochs=3, shuffle=False, verbose=0)
    for ours, bare in zip(*map(trainable_values, models), strict=True):
        np.testing.assert_allclose(ours, bare, rtol=1e-4, atol=1e-6)


def encoded(units, trainable=True):
    z_in = keras.Input((3,))
    hidden = keras.layers.Dense(2, activation="tanh", trainable=trainable)(z_in)
    return z_in, hidden, keras.layers.Dense(units)(hidden)


@pytest.mark.slow
def test_one_physics_layer_in_several_models():
    """Each model trains as with a layer of its own; the weights are shared."""
    shared = kp.PhysicsRegularization(lambda h, p: p - ops.tanh(h), {"r": 0.5})
    z, x = data()
    histories = []
    for own in (True, False):
        layers = [kp.PhysicsRegularization(shared.physics, {"r": 0.5}) for _ in range(3)]
        models = []
        for number, make in enumerate([kp.PhysicsModel, keras.Model, kp.PhysicsModel]):
            keras.utils.set_random_seed(number)
            z_in, hidden, x_pred = encoded(2)
            layer = layers[number] if own else shared
            given = z_in[:, :2] if number == 2 else hidden
            models.append(make(z_in, layer(given, x_pred)))
        for model in models:
            model.compile("adam", "mse")
        fits = [m.fit(z, x, shuffle=False, epochs=2, verbose=0).history for m in models]
        histories.append([history["loss"] for history in fits])
    assert histories[0] == pytest.approx(np.array(histories[1]), rel=1e-6)
    kp.set_term_weights(models[0], {"r": 2.0})
    assert all(kp.get_term_weights(model) == {"r": 2.0} for model in models)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("first", slow_but({"shielded"}, ["shielded", "plain"]))
def test_inputs_are_shielded_in_the_model_where_trainable_layers_compute_them(first):
    """Of one layer in two models: a shielded input is not the one the prediction came from."""

    def physics(h, p):
        slope = tf.gradients(p, h)[0]
        return ops.sqrt(h - 5) if slope is None else slope

    layer = kp.PhysicsRegularization(physics, {"r": 0.0})
    z, x = data()
    kinds = ["shielded", "plain"] if first == "shielded" else ["plain", "shielded"]
    models = {}
    for kind in kinds:
        keras.utils.set_random_seed(0)
        z_in, hidden, x_pred = encoded(2)
        models[kind] = kp.PhysicsModel(z_in, layer(hidden if kind == "shielded" else z_in, x_pred))
    keras.utils.set_random_seed(0)
    z_in, _, x_pred = encoded(2)
    bare = keras.Model(z_in, x_pred)
    for model in (*models.values(), bare):
        model.compile("adam", "mse")
    histories = {k: m.fit(z, x, shuffle=False, verbose=0).history for k, m in models.items()}
    bare.fit(z, x, shuffle=False, verbose=0)
    for model in models.values():
        assert arrays_equal(trainable_values(model), trainable_values(bare))
    assert np.isfinite(histories["plain"]["r_loss"]).all()  # The slope is there.
    assert np.isnan(histories["shielded"]["r_loss"]).all()


def test_a_layer_called_with_two_kinds_of_inputs_from_one_input():
    layer = kp.PhysicsRegularization(lambda h, p: p, {"r": 1.0})
    z_in, hidden, x_pred = encoded(2)
    on_hidden = kp.PhysicsModel(z_in, layer(hidden, x_pred))
    on_input = kp.PhysicsModel(z_in, layer(z_in, x_pred))
    frozen = encoded(2, trainable=False)
    on_frozen = kp.PhysicsModel(frozen[0], layer(frozen[1], frozen[2]))
    shielded = [bool(m.layers_with_shielded_inputs) for m in (on_hidden, on_input, on_frozen)]
    assert shielded == [True, False, False]


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("reference", slow_but({"prediction"}, ["input", "prediction"]))
def test_weight_zero_shields_inputs_that_trainable_layers_compute(reference):
    z, x = data()
    models = []
    for with_physics in (True, False):
        keras.utils.set_random_seed(0)
        z_in = keras.Input((3,))
        hidden = keras.layers.Dense(2, activation="tanh")(z_in)
        x_pred = keras.layers.Dense(2)(hidden)
        if with_physics:
            term = kp.PhysicsTerm("t", reference, weight=0.0)
            physics = kp.PhysicsRegularization(lambda h, p: ops.sqrt(h - 5) * p, [term])
            x_pred = physics(hidden, x_pred)
        models.append((kp.PhysicsModel if with_physics else keras.Model)(z_in, x_pred))
        models[-1].compile("adam", "mse")
        models[-1].fit(z, x, shuffle=False, verbose=0)
    assert arrays_equal(*map(trainable_values, models))


@pytest.mark.slow
def test_outputs_keep_the_names_of_the_layers_that_made_them(tmp_path):
    z = keras.Input((3,))
    outputs = [keras.layers.Dense(2, name="p")(z), keras.layers.Dense(1, name="q")(z)]
    layer = kp.PhysicsRegularization(lambda z, x: x[1], {"r": 0.5})
    model = kp.PhysicsModel(z, layer(z, outputs))
    assert list(model.output_names) == ["p", "q"]
    inputs, labels = data()
    for loss in ["mse", ["mse", "mae"], {"p": "mse", "q": "mse"}]:
        model.compile("sgd", loss)
        history = model.fit(inputs, [labels, labels[:, :1]], verbose=0).history
        assert {"p_loss", "q_loss", "r_loss"} <= set(history)
    encoder = problems.bare_model()
    regularized = kp.regularize(encoder, problems.residual, {"r": 1.0})
    assert list(regularized.output_names) == list(encoder.output_names)


def test_a_model_whose_physics_layer_leads_nowhere_is_told():
    z, x_pred = problems.tensors()
    kp.PhysicsRegularization(problems.residual, {"r": 1.0})(z, x_pred)
    with pytest.warns(
        UserWarning, match="Make the result of the `PhysicsRegularization` layer an output"
    ):
        kp.PhysicsModel(z, x_pred)


@pytest.mark.tensorflow
def test_only_the_last_call_in_a_step_counts():
    class Twice(kp.PhysicsModel):
        def train_step(self, data):
            x, y = data
            self(0 * x, training=True)
            with tf.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return self.get_metrics_result()

    z, x = data()
    model = physics_model(model_class=Twice)
    expected = expected_losses(model, z, x)
    model.compile("sgd", "mse")
    history = model.fit(z, x, batch_size=20, verbose=0).history
    assert history["z_loss"][0] == pytest.approx(expected["z_loss"], rel=1e-5)


@pytest.mark.slow
def test_a_single_term_of_weight_zero_that_is_not_finite_leaves_the_others_alone():
    @keras.saving.register_keras_serializable(package="tests")
    def half_finite(z, x_pred):
        return {"x": ops.log(ops.zeros_like(x_pred)), "z": 2 * x_pred}

    z, x = data()
    models = [physics_model(half_finite, terms(x=0)), physics_model(term_list=terms(x=0))]
    for model in models:
        model.compile("adam", "mse")
        model.fit(z, x, shuffle=False, verbose=0)
    assert arrays_equal(trainable_values(models[0]), trainable_values(models[1]))


@pytest.mark.parametrize("scale", slow_but({1e8}, [1e-8, 1e8]))
def test_data_loss_is_exact_however_large_the_physics(scale):
    z, x = data()
    model = physics_model(term_list=terms(x=scale, z=scale))
    model.compile("sgd", "mse")
    logs = model.evaluate(z, x, batch_size=20, verbose=0, return_dict=True)
    bare = kp.strip_physics(model)
    bare.compile("sgd", "mse")
    assert logs["data_loss"] == bare.evaluate(z, x, batch_size=20, verbose=0)
    expected = scale * (logs["x_loss"] + logs["z_loss"])
    assert logs["physics_loss"] == pytest.approx(expected, rel=1e-6)


def test_regularizers_count_in_the_loss_but_not_in_data_loss():
    z_in = keras.Input((3,))
    x_pred = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5))(z_in)
    layer = kp.PhysicsRegularization(problems.doubling, terms())
    model = kp.PhysicsModel(z_in, layer(z_in, x_pred))
    model.compile("sgd", "mse")
    z, x = data()
    logs = model.evaluate(z, x, verbose=0, return_dict=True)
    kernel = model.layers[1].kernel.numpy()
    extra = logs["loss"] - logs["data_loss"] - logs["physics_loss"]
    assert extra == pytest.approx(0.5 * np.sum(kernel**2), rel=1e-5)


def test_sample_weight_weighs_labels_only():
    z, x = data()
    trust = np.linspace(0, 2, len(z)).astype("float32")
    model = physics_model()
    model.compile("sgd", "mse")
    logs = model.evaluate(z, x, sample_weight=trust, verbose=0, return_dict=True, batch_size=20)
    assert logs == pytest.approx(expected_losses(model, z, x, label_weight=trust), rel=1e-5)


def test_class_weight_weighs_labels_only():
    z = data()[0]
    labels = (z[:, :1] > 0).astype("float32")
    z_in = keras.Input((3,))
    layer = kp.PhysicsRegularization(
        lambda z, x: {"x": x, "free": x},
        [kp.PhysicsTerm("x", "target", weight=0.0), kp.PhysicsTerm("free", weight=0.0)],
    )
    model = kp.PhysicsModel(z_in, layer(z_in, keras.layers.Dense(1)(z_in)))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    logs = model.fit(z, labels, class_weight={0: 0.0, 1: 2.0}, batch_size=20, verbose=0).history
    prediction = model.predict(z, verbose=0)
    weighted = np.mean(np.where(labels == 1, 2.0, 0.0) * (prediction - labels) ** 2)
    assert logs["x_loss"][0] == pytest.approx(weighted, rel=1e-5)
    assert logs["data_loss"][0] == pytest.approx(weighted, rel=1e-5)
    assert logs["free_loss"][0] == pytest.approx(np.mean(prediction**2), rel=1e-5)


@pytest.mark.parametrize(
    "make",
    slow_but({physics_model}, [physics_model, problems.Subclassed]),
    ids=["functional", "subclassed"],
)
def test_loss_none_trains_on_the_physics_alone(make):
    z, x = data(rows=64)
    model = make()
    model.compile(keras.optimizers.Adam(0.05), loss=None)
    history = model.fit(z, x, epochs=5, verbose=0).history
    assert "data_loss" not in history
    assert history["loss"] == pytest.approx(history["physics_loss"])
    assert history["z_loss"][-1] < 0.9 * history["z_loss"][0]


@pytest.mark.tensorflow
def test_predict_and_export_skip_the_physics(tmp_path):
    calls = []

    def counted(z, x_pred):
        calls.append(1)
        return {"x": z[:, :2] / 2, "z": 2 * x_pred}

    z, _ = data()
    model = physics_model(counted)
    expected = kp.strip_physics(model).predict(z, verbose=0)
    np.testing.assert_array_equal(model.predict(z, verbose=0), expected)
    model.export(tmp_path / "served", verbose=0)
    assert not calls
    loaded = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(loaded.serve(z), expected, rtol=1e-6)


def test_train_on_batch_and_test_on_batch():
    z, x = data()
    model = physics_model()
    model.compile("sgd", "mse")
    expected = expected_losses(model, z, x)
    assert model.test_on_batch(z, x, return_dict=True) == pytest.approx(expected, rel=1e-5)
    model.reset_metrics()
    assert model.train_on_batch(z, x, return_dict=True) == pytest.approx(expected, rel=1e-5)


@pytest.mark.tensorflow
def test_dataset_input_with_a_ragged_last_batch():
    z, x = data(rows=37)
    model = physics_model()
    model.compile("sgd", "mse")
    dataset = tf.data.Dataset.from_tensor_slices((z, x)).batch(16)
    logs = model.evaluate(dataset, verbose=0, return_dict=True)
    assert logs == pytest.approx(expected_losses(model, z, x), rel=1e-5)


def test_subclassed_model_trains_saves_and_reloads(tmp_path):
    z, x = data()
    model = problems.Subclassed()
    model.compile("adam", "mse")
    history = model.fit(z, x, validation_data=(z, x), verbose=0).history
    assert {"data_loss", "physics_loss", "val_x_loss", "val_data_loss"} <= set(history)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.predict(z, verbose=0), loaded.predict(z, verbose=0))


@pytest.mark.slow
def test_subclassing_works_after_functional_models_were_built():
    class Encoder(kp.PhysicsModel):
        """Built functionally from within."""

        def __init__(self, width):
            z = keras.Input((3,))
            x_pred = keras.layers.Dense(width)(z)
            layer = kp.PhysicsRegularization(problems.residual, {"r": 1.0})
            super().__init__(z, layer(z, x_pred))

    z, x = data()
    for model in [physics_model(), Encoder(2), problems.Subclassed()]:
        model.compile("sgd", "mse")
        assert "physics_loss" in model.fit(z, x, verbose=0).history
        assert isinstance(model, kp.PhysicsModel)
    assert isinstance(Encoder(2), Encoder)


@pytest.mark.tensorflow
def test_own_train_step_gets_the_labels_too():
    class Own(kp.PhysicsModel):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return self.get_metrics_result()

    z, x = data()
    model = physics_model(model_class=Own)
    expected = expected_losses(model, z, x)
    model.compile("sgd", "mse")
    history = model.fit(z, x, batch_size=20, verbose=0).history
    assert history["x_loss"][0] == pytest.approx(expected["x_loss"], rel=1e-5)
    assert history["data_loss"][0] == pytest.approx(expected["data_loss"], rel=1e-5)


def test_calling_the_model_leaves_terms_that_need_labels_out():
    model = physics_model()
    z, _ = data()
    prediction = model(z)
    assert len(model.losses) == 1
    expected = 0.25 * np.mean((2 * ops.convert_to_numpy(prediction) - z[:, :2]) ** 2)
    assert float(model.losses[0]) == pytest.approx(expected, rel=1e-5)


def test_nested_models_train_their_physics():
    z, x = data()
    inner = physics_model()
    outer_input = keras.Input((3,))
    outer = kp.PhysicsModel(outer_input, inner(outer_input))
    outer.compile("sgd", "mse")
    logs = outer.evaluate(z, x, verbose=0, return_dict=True, batch_size=20)
    assert logs == pytest.approx(expected_losses(inner, z, x), rel=1e-5)


def test_structured_inputs_and_several_outputs():
    pressure, flow = keras.Input((2,), name="pressure"), keras.Input((1,), name="flow")
    both = keras.layers.Concatenate()([pressure, flow])
    outputs = {
        "p": keras.layers.Dense(2, name="p")(both),
        "q": keras.layers.Dense(1, name="q")(both),
    }

    def physics(inputs, prediction):
        return (
            prediction["p"] * 2,
            prediction["q"][:, 0],
            ops.concatenate([prediction["p"], prediction["q"]], -1) * 0 + 1,
        )

    term_list = [
        kp.PhysicsTerm("press", "input.pressure", weight=0.1),
        kp.PhysicsTerm("flux", None, loss="mae"),
        kp.PhysicsTerm("label", "target.p", components=[1], weight=0.0),
    ]

    def physics_with_label(inputs, prediction):
        press, flux, ones = physics(inputs, prediction)
        return press, flux, ones[:, :1]

    layer = kp.PhysicsRegularization(physics_with_label, term_list)
    inputs = {"pressure": pressure, "flow": flow}
    model = kp.PhysicsModel(inputs, layer(inputs, outputs))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x = {"pressure": rng.normal(size=(16, 2)), "flow": rng.normal(size=(16, 1))}
    y = {"p": rng.normal(size=(16, 2)), "q": rng.normal(size=(16, 1))}
    logs = model.evaluate(x, y, verbose=0, return_dict=True, batch_size=16)
    prediction = model.predict(x, verbose=0)
    expected = {
        "press_loss": np.mean((2 * prediction["p"] - x["pressure"]) ** 2),
        "flux_loss": np.mean(np.abs(prediction["q"])),
        "label_loss": np.mean((1 - y["p"][:, 1]) ** 2),
    }
    assert {key: logs[key] for key in expected} == pytest.approx(expected, rel=1e-5)
    data_loss = sum(np.mean((prediction[k] - y[k]) ** 2) for k in "pq")
    assert logs["data_loss"] == pytest.approx(data_loss, rel=1e-5)


def test_sample_weights_by_output_follow_the_reference():
    z_in = keras.Input((3,))
    outputs = {
        "a": keras.layers.Dense(2, name="a")(z_in),
        "b": keras.layers.Dense(1, name="b")(z_in),
    }
    layer = kp.PhysicsRegularization(
        lambda z, x: x["b"], [kp.PhysicsTerm("b_again", "target.b", weight=0.5)]
    )
    model = kp.PhysicsModel(z_in, layer(z_in, outputs))
    model.compile("sgd", "mse")
    z, y = data()
    trust = np.linspace(0, 1, len(z)).astype("float32")
    weights = {"a": np.ones_like(trust), "b": trust}
    labels = {"a": y, "b": y[:, :1]}
    logs = model.evaluate(
        z, labels, sample_weight=weights, verbose=0, return_dict=True, batch_size=20
    )
    prediction = model.predict(z, verbose=0)["b"]
    expected = np.mean(trust * np.mean((prediction - y[:, :1]) ** 2, -1))
    assert logs["b_again_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_several_physics_layers_in_any_order_of_terms():
    z, x = data()
    logs = []
    for order in [1, -1]:
        z_in, x_pred = problems.tensors()
        for term in terms()[::order]:
            physics = {"x": lambda z, x: z[:, :2] / 2, "z": lambda z, x: 2 * x}[term.name]
            x_pred = kp.PhysicsRegularization(physics, [term])(z_in, x_pred)
        model = kp.PhysicsModel(z_in, x_pred)
        model.compile("sgd", "mse")
        logs.append(model.evaluate(z, x, verbose=0, return_dict=True, batch_size=20))
    assert logs[0] == pytest.approx(logs[1], rel=1e-6)
    assert logs[0] == pytest.approx(expected_losses(model, z, x), rel=1e-5)


def test_the_total_is_linear_in_the_weight():
    z, x = data()
    model = physics_model(term_list=terms(x=1.0, z=0))
    model.compile("sgd", "mse")
    for factor in (1.0, 0.0, 1e-10, 1e6):
        kp.set_term_weights(model, {"x": factor})
        logs = model.evaluate(z, x, verbose=0, return_dict=True, batch_size=20)
        assert logs["physics_loss"] == pytest.approx(factor * logs["x_loss"], rel=1e-6)
        assert logs["loss"] == pytest.approx(logs["data_loss"] + logs["physics_loss"], rel=1e-6)


@pytest.mark.tensorflow
def test_physics_that_differentiates_the_prediction_by_the_input():
    """The shield must not touch derivatives inside the physics, at weight 0 either."""
    seen = []
    for weight in [0.0, 0.5]:
        z_in, x_pred = problems.tensors()
        layer = kp.PhysicsRegularization(
            lambda z, x: tf.gradients(x[:, 0], z)[0], {"slope": weight}
        )
        model = kp.PhysicsModel(z_in, layer(z_in, x_pred))
        model.compile("sgd", "mse")
        seen.append(model.evaluate(*data(), verbose=0, return_dict=True)["slope_loss"])
    assert seen[0] == pytest.approx(seen[1], rel=1e-6)
    assert seen[0] > 0
