import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests.diagnosis.linear import closed_form, data, linear_model
from tests.variants import slow_but

KEYS = [
    "term",
    "loss",
    "weight",
    "floor",
    "val_loss",
    "val_floor",
    "val_network",
    "unlabelled_loss",
    "bias",
    "grad_norm",
    "grad_ratio",
    "grad_cosine",
    "reached",
    "trainable",
    "finite",
]


def both(z, x):
    return {"double": x - 2 * z[:, :2], "label": 0.5 * x + z[:, 1:]}


TERMS = [kp.PhysicsTerm("double", weight=0.3), kp.PhysicsTerm("label", "target", weight=0.0)]


@pytest.mark.parametrize("cls", slow_but({kp.PhysicsModel}, [kp.PhysicsModel, keras.Model]))
def test_every_number_of_the_table_in_closed_form(cls):
    z, x = data()
    z_val, x_val = data(40, seed=1)
    model = linear_model(lambda z, x: both(z, x)["double"], TERMS[:1], cls)
    report = kp.diagnose(model, z, x, validation_data=(z_val, x_val))
    data_loss, by_data = closed_form(model, z, x)
    loss, by_term = closed_form(model, z, 2 * z[:, :2])
    residual = (x - 2 * z[:, :2]).astype("float64")
    residual_val = x_val - 2 * z_val[:, :2]
    row = report["double"]
    norms = np.linalg.norm(by_data), np.linalg.norm(by_term)
    expected = {
        "loss": loss,
        "weighted_loss": 0.3 * loss,
        "weight": 0.3,
        "floor": np.mean(residual**2),
        "val_loss": closed_form(model, z_val, 2 * z_val[:, :2])[0],
        "val_floor": np.mean(residual_val**2),
        "bias": residual.mean(axis=0) / residual.std(axis=0),
        "grad_norm": norms[1],
        "grad_ratio": 0.3 * norms[1] / norms[0],
        "grad_cosine": by_data @ by_term / norms[0] / norms[1],
        "reached": 2,
        "trainable": 2,
        "finite": True,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(row, name), value, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(report.data_loss, data_loss, rtol=1e-5)
    np.testing.assert_allclose(report.data_grad_norm, norms[0], rtol=1e-5)
    np.testing.assert_allclose(
        row.labels.median, np.median(np.mean(residual**2, axis=1)), rtol=1e-5
    )
    np.testing.assert_allclose(row.labels.mean, residual.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(row.labels.sd, residual.std(axis=0), rtol=1e-5)


def test_target_term_in_closed_form():
    z, x = data()
    model = linear_model(both, TERMS)
    row = kp.diagnose(model, z, x, batch_size=9)["label"]
    kernel, bias = (v.numpy() for v in model.trainable_variables)
    residual = 0.5 * (z @ kernel + bias) + z[:, 1:] - x
    by_kernel = z.T @ residual * 0.5 * 2 / residual.size
    by_bias = residual.sum(axis=0) * 0.5 * 2 / residual.size
    norm = np.sqrt(np.sum(by_kernel**2) + np.sum(by_bias**2))
    floor = np.mean((z[:, 1:] - 0.5 * x) ** 2)
    np.testing.assert_allclose((row.loss, row.grad_norm), (np.mean(residual**2), norm), rtol=1e-5)
    np.testing.assert_allclose(row.floor, floor, rtol=1e-5)
    assert (row.weight, row.weighted_loss, row.grad_ratio) == (0.0, 0.0, 0.0)


@pytest.mark.slow
def test_losses_are_those_that_keras_logs():
    z, x = data()
    model = linear_model(both, TERMS)
    logs = model.evaluate(z, x, batch_size=32, verbose=0, return_dict=True)
    report = kp.diagnose(model, z, x)
    np.testing.assert_allclose(report.data_loss, logs["data_loss"], rtol=1e-5)
    np.testing.assert_allclose(report["double"].loss, logs["double_loss"], rtol=1e-5)
    np.testing.assert_allclose(report["label"].loss, logs["label_loss"], rtol=1e-5)


@pytest.mark.slow
def test_to_dict_is_plain():
    z, x = data()
    report = kp.diagnose(linear_model(both, TERMS), z, x)
    found = json.loads(json.dumps(report.to_dict()))
    assert [list(row) for row in found["terms"]] == [KEYS, KEYS]
    assert found["terms"][0]["val_loss"] is None
    assert len(found["terms"][0]["bias"]) == 2
    assert found["names"] == ["data", "double", "label"]
    assert np.shape(found["gramian"]) == (3, 3)
    assert found["thresholds"] == dataclasses.asdict(kp.Thresholds())
    types = (str, float, int, bool, list, type(None))
    assert all(type(value) in types for row in report.to_dict()["terms"] for value in row.values())


@pytest.mark.slow
def test_to_dict_holds_no_number_that_json_does_not_know():
    z, x = data()
    z[3] = np.nan
    found = kp.diagnose(linear_model(both, TERMS), z, x).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["terms"][0]["loss"], found["terms"][0]["finite"]) == (None, False)
    assert found["gramian"][1][1] is None


def test_bias_is_a_number_for_outputs_of_one_component():
    z, x = data()
    report = kp.diagnose(linear_model(lambda z, x: x[:, 0] - z[:, 0], {"one": 1.0}), z, x)
    residual = x[:, 0] - z[:, 0]
    np.testing.assert_allclose(report["one"].bias, residual.mean() / residual.std(), rtol=1e-4)


def test_rows_without_trust_are_left_out_of_floor_and_bias():
    z, x = data()
    weights = np.where(np.arange(len(z)) < 30, 1.0, 0.0)
    wrong = np.where(weights[:, None] > 0, x, 1e6).astype("float32")
    model = linear_model(both, TERMS)
    row = kp.diagnose(model, z, wrong, weights)["double"]
    residual = (x - 2 * z[:, :2])[:30]
    np.testing.assert_allclose(row.floor, np.mean(residual**2), rtol=1e-5)
    np.testing.assert_allclose(row.labels.mean, residual.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(row.loss, closed_form(model, z, 2 * z[:, :2])[0], rtol=1e-5)


@pytest.mark.slow
def test_max_samples_takes_the_same_rows_each_time():
    z, x = data(500)
    model = linear_model(both, TERMS)
    some = [kp.diagnose(model, z, x, max_samples=50).to_dict() for _ in range(2)]
    assert some[0] == some[1]
    assert some[0]["rows"] == 50
    assert some[0]["data_loss"] != kp.diagnose(model, z, x).data_loss


@pytest.mark.slow
def test_datasets():
    import tensorflow as tf

    z, x = data()
    model = linear_model(both, TERMS)
    arrays = kp.diagnose(model, z, x, validation_data=(z, x))
    dataset = tf.data.Dataset.from_tensor_slices((z, x)).batch(16)
    same = kp.diagnose(model, dataset, validation_data=dataset)
    np.testing.assert_allclose(same.gradients.gramian, arrays.gradients.gramian, rtol=1e-6)
    assert same["double"].val_loss == arrays["double"].val_loss
    assert kp.diagnose(model, dataset.repeat(), max_samples=20).rows == 20


def test_endpoint_model_takes_its_floor_from_the_targets():
    z, x = data()
    keras.utils.set_random_seed(1)
    inputs, targets = keras.Input((3,)), keras.Input((2,))
    x_pred = keras.layers.Dense(2)(inputs)
    layer = kp.PhysicsRegularization(lambda z, x: z[:, :2], [kp.PhysicsTerm("t", "target")])
    model = keras.Model([inputs, targets], layer(inputs, x_pred, targets))
    model.compile("sgd")
    row = kp.diagnose(model, [z, x])["t"]
    np.testing.assert_allclose(row.floor, np.mean((z[:, :2] - x) ** 2), rtol=1e-5)
    assert row.grad_cosine is None


def two_heads(physics_of_a, physics_of_b, as_dict):
    keras.utils.set_random_seed(1)
    z = keras.Input((3,))
    h = keras.layers.Dense(4, name="trunk")(z)
    a, b = keras.layers.Dense(2, name="a")(h), keras.layers.Dense(1, name="b")(h)
    a = kp.PhysicsRegularization(physics_of_a, {"first": 1.0})(z, a)
    b = kp.PhysicsRegularization(physics_of_b, {"second": 1.0})(z, b)
    model = kp.PhysicsModel(z, {"a": a, "b": b} if as_dict else [a, b])
    model.compile("sgd", {"a": "mse", "b": "mse"} if as_dict else ["mse", "mse"])
    return model


@pytest.mark.slow
@pytest.mark.parametrize("as_dict", slow_but({True}, [True, False]))
def test_each_of_several_outputs_finds_its_own_labels(as_dict):
    z, x = data()
    model = two_heads(lambda z, a: a - z[:, :2], lambda z, b: b + z[:, :1], as_dict)
    y = {"b": x[:, :1], "a": x} if as_dict else [x, x[:, :1]]
    report = kp.diagnose(model, z, y)
    np.testing.assert_allclose(report["first"].floor, np.mean((x - z[:, :2]) ** 2), rtol=1e-5)
    np.testing.assert_allclose(
        report["second"].floor, np.mean((x[:, :1] + z[:, :1]) ** 2), rtol=1e-5
    )
    assert (report["first"].reached, report["first"].trainable) == (4, 6)


def test_floor_is_unknown_where_the_physics_takes_no_output_of_the_model():
    z, x = data()
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(2)(inputs)
    hidden = kp.PhysicsRegularization(lambda z, h: h - z[:, :2], {"inner": 1.0})(inputs, hidden)
    model = kp.PhysicsModel(inputs, keras.layers.Dense(2)(hidden))
    model.compile("sgd", "mse")
    report = kp.diagnose(model, z, x)
    assert (report["inner"].floor, report["inner"].bias) == (None, None)
    assert "inner: no floor: its physics takes as prediction what is no output of the model" in str(
        report
    )


def test_floor_is_unknown_where_labels_have_another_structure():
    z, x = data()
    report = kp.diagnose(linear_model(lambda z, x: x - z[:, :2], {"t": 1.0}), z, x[:, :1])
    assert report["t"].floor is None
    assert report["t"].note == (
        "no floor: the labels do not have the structure of the prediction that its physics takes "
        "(got (None, 1), needs (None, 2))"
    )


@pytest.mark.slow
def test_floor_is_unknown_where_the_physics_fails_at_the_labels():
    import tensorflow as tf

    def slope(z, x):
        return tf.gradients(x, z)[0] - 1.0

    z, x = data()
    report = kp.diagnose(linear_model(slope, {"slope": 1.0}), z, x)
    kernel = np.sum(linear_model(slope, {"slope": 1.0}).trainable_variables[0].numpy(), axis=1)
    np.testing.assert_allclose(report["slope"].loss, np.mean((kernel - 1) ** 2), rtol=1e-5)
    assert report["slope"].floor is None
    assert "slope: no floor" in str(report)


def test_without_labels_target_terms_have_no_numbers():
    z, _ = data()
    report = kp.diagnose(linear_model(both, TERMS), z)
    assert report["label"].loss is None
    assert report["double"].loss > 0
    assert "no label was given" in str(report)
    assert "No data loss" in str(report)


@pytest.mark.slow
def test_a_model_that_is_not_compiled_has_no_data_loss():
    z, x = data()
    inputs = keras.Input((3,))
    layer = kp.PhysicsRegularization(both, TERMS)
    for cls in (kp.PhysicsModel, keras.Model):
        model = cls(inputs, layer(inputs, keras.layers.Dense(2)(inputs)))
        report = kp.diagnose(model, z, x)
        assert (report.data_loss, report["label"].grad_cosine) == (None, None)
        assert report["label"].floor > 0
        assert report["label"].grad_norm > 0


@pytest.mark.slow
def test_labels_without_their_last_axis():
    z, x = data(outputs=1)
    model = linear_model(lambda z, x: x - z[:, :1], {"one": 1.0}, outputs=1)
    flat, full = kp.diagnose(model, z, x[:, 0]), kp.diagnose(model, z, x)
    assert flat["one"].floor == full["one"].floor
    np.testing.assert_allclose(flat.data_loss, full.data_loss, rtol=1e-6)


@pytest.mark.slow
def test_subclassed_and_nested_models():
    class Net(kp.PhysicsModel):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)
            self.physics = kp.PhysicsRegularization(both, TERMS)

        def call(self, z):
            return self.physics(z, self.dense(z))

    z, x = data()
    net = Net()
    net.compile("sgd", "mse")
    net(z[:1])
    flat = kp.diagnose(net, z, x)
    inputs = keras.Input((3,))
    nested = kp.PhysicsModel(inputs, linear_model(both, TERMS)(inputs))
    nested.compile("sgd", "mse")
    deep = kp.diagnose(nested, z, x)
    for report in (flat, deep):
        assert report["label"].floor == pytest.approx(np.mean((z[:, 1:] - 0.5 * x) ** 2), rel=1e-5)
        assert report["double"].reached == 2


def test_text_is_what_was_found_and_then_tables():
    z, x = data()
    model = linear_model(
        lambda z, x: {**both(z, x), "cut": keras.ops.stop_gradient(x)},
        [*TERMS, kp.PhysicsTerm("cut")],
    )
    report = kp.diagnose(model, z, x, validation_data=(z, x))
    lines = str(report).splitlines()
    assert lines[0] == f"Diagnosis of '{model.name}' on 70 rows, 70 held-out rows"
    assert lines[1].startswith("1 error, ")
    assert lines[3].startswith("error: disconnected: ")
    assert max(map(len, lines)) <= 100
    cures = [k for k, line in enumerate(lines) if line.startswith("    Cure: ")]
    assert len(cures) == len(report.findings)
    heads = [k for k, line in enumerate(lines) if line.startswith("term  ")]
    assert len(heads) == 2
    assert min(heads) > max(cures)
    head, rule, first, *rest = lines[heads[0] :]
    assert head.split()[:5] == ["term", "weight", "loss", "weighted", "floor"]
    assert set(rule) == {"-", " "}
    assert first.startswith("(data loss)")
    assert rest[0].startswith("double")
    assert max(map(len, (head, first, *rest[:2]))) <= len(rule)


@pytest.mark.slow
def test_no_line_is_longer_than_100_characters():
    """With long names, many components, held-out and unlabelled rows."""
    z, x = data()
    name = "a_term_whose_name_tells_all_that_there_is_to_know_of_it"
    model = linear_model(lambda z, x: keras.ops.stop_gradient(x) + 5, {name: 1.0})
    report = kp.diagnose(model, z, x, validation_data=(z, x), unlabelled=z)
    assert max(map(len, str(report).splitlines())) <= 100
    assert f"'{name}'" in str(report).replace("\n    ", " ")
    assert f"<td>{name[:18]}..." in report._repr_html_()


def test_html_is_escaped():
    z, x = data()
    model = linear_model(lambda z, x: keras.ops.stop_gradient(x), {"a-b": 1.0})
    markup = kp.diagnose(model, z, x)._repr_html_()
    assert "<td>a-b</td>" in markup
    assert "&#x27;a-b&#x27;" in markup
    assert "disconnected" in markup


def test_unknown_term_of_a_report():
    z, x = data()
    with pytest.raises(KeyError, match=r"'duoble'.*'double', 'label'"):
        kp.diagnose(linear_model(both, TERMS), z, x)["duoble"]


Z, X = data()


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"model": "model"}, TypeError, r"needs a Keras model. Received: model='model'"),
        ({"model": keras.Sequential([keras.layers.Dense(1)])}, ValueError, "is not built"),
        (
            {"model": keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])},
            ValueError,
            "no physics terms",
        ),
        ({"x": Z[:5]}, ValueError, r"same number of rows. Received: x of shape \(5, 3\), y of"),
        ({"x": Z[:0], "y": X[:0]}, ValueError, r"no rows to look at. Received: x of shape \(0"),
        ({"x": Z.tolist()}, ValueError, "must be arrays, or structures of arrays"),
        ({"sample_weight": [1] * len(Z)}, ValueError, r"by `np.array\(...\)`"),
        ({"thresholds": {"a": 1}}, TypeError, r"must be a `keras_physreg.Thresholds`.*'a': 1"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be an integer >= 1"),
        ({"batch_size": 2.5}, TypeError, "`batch_size` must be an integer >= 1"),
        ({"max_samples": -1}, ValueError, "`max_samples` must be an integer >= 1"),
        ({"max_samples": True}, TypeError, "`max_samples` must be an integer >= 1"),
        ({"validation_data": (Z,)}, ValueError, r"must be `\(x, y\)`.* a tuple of 1"),
        ({"x": None}, TypeError, r"`x` must be an array or a structure .* Received: x=None"),
        ({"x": "rows.csv"}, ValueError, r"must be arrays.*Received: x of shape \(\)"),
        (
            {"x": Z.astype(str)},
            TypeError,
            r"diagnose: model '\w+' takes inputs `x` of numbers \(float32\)\. Received: x of shape "
            r"\(70, 3\) and dtype <U32",
        ),
        (
            {"x": Z.astype(object)},
            TypeError,
            r"takes inputs `x` of numbers .*dtype object",
        ),
        ({"y": X.astype(str)}, TypeError, r"`y` must hold numbers. Received: y of shape \(70, 2\)"),
        (
            {"sample_weight": np.full(70, "1")},
            TypeError,
            r"`sample_weight` must hold numbers. Received: .*dtype <U1",
        ),
        (
            {"x": Z[:, :2]},
            ValueError,
            r"diagnose: model '\w+' takes inputs `x` of shape \(rows, 3\)\. Received: x of shape "
            r"\(70, 2\) and dtype float32",
        ),
        (
            {"x": Z[:, None]},
            ValueError,
            r"of shape \(rows, 3\)\. Received: x of shape \(70, 1, 3\)",
        ),
        (
            {"y": np.zeros((70, 3))},
            ValueError,
            r"`y` cannot be compared .* of shape \(70, 3\) for an output of shape \(None, 2\)\.",
        ),
        (
            {"validation_data": (Z[:, :2], X)},
            ValueError,
            r"diagnose: `validation_data`: model '\w+' takes inputs `x` of shape \(rows, 3\)",
        ),
        (
            {"validation_data": (Z, np.zeros((70, 3)))},
            ValueError,
            r"the labels of `validation_data` cannot be compared .* of shape \(70, 3\)",
        ),
    ],
)
def test_bad_input(kwargs, error, message):
    if "model" not in kwargs:
        kwargs = {"model": linear_model(both, TERMS), **kwargs}
    with pytest.raises(error, match=message):
        kp.diagnose(**{"x": Z, "y": X, **kwargs})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"floor_factor": float("nan")}, "floor_factor=nan"),
        ({"bias_z": "4"}, "bias_z='4'"),
        ({"dominates_ratio": -1.0}, "must not be negative"),
        ({"conflict_cosine": 0.5}, "from -1 to 0"),
        ({"below_factor": 2.0}, "`below_factor` must be smaller than `floor_factor`"),
        ({"memorised_factor": 1.0}, "`floor_factor` must be smaller than `memorised_factor`"),
        ({"rescaled": 0.8}, "`rescaled` must be a factor of at least 1"),
        ({"negligible_ratio": 10.0}, "`negligible_ratio` must be smaller than `dominates_ratio`"),
    ],
)
def test_bad_thresholds(kwargs, message):
    with pytest.raises(ValueError, match=message):
        kp.Thresholds(**kwargs)


