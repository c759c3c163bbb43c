"""`scale="auto"` is the standard deviation of the reference on the data of the first training."""

import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests.problems import arrays_equal, data, doubling
from tests.variants import slow_but

UNITS = np.array([1000.0, 1.0, 0.01])  # of three measurements


def measured(rows=40, seed=0):
    rng = np.random.default_rng(seed)
    z = (rng.normal(size=(rows, 3)) * UNITS).astype("float32")
    x = (z[:, :2] / 2 + rng.normal(size=(rows, 2)) * UNITS[:2]).astype("float32")
    return z, x


def auto_terms(scale="auto"):
    return [
        kp.PhysicsTerm("x", "target", weight=0.5, scale=scale),
        kp.PhysicsTerm("z", "input", components=[0, -2], weight=0.25, scale=scale),
    ]


def model(term_list=None, physics=doubling, model_class=kp.PhysicsModel, seed=0):
    keras.utils.set_random_seed(seed)
    z = keras.Input((3,))
    scaled = keras.layers.Rescaling(1 / UNITS)(z)
    x = keras.layers.Dense(2)(keras.layers.Dense(4, activation="tanh")(scaled))
    layer = kp.PhysicsRegularization(physics, term_list or auto_terms())
    made = model_class(z, layer(z, x))
    made.compile(keras.optimizers.SGD(1e-3), kp.ScaledLoss("mse", UNITS[:2]))
    return made


@keras.saving.register_keras_serializable(package="tests")
def one_column(z, x_pred):
    return {"x": z[:, :2] / 2, "z": 2 * x_pred[:, :1]}


def scales(model):
    return {term.name: term.scale for term in model.layers[-1].terms}


@pytest.mark.slow
def test_it_is_that_of_numpy_and_trains_as_numbers_do():
    z, x = measured()
    auto = model()
    history = auto.fit(z, x, epochs=3, batch_size=16, validation_split=0.25, verbose=0).history
    expected = {"x": x.std(axis=0), "z": z[:, :2].std(axis=0)}
    for name, scale in expected.items():
        np.testing.assert_allclose(scales(auto)[name], scale, rtol=1e-5)
    given = model(
        [
            kp.PhysicsTerm("x", "target", weight=0.5, scale=scales(auto)["x"]),
            kp.PhysicsTerm("z", "input", components=[0, -2], weight=0.25, scale=scales(auto)["z"]),
        ]
    )
    again = given.fit(z, x, epochs=3, batch_size=16, validation_split=0.25, verbose=0).history
    assert history == again
    assert arrays_equal(auto.get_weights(), given.get_weights())


def test_the_first_data_decide():
    z, x = measured()
    auto = model()
    auto.fit(z, x, verbose=0)
    first = scales(auto)
    auto.fit(10 * z, 10 * x, verbose=0)
    assert scales(auto) == first


def test_it_is_said_once(capsys):
    z, x = measured()
    terms = [kp.PhysicsTerm("z", "input", scale="auto"), kp.PhysicsTerm("x", scale=2.0)]
    auto = model(terms, lambda z, x: {"z": z, "x": x})
    auto.fit(z, x, verbose=2)
    auto.fit(z, x, verbose=2)
    lines = [line for line in capsys.readouterr().out.splitlines() if "Scale of" in line]
    numbers = ", ".join(f"{s:.4g}" for s in z.std(axis=0, dtype="float64"))
    assert lines == [
        f"Scale of physics term 'z': {numbers} (standard deviation of 'input' over 40 rows)"
    ]
    model().fit(z, x, verbose=0)
    assert "Scale" not in capsys.readouterr().out


