"""Each finding with a case that must raise it, and a near one that must not."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_physreg as kp
from tests.diagnosis.linear import data, linear_model
from tests.variants import slow_but, slow_but_rows

RNG = np.random.default_rng(5)
NOISE = RNG.normal(size=(400, 2)).astype("float32")
NOISE = (NOISE - NOISE.mean(axis=0)) / NOISE.std(axis=0)


def codes(report, term=None):
    return [f.code for f in report.findings if term in (None, f.term)]


def only(report):
    (finding,) = report.findings
    return finding


# Does the gradient arrive?

OUTSIDE = np.random.default_rng(0).normal(size=(70, 2)).astype("float32")


def numpy_inside(x):
    exp = tf.numpy_function(np.exp, [x], tf.float32)
    return tf.reshape(exp, tf.shape(x))


def without_gradient(x):
    colours = tf.stack([x, x, x], axis=-1)
    return tf.raw_ops.AdjustHue(images=colours, delta=0.1)[..., 0]


DISCONNECTED = {
    "stop_gradient": lambda z, x: ops.stop_gradient(x) - z[:, :2],
    "captured prediction": lambda z, x: OUTSIDE - z[:, :2],
    "integer cast": lambda z, x: ops.cast(ops.cast(x, "int32"), "float32") + z[:, :2],
    "NumPy": lambda z, x: numpy_inside(x) - z[:, :2],
    "no gradient in TensorFlow": lambda z, x: without_gradient(x) - z[:, :2],
    "comparison": lambda z, x: ops.where(x > 0, 1.0, 0.0),
}
CONNECTED = {
    "half stopped": lambda z, x: ops.stop_gradient(x) - x + z[:, :2],
    "beside a captured constant": lambda z, x: x - OUTSIDE,
    "py_function": lambda z, x: ops.reshape(tf.py_function(tf.exp, [x], tf.float32), ops.shape(x)),
    "cast to half": lambda z, x: ops.cast(ops.cast(x, "float16"), "float32"),
}


def check_disconnected(kind, weight):
    z, x = data()
    model = linear_model(DISCONNECTED[kind], {"t": weight})
    report = kp.diagnose(model, z, x, batch_size=70)
    finding = report.findings[0]
    assert (finding.code, finding.severity, finding.term) == ("disconnected", "error", "t")
    assert (report["t"].grad_norm, report["t"].grad_ratio, report["t"].reached) == (None, None, 0)
    assert [f.code for f in report.findings if f.severity == "error"] == ["disconnected"]
    assert not {"at-floor", "below-floor", "negligible"} & set(codes(report))


@pytest.mark.parametrize("kind", slow_but({"NumPy"}, DISCONNECTED))
def test_disconnected(kind):
    check_disconnected(kind, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stop_gradient", "no gradient in TensorFlow"])
def test_disconnected_at_weight_0(kind):
    check_disconnected(kind, 0.0)


@pytest.mark.parametrize("kind", slow_but({"half stopped"}, CONNECTED))
def test_connected(kind):
    z, x = data()
    report = kp.diagnose(linear_model(CONNECTED[kind], {"t": 0.1}), z, x, batch_size=70)
    assert "disconnected" not in codes(report)
    assert report["t"].reached == 2


def test_an_operation_without_gradient_is_named():
    z, x = data()
    model = linear_model(DISCONNECTED["no gradient in TensorFlow"], {"t": 0.1})
    assert "AdjustHue" in kp.diagnose(model, z, x).findings[0].message


def test_disconnected_before_the_physics():
    z, x = data()
    inputs = keras.Input((3,))
    prediction = ops.stop_gradient(keras.layers.Dense(2)(inputs))
    layer = kp.PhysicsRegularization(lambda z, x: x - z[:, :2], {"t": 1.0})
    model = kp.PhysicsModel(inputs, layer(inputs, prediction))
    model.compile("sgd", "mse")
    finding = kp.diagnose(model, z, x).findings[0]
    assert finding.code == "disconnected"
    assert "is itself cut off" in finding.message


class Offset(keras.layers.Layer):
    def build(self, *shapes):
        self.offset = self.add_weight(name="offset", shape=(), initializer="ones")

    def call(self, z, x):
        return ops.stop_gradient(x) + self.offset


@pytest.mark.slow
def test_disconnected_although_a_constant_of_the_physics_is_reached():
    z, x = data()
    report = kp.diagnose(linear_model(Offset(), {"t": 1.0}), z, x)
    assert codes(report, "t")[0] == "disconnected"
    assert (report["t"].reached, report["t"].trainable) == (1, 3)


def test_numpy_on_a_symbolic_tensor_is_the_clear_error_of_the_layer():
    z, x = data()
    model = linear_model(lambda z, x: ops.convert_to_tensor(np.exp(x)), {"t": 1.0})
    with pytest.raises(TypeError, match=r"calls NumPy[\s\S]*keras.ops.exp"):
        kp.diagnose(model, z, x)
    model.compile("sgd", "mse", run_eagerly=True)
    assert "disconnected" in codes(kp.diagnose(model, z, x))


@pytest.mark.parametrize(
    ("physics", "raised"),
    slow_but_rows(
        (1, 2),
        [
            (lambda z, x: 1.0 + ops.relu(x - 100.0), True),
            (lambda z, x: x - x + z[:, :2], True),
            (lambda z, x: ops.relu(x - 100.0), False),  # An inequality that holds.
            (lambda z, x: 1.0 + 1e-6 * x, False),
        ],
    ),
    ids=["dead, not fulfilled", "cancelled", "an inequality that holds", "small"],
)
def test_zero_gradient(physics, raised):
    z, x = data()
    report = kp.diagnose(linear_model(physics, {"t": 1.0}), z, x)
    assert ("zero-gradient" in codes(report)) == raised
    assert "disconnected" not in codes(report)
    assert not raised or "at-floor" not in codes(report)


def model_of_two(physics_of_both=None, physics_of_a=None):
    inputs = keras.Input((3,))
    trunk = keras.layers.Dense(4, name="trunk")(inputs)
    outputs = {name: keras.layers.Dense(2, name=name)(trunk) for name in ("a", "b")}
    if physics_of_both is not None:
        outputs = kp.PhysicsRegularization(physics_of_both, {"t": 1.0})(inputs, outputs)
    else:
        layer = kp.PhysicsRegularization(physics_of_a, {"t": 1.0})
        outputs["a"] = layer(inputs, outputs["a"])
    model = kp.PhysicsModel(inputs, outputs)
    model.compile("sgd", {"a": "mse", "b": "mse"})
    return model


@pytest.mark.slow
def test_partly_connected():
    z, x = data()
    labels = {"a": x, "b": x}
    report = kp.diagnose(model_of_two(lambda z, x: x["a"] - z[:, :2]), z, labels)
    finding = next(f for f in report.findings if f.code == "partly-connected")
    assert "reaches 4 of 6" in finding.message
    assert "b/kernel, b/bias" in finding.message
    assert finding.severity == "info"  # It may not be about `b`.
    near = [
        model_of_two(lambda z, x: x["a"] - x["b"]),
        model_of_two(physics_of_a=lambda z, x: x - z[:, :2]),
    ]
    assert all("partly-connected" not in codes(kp.diagnose(m, z, labels)) for m in near)


def model_of_parts(physics, loss="mse"):
    """Its prediction is put together from that of two layers, a column each."""
    inputs = keras.Input((3,))
    parts = [keras.layers.Dense(1, name=name)(inputs) for name in "uv"]
    layer = kp.PhysicsRegularization(physics, {"t": 1.0})
    model = kp.PhysicsModel(inputs, layer(inputs, keras.layers.Concatenate()(parts)))
    model.compile("sgd", loss)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("loss", slow_but({"mse"}, ["mse", None]))
def test_partly_connected_by_an_index(loss):
    z, x = data()
    report = kp.diagnose(model_of_parts(lambda z, p: p[:, :1] - z[:, :1], loss), z, x)
    finding = next(f for f in report.findings if f.code == "partly-connected")
    assert "in 2 of those it is exactly 0 on these rows: v/kernel, v/bias." in finding.message
    assert finding.severity == "info"
    near = [lambda z, p: p - z[:, :2], lambda z, p: ops.relu(p - 100.0)]
    for physics in near:
        assert "partly-connected" not in codes(kp.diagnose(model_of_parts(physics, loss), z, x))


@pytest.mark.slow
@pytest.mark.parametrize("cut", slow_but({ops.stop_gradient}, [ops.stop_gradient, ops.round]))
def test_a_part_that_is_used_without_a_gradient_is_a_warning(cut):
    z, x = data()
    report = kp.diagnose(model_of_parts(lambda z, p: p[:, :1] - cut(p[:, 1:])), z, x)
    finding = next(f for f in report.findings if f.code == "partly-connected")
    assert finding.severity == "warning"
    assert "moves with a part of the prediction that has no gradient" in finding.message


@pytest.mark.slow
def test_a_cut_inside_the_network_is_a_warning():
    z, x = data()
    inputs = keras.Input((3,))
    hidden = ops.stop_gradient(keras.layers.Dense(4, name="cut")(inputs))
    layer = kp.PhysicsRegularization(lambda z, p: p - z[:, :2], {"t": 1.0})
    model = kp.PhysicsModel(inputs, layer(inputs, keras.layers.Dense(2)(hidden)))
    model.compile("sgd", "mse")
    finding = next(f for f in kp.diagnose(model, z, x).findings if f.code == "partly-connected")
    assert finding.severity == "warning"
    assert "cut/kernel, cut/bias" in finding.message


# Where does the term stand?


def shifted(offset=0.0, third=0.0, weight=1.0, **kwargs):
    """Predicts the first two inputs and `offset`; the physics says that `x` is the first two."""
    model = linear_model(lambda z, x: x - z[:, :2], {"t": weight}, **kwargs)
    kernel = np.vstack([np.eye(2), np.full((1, 2), third)])
    model.trainable_variables[0].assign(kernel)
    model.trainable_variables[1].assign(np.full(2, offset))
    return model


def rows(third=0.0, noise=0.1, offset=0.0, count=400):
    z = np.random.default_rng(1).normal(size=(count, 3)).astype("float32")
    z[:, 2] = third * NOISE[:count, 0]
    return z, z[:, :2] + noise * NOISE[:count] + np.float32(offset)


PLACES = {
    "at": (0.095, ["at-floor"]),
    "just below": (0.08, ["at-floor"]),
    "just above": (0.13, []),
    "far above": (1.0, []),
    "below": (0.05, ["below-floor"]),
}


QUICK_PLACES = {"just above; given", "just below; held out"}


@pytest.mark.parametrize(
    "kind",
    slow_but(
        QUICK_PLACES,
        [*(f"{place}; given" for place in PLACES), "just below; held out", "far above; held out"],
    ),
)
def test_against_the_floor(kind):
    place, judged = kind.split("; ")
    offset, expected = PLACES[place]
    held_out = judged == "held out"
    z, x = rows()
    report = kp.diagnose(shifted(offset), z, x, validation_data=(z, x) if held_out else None)
    assert [c for c in codes(report) if "floor" in c or c == "memorised"] == expected
    assert report["t"].floor == pytest.approx(0.01, rel=1e-4)


@pytest.mark.slow
def test_below_on_given_rows_and_at_on_held_out_ones_is_at_the_floor():
    """On held-out rows the loss is 0.05^2 + 0.087^2, about the floor of 0.1^2."""
    report = kp.diagnose(shifted(0.05, third=1.0), *rows(), validation_data=rows(third=0.087))
    assert [c for c in codes(report) if "floor" in c or c == "memorised"] == ["at-floor"]


def test_the_sentence_holds_the_numbers():
    report = kp.diagnose(shifted(0.095), *rows())
    finding = next(f for f in report.findings if f.code == "at-floor")
    assert "0.00903 against 0.01 at the labels on the 400 given rows" in finding.message
    assert "validation_data" in finding.cure


@pytest.mark.slow
def test_a_floor_near_zero_means_that_physics_and_labels_agree():
    z, x = rows(noise=1e-4)  # A floor of 1e-8.
    for offset in (1e-4, 5e-4, 1e-2):
        report = kp.diagnose(shifted(offset), z, x, validation_data=(z, x))
        assert not {"at-floor", "below-floor", "memorised"} & set(codes(report))


@pytest.mark.slow
def test_memorised():
    z, x = rows()
    far, near = rows(third=1.0), rows(third=0.15)
    model = shifted(0.095, third=1.0)
    report = kp.diagnose(model, z, x, validation_data=far)
    assert codes(report, "t")[0] == "memorised"
    assert "on the 400 held-out rows" in report.findings[0].message
    assert "memorised" not in codes(kp.diagnose(model, z, x, validation_data=near))
    assert "memorised" not in codes(kp.diagnose(shifted(0.5, 1.0), z, x, validation_data=far))


@pytest.mark.slow
def test_memorised_at_a_floor_near_zero():
    z, x = rows(noise=1e-5)
    report = kp.diagnose(shifted(1e-4, 1.0), z, x, validation_data=rows(third=1.0, noise=1e-5))
    assert "memorised" in codes(report)


@pytest.mark.slow
def test_heavy_tails_are_judged_by_mean_and_median():
    z, x = rows(noise=0.0)
    x[:4] += 1.0  # One row in a hundred makes the floor of 0.01; the median floor is 0.
    report = kp.diagnose(shifted(0.095), z, x)
    assert report["t"].labels.median == 0.0
    assert not {"at-floor", "below-floor"} & set(codes(report))
    assert "below-floor" not in codes(kp.diagnose(shifted(1e-4), z, x))


@pytest.mark.parametrize(
    ("offset", "count", "raised"),
    [
        (0.05, 400, True),
        pytest.param(-0.05, 400, True, marks=pytest.mark.slow),
        pytest.param(0.02, 400, False, marks=pytest.mark.slow),
        pytest.param(0.5, 4, False, marks=pytest.mark.slow),
        (0.5, 5, True),
        pytest.param(0.05, 20, False, marks=pytest.mark.slow),
    ],
)
def test_biased(offset, count, raised):
    z, x = rows(offset=offset, count=count)
    report = kp.diagnose(shifted(0.3), z, x)
    assert ("biased" in codes(report)) == raised
    if raised:
        finding = next(f for f in report.findings if f.code == "biased")
        assert count < 400 or f"{offset:+.3g} with sd 0.1" in finding.message
        assert f"over {count} values" in finding.message


@pytest.mark.slow
def test_a_residual_that_ignores_the_labels_says_nothing_of_them():
    z, x = data()
    report = kp.diagnose(
        linear_model(lambda z, x: ops.convert_to_tensor(OUTSIDE) + 5, {"t": 1.0}),
        z,
        x,
        batch_size=70,
    )
    assert codes(report) == ["disconnected"]
    stopped = linear_model(lambda z, x: ops.stop_gradient(x) + 5, {"t": 1.0})
    assert codes(kp.diagnose(stopped, z, x)) == ["disconnected", "biased"]


@pytest.mark.slow
def test_a_component_without_residual_is_not_biased():
    def physics(z, x):
        return ops.stack([x[:, 0] - z[:, 0], 1e-4 + 0 * x[:, 1]], axis=-1)

    z, x = rows(offset=0.05)
    report = kp.diagnose(linear_model(physics, {"t": 1.0}), z, x)
    (finding,) = (f for f in report.findings if f.code == "biased")
    assert "in component 0" in finding.message
    assert "in component 1" not in finding.message


@pytest.mark.slow
def test_a_constant_residual_is_biased():
    z, x = rows(noise=0.0, offset=0.5)
    report = kp.diagnose(shifted(0.3), z, x)
    assert "biased" in codes(report)
    assert min(report["t"].bias) > 1e3
    assert "biased" not in codes(kp.diagnose(shifted(0.3), z[:1], x[:1]))


# Does it fight the data, and how hard?


def constant(prediction, physics, terms):
    """Predicts a constant: gradients reach the bias alone."""
    model = linear_model(physics, terms)
    model.trainable_variables[0].assign(np.zeros((3, 2)))
    model.trainable_variables[1].assign(prediction)
    return model


def on_ones(model, **kwargs):
    return kp.diagnose(model, np.zeros((8, 3)), np.ones((8, 2)), **kwargs)


@pytest.mark.parametrize(
    ("weight", "sign", "expected"),
    [
        # Data pull to 1, the term to -1 (3 times as hard), from 0.5.
        (1.0, 1, [("conflict", "warning")]),
        pytest.param(0.05, 1, [("conflict", "warning")], marks=pytest.mark.slow),
        pytest.param(0.03, 1, [], marks=pytest.mark.slow),  # Too weak to matter.
        (1 / 3, 1, [("conflict", "info")]),  # They cancel: a compromise.
        pytest.param(0.0, 1, [], marks=pytest.mark.slow),
        pytest.param(1.0, -1, [], marks=pytest.mark.slow),  # The term pulls to 1 as well.
    ],
)
def test_conflict_with_the_data(weight, sign, expected):
    model = constant([0.5, 0.5], lambda z, x: x + sign, {"t": weight})
    report = on_ones(model)
    found = [(f.code, f.severity) for f in report.findings if f.code == "conflict"]
    assert found == expected
    assert report["t"].grad_cosine == pytest.approx(-sign)
    assert report["t"].grad_ratio == pytest.approx(weight * (3 if sign > 0 else 1))


@pytest.mark.parametrize(
    ("second", "weights", "raised"),
    [
        pytest.param(lambda x: x[:, 0] - 1, (1.0, 1.0), True, id="equal weights"),
        pytest.param(lambda x: x[:, 0] - 1, (1.0, 0.0), False, id="off", marks=pytest.mark.slow),
        pytest.param(
            lambda x: x[:, 0] - 1, (1.0, 0.01), False, id="too weak", marks=pytest.mark.slow
        ),
        pytest.param(
            lambda x: x[:, 1] - 1, (1.0, 1.0), False, id="another component", marks=pytest.mark.slow
        ),
    ],
)
def test_conflict_between_terms(second, weights, raised):
    def physics(z, x):
        return {"a": x[:, 0] + 1, "b": second(x)}

    model = constant([0.5, 0.5], physics, dict(zip("ab", weights, strict=True)))
    found = [f for f in on_ones(model).findings if "pulls against 'a'" in f.message]
    assert bool(found) == raised
    assert all((f.code, f.term) == ("conflict", "b") for f in found)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (20.0, "dominates"),
        pytest.param(9.0, None, marks=pytest.mark.slow),
        pytest.param(2e-3, None, marks=pytest.mark.slow),
        (5e-4, "negligible"),
        pytest.param(0.0, None, marks=pytest.mark.slow),
    ],
)
def test_dominates_and_negligible(weight, expected):
    model = constant([0.5, 0.5], lambda z, x: x - 1, {"t": weight})
    report = on_ones(model)
    assert [c for c in codes(report) if c in ("dominates", "negligible")] == (
        [expected] if expected else []
    )
    if expected == "dominates":
        assert "20 times" in only(report).message
        assert "about 1, where" in only(report).cure


@pytest.mark.slow
def test_weight_0_says_nothing_of_weights():
    z, x = rows(offset=0.3)
    report = kp.diagnose(shifted(0.01, weight=0.0), z, x, validation_data=(z, x))
    assert codes(report) == ["biased"]


# Is it finite?


@pytest.mark.parametrize("weight", slow_but({1.0}, [0.0, 1.0]))
def test_non_finite_rows_and_components_are_named(weight):
    z, x = data()
    z[:, 0] = 1.0
    z[[3, 41], 0] = -1.0

    def physics(z, x):
        return ops.stack([x[:, 0], x[:, 1] + ops.log(z[:, 0])], axis=-1)

    report = kp.diagnose(linear_model(physics, {"t": weight}), z, x, max_samples=60)
    chosen = [n for n in (3, 41) if n in np.sort(np.random.default_rng(0).choice(70, 60, False))]
    assert chosen
    first = report.findings[0]
    assert (first.code, first.severity) == ("non-finite", "error" if weight else "warning")
    named = ", ".join(map(str, chosen))
    assert f"{len(chosen)} row(s) are not finite in component 1 (rows {named})" in first.message
    assert ("At weight 0" in first.message) == (not weight)
    assert not report["t"].finite


@pytest.mark.parametrize("one_call", slow_but({True}, [True, False]), ids=["one call", "a dict"])
def test_weight_0_does_not_protect_terms_of_the_same_call(one_call):
    def fine(z, x):
        return x[:, 0] + 1

    def overflows(z, x):
        return ops.exp(500 + x[:, 1])

    physics = {"a": fine, "b": overflows}
    if one_call:
        physics = lambda z, x: (fine(z, x), overflows(z, x))  # noqa: E731
    model = constant([0.5, 0.5], physics, {"a": 1.0, "b": 0.0})
    finding = next(f for f in on_ones(model).findings if f.code == "non-finite")
    assert (finding.term, finding.severity) == ("b", "error" if one_call else "warning")
    said = "'a' comes from the same call of the physics: give each term a function of its own"
    assert (said in finding.message, "no harm yet" in finding.message) == (one_call, not one_call)
    model.train_on_batch(np.ones((4, 3)), np.ones((4, 2)))
    assert all(np.isfinite(w).all() for w in model.get_weights()) == (not one_call)


@pytest.mark.slow
def test_non_finite_gradient_of_a_finite_loss():
    model = constant([0.0, 0.0], lambda z, x: ops.sqrt(ops.abs(x)) + 1, {"t": 1.0})
    finding = on_ones(model).findings[0]
    assert finding.code == "non-finite"
    assert "loss of 't' is finite (1), but its gradient is not" in finding.message
    near = constant([1e-6, 1e-6], lambda z, x: ops.sqrt(ops.abs(x)) + 1, {"t": 1.0})
    assert "non-finite" not in codes(on_ones(near))


def test_non_finite_at_the_labels_only():
    model = constant([0.5, 0.5], lambda z, x: ops.log(x), {"t": 1.0})
    report = kp.diagnose(model, np.zeros((8, 3)), np.zeros((8, 2)))
    message = next(f.message for f in report.findings if f.code == "non-finite")
    assert message.startswith("The loss of 't' at the labels is inf: 8 row(s)")
    assert report["t"].grad_norm > 0


@pytest.mark.slow
def test_non_finite_held_out_rows():
    z, x = data()
    model = linear_model(lambda z, x: x + ops.log(z[:, :1]), {"t": 1.0})
    report = kp.diagnose(model, np.abs(z), x, validation_data=(-np.abs(z), x))
    assert "on the held-out rows is nan: 70 row(s)" in report.findings[0].message


@pytest.mark.slow
def test_non_finite_data_loss():
    z, x = data()
    x[3] = np.nan
    report = kp.diagnose(linear_model(lambda z, x: x - z[:, :2], {"t": 1.0}), z, x)
    assert (report.findings[0].code, report.findings[0].term) == ("non-finite", "data")


# And where there is nothing.


def test_a_healthy_model_gets_a_clean_bill():
    z, x = rows()
    report = kp.diagnose(shifted(0.2, weight=0.5), z, x, validation_data=rows(count=300))
    assert report.findings == ()
    assert str(report).splitlines()[1].endswith("none fights the data.")


@pytest.mark.slow
def test_a_perfect_model_gets_a_clean_bill():
    z, x = rows(noise=0.0)
    report = kp.diagnose(shifted(0.0), z, x, validation_data=(z, x))
    assert report.findings == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "code"),
    [
        pytest.param({"floor_factor": 1.0 - 1e-9}, "at-floor", marks=pytest.mark.slow),
        pytest.param({"floor_tolerance": 1.0}, "at-floor", marks=pytest.mark.slow),
        ({"bias_ratio": 0.6}, "biased"),
        pytest.param({"bias_z": 20.0}, "biased", marks=pytest.mark.slow),
    ],
)
def test_thresholds_can_be_changed(limits, code):
    z, x = rows(offset=0.05)
    model = shifted(0.11)
    assert code in codes(kp.diagnose(model, z, x))
    assert code not in codes(kp.diagnose(model, z, x, thresholds=kp.Thresholds(**limits)))


def test_findings_come_by_severity():
    def physics(z, x):
        return {"a": x - z[:, :2] - 0.001 * z[:, :1], "b": ops.stop_gradient(x)}

    z, x = rows(offset=0.05)
    model = linear_model(physics, {"a": 1e-6, "b": 1.0})
    report = kp.diagnose(model, z, x)
    order = [("error", "warning", "info").index(f.severity) for f in report.findings]
    assert order == sorted(order)
    assert set(order) == {0, 1, 2}


@pytest.mark.slow
def test_no_clean_bill_for_what_was_not_measured():
    z, x = rows()
    model = shifted(0.2, weight=0.5)
    with_label = linear_model(lambda z, x: x, [kp.PhysicsTerm("t", "target")])
    for report in (kp.diagnose(model, z), kp.diagnose(with_label, z)):
        assert str(report).splitlines()[1].endswith("the notes say what could not.")
    model.trainable = False
    text = str(kp.diagnose(model, z, x))
    assert text.splitlines()[1].endswith("the notes say what could not.")
    assert "no trainable variables" in text
    assert "No data loss" not in text
    assert "the notes say what could not." in kp.diagnose(model, z, x)._repr_html_()


@pytest.mark.slow
def test_rows_that_all_weigh_nothing():
    z, x = data()
    model = linear_model(lambda z, x: x, [kp.PhysicsTerm("t", "target")])
    report = kp.diagnose(model, z, x, sample_weight=np.zeros(len(z)))
    assert codes(report) == ["weightless"]
    some = np.r_[np.zeros(len(z) - 1), 1.0]
    assert "weightless" not in codes(kp.diagnose(model, z, x, sample_weight=some))


@pytest.mark.slow
@pytest.mark.parametrize("weight", slow_but({1.0}, [0.0, 1.0]))
def test_a_term_that_is_not_finite_hides_no_conflict_of_others(weight):
    def physics(z, x):
        return {"a": x[:, 0] + 1, "b": ops.log(x[:, 1] - 2)}

    report = on_ones(constant([0.5, 0.5], physics, {"a": 1.0, "b": weight}))
    assert [f.severity for f in report.findings if f.code == "conflict"] == ["warning"]
    assert "non-finite" in codes(report, "b")


@pytest.mark.slow
def test_the_table_shows_the_component_of_the_largest_bias():
    z, x = rows()
    x += np.array([0.2, 0.05], "float32")
    x[:, 0] += 9 * NOISE[:, 0]
    report = kp.diagnose(shifted(0.3), z, x)
    assert abs(report["t"].labels.mean[0]) > abs(report["t"].labels.mean[1])
    assert "+0.50 [1]" in str(report)


@pytest.mark.slow
def test_loss_and_floor_are_compared_on_the_same_rows():
    z, x = rows()
    z[200:, 2], trust = 5.0, np.r_[np.ones(200), np.zeros(200)]
    z[:200, 2] = 0.0
    model = shifted(0.095, third=1.0)  # Far from the physics where the labels are not trusted.
    report = kp.diagnose(model, z, x, sample_weight=trust)
    assert "at-floor" in codes(report)
    assert report["t"].loss > 1.0


@pytest.mark.slow
def test_rows_that_are_not_finite_themselves_are_no_fault_of_the_physics():
    z, x = rows()
    x[3, 0] = np.nan
    report = kp.diagnose(shifted(0.3), z, x)
    finding = next(f for f in report.findings if f.code == "non-finite" and f.term == "t")
    assert finding.severity == "warning"
    assert "(rows 3), as are the inputs or labels there. Only the floor is lost" in finding.message
    assert "rows of the data" in finding.cure
    z[7, 0] = np.nan
    here = next(f for f in kp.diagnose(shifted(0.3), z, x).findings if f.term == "t")
    assert here.severity == "error"
    assert "(rows 7), as are the inputs or labels there." in here.message
    target = linear_model(lambda z, x: x, [kp.PhysicsTerm("t", "target")])
    z, _ = rows()
    finding = next(f for f in kp.diagnose(target, z, x).findings if f.term == "t")
    assert "(rows 3), as are the inputs or labels there." in finding.message


@pytest.mark.slow
def test_a_term_at_zero_is_not_negligible():
    z, x = rows(noise=1.0)
    report = kp.diagnose(shifted(1e-5, weight=0.1), z, x + 1)
    assert 0 < report["t"].loss < 1e-6
    assert 0 < report["t"].grad_ratio < 1e-3
    assert "negligible" not in codes(report)


def test_a_floor_without_labels_says_so():
    z, _ = rows()
    assert kp.diagnose(shifted(0.3), z)["t"].note == "no floor: no labels were given"