def selected(z, x):
    """A residual of the rows whose first input is positive: of other rows than the batch."""
    return (x - 2 * z[:, :2])[z[:, 0] > 0]


def test_rows_that_the_physics_selects():
    """Batches without any of them do not count, as in the logs of a training."""
    z, x = data(64)
    z[:, 0] = np.where(np.arange(64) < 20, np.abs(z[:, 0]), -np.abs(z[:, 0]))
    model = linear_model(selected, {"t": 0.5})
    report = kp.diagnose(model, z, x, batch_size=16)
    kernel, bias = (v.numpy() for v in model.trainable_variables)
    residual = (z @ kernel + bias - 2 * z[:, :2])[:20]
    losses = [np.mean(part**2) for part in (residual[:16], residual[16:])]
    np.testing.assert_allclose(report["t"].loss, np.mean(losses), rtol=1e-5)
    floors = [np.mean((x - 2 * z[:, :2])[rows] ** 2) for rows in (slice(16), slice(16, 20))]
    np.testing.assert_allclose(report["t"].floor, np.mean(floors), rtol=1e-5)
    gradient = sum(
        np.concatenate([(z[rows].T @ part).ravel(), part.sum(axis=0)]) * 2 / part.size / 2
        for rows, part in ((slice(16), residual[:16]), (slice(16, 20), residual[16:]))
    )
    np.testing.assert_allclose(report["t"].grad_norm, np.linalg.norm(gradient), rtol=1e-4)
    assert report["t"].finite
    assert "non-finite" not in [finding.code for finding in report.findings]


@pytest.mark.slow
def test_sample_weights_beside_rows_that_the_physics_selects():
    z, x = data(40)
    weights = np.where(np.arange(40) < 30, 1.0, 0.0)
    report = kp.diagnose(linear_model(selected, {"t": 0.5}), z, x, weights)
    assert report["t"].loss > 0
    assert report["t"].finite


@pytest.mark.slow
def test_physics_that_selects_no_rows():
    z, x = data(40)
    z[:, 0] = -1.0
    report = kp.diagnose(linear_model(selected, {"t": 0.5}), z, x)
    assert (report["t"].loss, report["t"].floor) == (None, None)
    assert "t: no loss: it counts in none of the rows." in str(report)
    assert [(finding.code, finding.term) for finding in report.findings] == [("nowhere", "t")]