class Half(keras.layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(shape=(), initializer=keras.initializers.Constant(0.5))

    def call(self, z):
        return self.factor * z


REFERENCES = {
    "one column": ((40, 1), float),
    "numbers": ((40,), float),
    "steps": ((40, 5, 2), tuple),
}


@pytest.mark.parametrize("kind", slow_but({"steps"}, REFERENCES))
def test_shapes(kind):
    shape, expected = REFERENCES[kind]
    z = np.random.default_rng(0).normal(size=shape, scale=7.0).astype("float32")
    inputs = keras.Input(shape[1:])
    term = kp.PhysicsTerm("z", "input", scale="auto")
    layer = kp.PhysicsRegularization(lambda z, x: x, [term])
    made = kp.PhysicsModel(inputs, layer(inputs, Half()(inputs)))
    made.compile(keras.optimizers.SGD(0.0), "mse")
    made.fit(z, z, verbose=0)
    (scale,) = scales(made).values()
    assert isinstance(scale, expected)
    columns = z.reshape(-1, z.shape[-1] if z.ndim > 1 else 1)
    np.testing.assert_allclose(np.atleast_1d(scale), columns.std(axis=0), rtol=1e-5)
    expected_loss = np.mean(((0.5 * z - z) / columns.std(axis=0)) ** 2)
    logs = made.evaluate(z, z, batch_size=40, verbose=0, return_dict=True)
    assert logs["z_loss"] == pytest.approx(expected_loss, rel=1e-5)


def test_part_of_a_structure_as_the_layer_gets_it():
    """The reference is the input of the physics layer, not that of the model."""
    z, x = measured()
    inputs = {"a": keras.Input((3,), name="a"), "b": keras.Input((2,), name="b")}
    doubled = {"a": keras.layers.Rescaling(2.0)(inputs["a"]), "b": inputs["b"]}
    term = kp.PhysicsTerm("z", "input.a", components=1, scale="auto")
    layer = kp.PhysicsRegularization(lambda z, x: x[:, :1], [term])
    made = kp.PhysicsModel(inputs, layer(doubled, keras.layers.Dense(2)(inputs["b"])))
    made.compile("sgd", "mse")
    made.fit({"a": z, "b": x}, x, verbose=0)
    assert scales(made)["z"] == pytest.approx(2 * z[:, 1].std(), rel=1e-5)


class Lazy(kp.PhysicsModel):
    def __init__(self, term_list):
        super().__init__()
        self.dense = keras.layers.Dense(2)
        self.drop = keras.layers.Dropout(0.5)
        self.known = kp.PhysicsRegularization(doubling, term_list)

    def call(self, z, training=None):
        return self.known(z, self.drop(self.dense(z), training=training))


@pytest.mark.slow
def test_a_subclassed_model_that_is_not_built():
    z, x = measured()

    def fitted(term_list):
        keras.utils.set_random_seed(1)
        made = Lazy(term_list)
        made.compile(keras.optimizers.SGD(1e-9), "mse")
        made.fit(z, x, verbose=0)
        return made

    auto = fitted(auto_terms())
    given = fitted(auto.known.terms)
    np.testing.assert_allclose(auto.known.terms[0].scale, x.std(axis=0), rtol=1e-5)
    assert arrays_equal(auto.get_weights(), given.get_weights())


def test_it_is_saved_with_the_model(tmp_path):
    z, x = measured()
    auto = model()
    assert kp.PhysicsTerm.from_config(auto.layers[-1].terms[0].get_config()).scale == "auto"
    auto.fit(z, x, verbose=0)
    auto.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert scales(loaded) == scales(auto)
    assert loaded.evaluate(z, x, verbose=0) == auto.evaluate(z, x, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", slow_but({"some.keras"}, ["some.weights.h5", "some.keras", "some.weights.json"])
)
def test_weights_files_have_it(name, tmp_path):
    """A model that is built anew, as KerasTuner does, gets it with the weights."""
    z, x = measured()
    auto = model(
        [*auto_terms()[:1], kp.PhysicsTerm("z", "input", components=0, scale="auto")], one_column
    )
    auto.fit(z, x, verbose=0)
    if name.endswith("keras"):
        auto.save(tmp_path / name)
    else:
        sharded = {"max_shard_size": 1e-7} if name.endswith("json") else {}
        auto.save_weights(tmp_path / name, **sharded)
    again = model(
        [*auto_terms()[:1], kp.PhysicsTerm("z", "input", components=0, scale="auto")], one_column
    )
    again.load_weights(tmp_path / name)
    assert scales(again) == scales(auto)
    assert isinstance(scales(again)["z"], float)
    assert again.evaluate(z, x, verbose=0) == auto.evaluate(z, x, verbose=0)
    given = model(
        [*auto_terms(3.0)[:1], kp.PhysicsTerm("z", "input", components=0, scale=2.0)], one_column
    )
    given.load_weights(tmp_path / name)
    assert scales(given) == {"x": 3.0, "z": 2.0}


@pytest.mark.parametrize("use", ["evaluate", "diagnose", "call", "fit of a plain model"])
def test_before_the_first_training_it_is_not_known(use):
    z, x = measured()
    terms = auto_terms()[1:]
    made = model(terms, lambda z, x: x, keras.Model if "plain" in use else kp.PhysicsModel)
    uses = {
        "evaluate": lambda: made.evaluate(z, x, verbose=0),
        "diagnose": lambda: kp.diagnose(made, z, x),
        "call": lambda: made(z),
        "fit of a plain model": lambda: made.fit(z, x, verbose=0),
    }
    if use == "diagnose" and keras.backend.backend() != "tensorflow":
        pytest.skip("needs TensorFlow")
    with pytest.raises(ValueError, match=r"`scale='auto'` of physics term 'z' is not known yet"):
        uses[use]()
    if "plain" not in use:  # A plain model computes its physics in `predict`, too.
        assert made.predict(z, verbose=0).shape == (40, 2)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_replicas_share_the_scale_of_all_rows(capsys):
    z, x = measured()
    auto = model()
    trainer = kp.ReplicaTrainer(auto, {"z": [0.0, 0.1]}, seeds=[1, 2])
    halves = [np.arange(20), np.arange(20, 40)]
    trainer.fit(z, x, rows=halves, validation_rows=halves[::-1], verbose=1)
    assert capsys.readouterr().out.count("Scale of physics term 'x'") == 1
    np.testing.assert_allclose(scales(auto)["x"], x.std(axis=0), rtol=1e-5)
    trainer.load_replica(1)
    np.testing.assert_allclose(scales(auto)["x"], x.std(axis=0), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_plain_model_gets_it_from_replicas():
    z, x = measured()
    made = model(auto_terms()[1:], lambda z, x: x, keras.Model)
    kp.ReplicaTrainer(made, {"z": [0.0, 1.0]}).fit(z, x, verbose=0)
    np.testing.assert_allclose(scales(made)["z"], z[:, :2].std(axis=0), rtol=1e-5)
    made.fit(z, x, verbose=0)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_sweep_uses_the_scale_of_all_labelled_rows():
    z, x = measured()
    auto = model()
    sweep = {"cv": 2, "repeats": 1, "seeds": 1, "weights": [0.1], "epochs": 2, "extend_to": 0}
    first = kp.sanity_sweep(auto, z, x, terms=["z"], verbose=0, **sweep)
    np.testing.assert_allclose(scales(auto)["x"], x.std(axis=0), rtol=1e-5)
    given = model(
        [
            kp.PhysicsTerm("x", "target", weight=0.5, scale=scales(auto)["x"]),
            kp.PhysicsTerm("z", "input", components=[0, 1], weight=0.25, scale=scales(auto)["z"]),
        ]
    )
    again = kp.sanity_sweep(given, z, x, terms=["z"], verbose=0, **sweep)
    found = [result.terms["z"].measured["score"] for result in (first, again)]
    np.testing.assert_array_equal(*found)


def with_value(value, row, column):
    z, x = measured()
    z[row, column] = value
    return z, x


CONSTANT = measured()[0] * [1.0, 0.0, 1.0] + [0.0, 0.1, 0.0]
BAD_DATA = {
    "NaN": (with_value(np.nan, 3, 1), r"'z' is .* 'input', which holds NaN or infinity in .*\[1\]"),
    "infinity": (with_value(np.inf, 3, 2), r"holds NaN or infinity in component\(s\) \[2\]"),
    "a constant": ((CONSTANT, measured()[1]), r"never changes in component\(s\) \[1\]"),
    "one row": (tuple(a[:1] for a in measured()), r"never changes in component\(s\) \[0, 1, 2\]"),
    "a generator": ((iter([measured()]), None), r"arrays in memory.*Received: x of type"),
    "lists": ((measured()[0].tolist(), measured()[1]), r"arrays in memory.*Received: x of type"),
}


@pytest.mark.parametrize("kind", BAD_DATA)
def test_bad_data(kind):
    (z, x), message = BAD_DATA[kind]
    made = model([kp.PhysicsTerm("z", "input", scale="auto")], lambda z, x: z)
    with pytest.raises(ValueError, match=message):
        made.fit(z, x, verbose=0)
    assert scales(made) == {"z": "auto"}


@pytest.mark.tensorflow
@pytest.mark.parametrize("how", ["fit", "replicas", "sweep"])
def test_terms_with_points_need_numbers(how):
    z, x = measured()
    made = model([kp.PhysicsTerm("z", "input", scale="auto")], {"z": lambda z, x: z})
    points = {"z": z}
    uses = {
        "fit": lambda: made.fit(z, x, points=points, verbose=0),
        "replicas": lambda: kp.ReplicaTrainer(made, {"z": [0.0]}).fit(z, x, points=points),
        "sweep": lambda: kp.sanity_sweep(made, z, x, points=points, epochs=1, verbose=0),
    }
    with pytest.raises(ValueError, match=r"'z' is the standard deviation .* evaluated on points"):
        uses[how]()


def test_a_dataset_is_refused():
    tf = pytest.importorskip("tensorflow")
    made = model()
    with pytest.raises(ValueError, match=r"arrays in memory.*Give numbers"):
        made.fit(tf.data.Dataset.from_tensor_slices(measured()).batch(8), verbose=0)


def test_a_constant_column_of_a_component_is_named_by_its_number():
    made = model([kp.PhysicsTerm("z", "input", components=[2, 1], scale="auto")])
    with pytest.raises(ValueError, match=r"never changes in component\(s\) \[1\]"):
        made.fit(CONSTANT, measured()[1], verbose=0)


def test_without_labels_there_is_no_deviation_of_the_label():
    made = model(auto_terms()[:1], lambda z, x: x)
    made.compile("sgd", None)
    with pytest.raises(ValueError, match=r"'x' is the standard deviation of the label, .*y=None"):
        made.fit(measured()[0], verbose=0)


def test_arrays_of_different_lengths_are_refused_by_keras_and_leave_no_scale():
    made = model()
    with pytest.raises(ValueError, match=r"number of samples|same.*size"):
        made.fit(measured()[0], measured()[1][:-3], verbose=0)
    assert scales(made) == {"x": "auto", "z": "auto"}


@pytest.mark.parametrize(
    ("reference", "has"), [(None, "is a residual"), ("prediction", "compares with the prediction")]
)
def test_terms_without_a_reference_of_their_own_are_refused(reference, has):
    with pytest.raises(ValueError, match=f"'r' is the standard deviation .* the term {has}"):
        kp.PhysicsTerm("r", reference, scale="auto")


@pytest.mark.slow
def test_layers_that_draw_random_numbers_are_left_as_they_were():
    def fitted(scale):
        keras.utils.set_random_seed(0)
        z = keras.Input((3,))
        drop = keras.layers.Dropout(0.5, seed=3)
        x = keras.layers.Dense(2)(drop(z, training=True))
        term = kp.PhysicsTerm("z", "input", components=[0, 1], scale=scale)
        made = kp.PhysicsModel(z, kp.PhysicsRegularization(lambda z, x: x, [term])(z, x))
        made.compile("sgd", "mse")
        made.fit(*data(), shuffle=False, verbose=0)
        return made

    auto = fitted("auto")
    given = fitted(scales(auto)["z"])
    assert arrays_equal(auto.get_weights(), given.get_weights())
