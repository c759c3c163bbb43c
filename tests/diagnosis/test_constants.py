"""Constants in a diagnosis: the table, and each finding with a near case that must not raise it."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_physreg as kp
from keras_physreg.diagnosis.constant_diagnosis import ConstantDiagnosis
from keras_physreg.diagnosis.rules_constants import constant_findings
from tests.diagnosis.linear import data, linear_model
from tests.diagnosis.test_unchanged import state_of

A = {"initial": 1.0, "low": 0.5, "high": 3.0, "unit": "V", "name": "a"}
B = {"initial": 2.0, "name": "b"}


class Physics(keras.layers.Layer):
    """Physics of two constants, given as a function of their values."""

    def __init__(self, function, *options):
        super().__init__()
        self.function = function
        self.parts = [kp.Constant(**each) for each in options or (A, B)]

    def call(self, z, x):
        return self.function(z[:, :2], x, *[part() for part in self.parts])


def report_of(function, *options, weights=None, rows=30, move=None, **settings):
    physics = Physics(function, *options)
    for part, raw in zip(physics.parts, move or [], strict=False):
        part.raw.assign(raw)
    z, x = data(rows)
    model = linear_model(physics, weights or {"t": 0.5})
    return kp.diagnose(model, z, x, batch_size=32, **settings)


def codes(report, *wanted):
    return [(f.code, f.term) for f in report.findings if f.code in wanted]


def cases(table, *fast):
    """The kinds of a table; those that add little are left to the slow run."""
    return [kind if kind in fast else pytest.param(kind, marks=pytest.mark.slow) for kind in table]


OF_CONSTANTS = ("near-bound", "unidentified", "collinear", "trivial", "trivial-solution")


def line(z, x, a, b):
    return a * z + b - x


@pytest.mark.slow
def test_the_table_of_constants():
    report = report_of(line, A, B, rows=70)
    z = data()[0]
    a, b = report.constants
    assert (a.constant, a.value, a.unit, a.low, a.high, a.terms) == ("a", 1, "V", 0.5, 3, ("t",))
    assert (b.constant, b.value, b.unit, b.low, b.high, b.terms) == (
        "b",
        2,
        None,
        None,
        None,
        ("t",),
    )
    # d output / d variable is scale * z and scale.
    assert a.sensitivity == pytest.approx(a.scale * np.sqrt(0.5 * np.mean(z[:, :2] ** 2)), rel=1e-5)
    assert b.sensitivity == pytest.approx(2 * np.sqrt(0.5), rel=1e-6)
    model = linear_model(Physics(line), {"t": 0.5})
    kernel, bias = (v.numpy() for v in model.trainable_variables if v.path.startswith("dense"))
    residual = z[:, :2] + 2 - (z @ kernel + bias)
    # The loss is weighted with 0.5, and its mean is over two outputs.
    assert a.grad_norm == pytest.approx(abs(a.scale * np.mean(residual * z[:, :2])), rel=1e-4)
    assert b.grad_norm == pytest.approx(abs(2 * np.mean(residual)), rel=1e-4)
    assert codes(report, *OF_CONSTANTS) == []


@pytest.mark.slow
def test_as_plain_types_text_and_html():
    report = report_of(line, A, B)
    found = json.loads(json.dumps(report.to_dict()))["constants"]
    keys = [
        "constant",
        "value",
        "unit",
        "low",
        "high",
        "scale",
        "grad_norm",
        "sensitivity",
        "terms",
    ]
    assert [list(row) for row in found] == [keys, keys]
    lines = str(report).splitlines()
    head = next(i for i, text in enumerate(lines) if text.startswith("constant"))
    assert lines[head + 2].split()[:5] == ["a", "1", "V", "0.5", "3"]
    assert report._repr_html_().count("<table>") == 2
    without = kp.diagnose(linear_model(lambda z, x: x - z[:, :2], {"t": 1.0}), *data())
    assert (without.constants, without.to_dict()["constants"]) == ((), [])
    assert without._repr_html_().count("<table>") == 1


@pytest.mark.slow
def test_vectors_are_told_element_by_element():
    report = report_of(
        lambda z, x, c: c[0] * z + 0.0 * c[2] - x + c[1], {"initial": [1.0, 2.0, 3.0], "name": "c"}
    )
    assert [row.constant for row in report.constants] == ["c_0", "c_1", "c_2"]
    assert codes(report, *OF_CONSTANTS) == [("unidentified", "c_2")]


UNIDENTIFIED = {
    "stopped": lambda z, x, a, b: a * z - x + ops.stop_gradient(b),
    "cancels": lambda z, x, a, b: a * z - x + (b - b),
    "saturated": lambda z, x, a, b: a * z - x + ops.relu(-10.0 - b),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", cases(UNIDENTIFIED, "stopped"))
def test_unidentified(kind):
    report = report_of(UNIDENTIFIED[kind])
    assert codes(report, *OF_CONSTANTS) == [("unidentified", "b")]
    (finding,) = (f for f in report.findings if f.code == "unidentified")
    used = kind != "stopped"
    assert ("'t' is computed from it" in finding.message) == used
    assert finding.severity == "error"


@pytest.mark.slow
def test_a_term_of_weight_0_identifies_where_no_other_does():
    def two(z, x, a, b):
        return {"t": a * z - x, "u": b * x - z}

    report = report_of(two, weights={"t": 1.0, "u": 0.0})
    assert codes(report, *OF_CONSTANTS) == []
    assert report.constants[1].terms == ("u",)
    assert report.constants[1].grad_norm == 0.0


@pytest.mark.slow
def test_a_fixed_constant_is_not_looked_for():
    report = report_of(lambda z, x, a, b: a * z - x, A, {**B, "trainable": False})
    assert codes(report, *OF_CONSTANTS) == []
    assert (report.constants[1].constant, report.constants[1].sensitivity) == ("b", None)
    assert "fixed" in str(report)


def two_terms(z, x, a, b):
    return {"t": a * b * z - x, "u": b * x - z}


COLLINEAR = {
    "a product": (lambda z, x, a, b: a * b * z - x, True),
    "a sum": (lambda z, x, a, b: a * z + b * z - x, True),
    "nearly": (lambda z, x, a, b: a * z + b * (1.01 * z + 1e-3 * x) - x, True),
    "not nearly": (lambda z, x, a, b: a * z + b * (z + 0.5 * ops.sin(5 * z)) - x, False),
    "gain and offset": (lambda z, x, a, b: a * (z + 3) + b - x, False),
    "a product, and another term": (two_terms, False),
}


@pytest.mark.parametrize("kind", cases(COLLINEAR, "a product"))
def test_collinear(kind):
    function, found = COLLINEAR[kind]
    report = report_of(function, weights={"t": 1.0, "u": 1.0} if function is two_terms else None)
    assert codes(report, *OF_CONSTANTS[:4]) == ([("collinear", "a")] if found else [])
    if found:
        (finding,) = (f for f in report.findings if f.code == "collinear")
        assert "'a' and 'b' cannot be told apart" in finding.message
        assert "cosine of their derivatives +1.0000" in finding.message


@pytest.mark.slow
def test_three_constants_of_which_no_two_are_collinear():
    third = {"initial": 1.0, "name": "c"}
    report = report_of(
        lambda z, x, a, b, c: a * z[:, :1] + b * z[:, 1:] + c * (z[:, :1] + z[:, 1:]) - x,
        A,
        B,
        third,
    )
    assert codes(report, *OF_CONSTANTS) == [("collinear", "a")]
    (finding,) = (f for f in report.findings if f.code == "collinear")
    assert "'a', 'b' and 'c' cannot be told apart" in finding.message


def test_a_constant_beside_two_collinear_ones_is_not_named():
    """The condition index, and the cosine, are those of the derivatives themselves."""
    rng = np.random.default_rng(0)
    derivatives = rng.normal(size=(50, 3)) * [1.0, 1.0, 7.0]
    derivatives[:, 1] = 2 * derivatives[:, 0] + 1e-3 * derivatives[:, 1]
    lengths = np.linalg.norm(derivatives, axis=0)
    singular = np.linalg.svd(derivatives / lengths, compute_uv=False)
    rows = [
        ConstantDiagnosis(name, 1.0, None, None, None, 1.0, True, None, None, 1.0, 0.0, of, ("t",))
        for name, of in zip("abc", lengths, strict=True)
    ]
    (finding,) = constant_findings(rows, derivatives.T @ derivatives, kp.Thresholds())
    assert finding.message.startswith("'a' and 'b' cannot be told apart on these rows")
    cosine = derivatives[:, 0] @ derivatives[:, 1] / (lengths[0] * lengths[1])
    assert f"index {singular[0] / singular[-1]:.3g}, cosine" in finding.message
    assert f"cosine of their derivatives {cosine:+.5f})" in finding.message


@pytest.mark.slow
def test_near_a_bound():
    report = report_of(
        lambda z, x, up, near, down: up * z + near * z**2 + down - x,
        *({**A, "name": name} for name in ("up", "near", "down")),
        move=[8.0, 1.0, -8.0],
    )
    assert codes(report, "near-bound") == [("near-bound", "up"), ("near-bound", "down")]
    upper, lower = (f.message for f in report.findings if f.code == "near-bound")
    assert "near its upper bound 3 V" in upper
    assert "near its lower bound 0.5 V" in lower


@pytest.mark.slow
def test_how_near_a_bound_is_for_the_user_to_say():
    report = report_of(line, move=[3.0], thresholds=kp.Thresholds(bound_room=0.5))
    assert codes(report, "near-bound")


TRIVIAL = {
    "cancels": lambda z, x, a, b: a * x - a * x,
    "times zero": lambda z, x, a, b: (a + b) * (z - z),
    "a bound that always holds": lambda z, x, a, b: ops.relu(-(a**2) - x**2),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", cases(TRIVIAL, "cancels"))
def test_trivial_terms_are_found_out(kind):
    report = report_of(TRIVIAL[kind])
    assert codes(report, "trivial") == [("trivial", "t")]
    # No other term tells of the constants.
    assert {term for _, term in codes(report, "unidentified")} == {"a", "b"}


@pytest.mark.slow
def test_an_inequality_that_holds_is_for_information():
    def two(z, x, a, b):
        return {"t": a * z + b - x, "u": kp.residuals.positive(a * ops.square(x))}

    report = report_of(two, weights={"t": 1.0, "u": 1.0})
    assert codes(report, *OF_CONSTANTS) == [("trivial", "u")]
    (finding,) = (f for f in report.findings if f.code == "trivial")
    assert finding.severity == "info"
    assert "right for an inequality that holds" in finding.cure


@pytest.mark.slow
@pytest.mark.parametrize("weight", [1.0, pytest.param(1e18, marks=pytest.mark.slow)])
def test_physics_in_small_units_is_not_trivial(weight):
    small = {"initial": 1e-9, "low": 0.0, "name": "a"}
    report = report_of(lambda z, x, a: a * x - 1.3e-9 * z, small, weights={"t": weight})
    assert report["t"].loss < report.thresholds.floor_tolerance
    assert codes(report, *OF_CONSTANTS) == []


@pytest.mark.slow
def test_what_is_zero_at_the_present_value_alone_is_not_trivial():
    report = report_of(lambda z, x, a, b: (a - 1.0) * x + 0.0 * b)
    assert report["t"].loss == 0.0
    assert codes(report, "trivial") == []


@pytest.mark.slow
def test_a_term_without_constants_is_not_trivial():
    report = report_of(
        lambda z, x, a, b: {"t": a * z + b - x, "u": x - x}, weights={"t": 1.0, "u": 1.0}
    )
    assert codes(report, "trivial") == []


FREE = {"initial": 1.0, "name": "a"}
ESCAPES = {
    # physics, the constant, the way out
    "a factor": (lambda z, x, a: a * (x - z), FREE, "'a' to zero"),
    "a positive factor": (lambda z, x, a: a * (x - z), {**FREE, "low": 0}, "'a' to zero"),
    "a square": (lambda z, x, a: a**2 * (x - z), {**FREE, "low": -1, "high": 9}, "'a' to zero"),
    "a logarithm": (lambda z, x, a: a * (x - z), {**FREE, "log": True}, "'a' to zero"),
    "a divisor": (lambda z, x, a: (x - z) / a, FREE, "'a' to its largest"),
    "a cap": (lambda z, x, a: kp.residuals.bounded(x, high=a), FREE, "'a' to its largest"),
    "a factor kept off 0": (lambda z, x, a: a * (x - z), {**FREE, "low": 0.5, "high": 2}, None),
    "a gain": (lambda z, x, a: a * x - z, FREE, None),
    "an offset": (lambda z, x, a: x - z + a, FREE, None),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", cases(ESCAPES, "a square"))
def test_trivial_solutions(kind):
    function, options, way = ESCAPES[kind]
    report = report_of(function, options)
    assert codes(report, "trivial-solution") == ([("trivial-solution", "t")] if way else [])
    if way:
        (finding,) = (f for f in report.findings if f.code == "trivial-solution")
        assert f"by moving {way}:" in finding.message


@pytest.mark.slow
def test_a_trivial_solution_of_two_constants():
    report = report_of(lambda z, x, a, b: a * z + b * x, FREE, B)
    assert codes(report, "trivial-solution") == [("trivial-solution", "t")]
    assert any("moving all constants to zero" in f.message for f in report.findings)


@pytest.mark.slow
def test_constants_that_are_not_finite():
    report = report_of(line, move=[np.nan])
    assert ("non-finite", "a") in codes(report, "non-finite")
    assert report.to_dict()["constants"][0]["value"] is None


@pytest.mark.slow
def test_an_operation_without_second_gradient_is_no_finding():
    def resized(z, x, a, b):
        image = tf.reshape(a * x, (-1, 1, 2, 1))
        image = tf.raw_ops.ResizeBicubic(images=image, size=[1, 2], half_pixel_centers=True)
        return tf.reshape(image, (-1, 2)) - b * z

    report = report_of(resized)
    assert np.isnan(report.constants[0].sensitivity)
    assert report.to_dict()["constants"][0]["sensitivity"] is None
    assert report.constants[0].grad_norm > 0
    assert codes(report, *OF_CONSTANTS) == []


def mean_of_resized(x):
    """An operation whose gradient is marked as not differentiable: it silently has no second."""
    image = ops.reshape(x, (-1, 1, 2, 1)) * ops.ones((1, 2, 1, 1))
    return ops.mean(ops.image.resize(image, (4, 4)), axis=(1, 2))


NO_SECOND = {
    # What is not known of [a, b], and what is found.
    "on every way": (lambda z, x, a, b: mean_of_resized(a * x) - b * z[:, :1], [True, False], []),
    "on one of two ways": (
        lambda z, x, a, b: mean_of_resized(a * x) + a * z[:, :1] - b * x[:, :1],
        [True, False],
        [],
    ),
    "and another is not used": (
        lambda z, x, a, b: mean_of_resized(a * x) - z[:, :1],
        [True, False],
        [("unidentified", "b")],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", cases(NO_SECOND, "and another is not used"))
def test_an_operation_that_silently_has_no_second_gradient(kind):
    function, unknown, found = NO_SECOND[kind]
    report = report_of(function)
    assert [bool(np.isnan(row.sensitivity)) for row in report.constants] == unknown
    assert report.constants[0].grad_norm > 0
    assert codes(report, *OF_CONSTANTS[:4]) == found
    assert "a: the sensitivity is not known" in str(report)


@pytest.mark.slow
@pytest.mark.parametrize("eager", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_physics_that_fails_at_other_values_of_its_constants(eager):
    def positive_only(z, x, a):
        return ops.cholesky(a * ops.eye(2))[0, 0] * x - z

    model = linear_model(Physics(positive_only, FREE), {"t": 1.0})
    model.compile("sgd", "mse", run_eagerly=eager)
    report = kp.diagnose(model, *data(rows=40))
    assert report.constants[0].sensitivity > 0
    assert codes(report, *OF_CONSTANTS) == []


@pytest.mark.slow
def test_long_vectors_are_left_out():
    many = {"initial": np.linspace(0.1, 1.0, 200), "name": "c", "high": 9.0}
    report = report_of(lambda z, x, a, c: a * z - x * ops.sum(c), A, many)
    first, *others = report.constants
    assert first.sensitivity > 0
    assert [row.constant for row in others] == [f"c_{k}" for k in range(200)]
    assert np.isnan([row.sensitivity for row in others]).all()
    assert all(row.grad_norm > 0 and row.terms == ("t",) for row in others)
    assert codes(report, *OF_CONSTANTS[:4]) == []
    assert "c: 200 elements are too many for the table" in str(report)
    assert "c_0" not in str(report)


@pytest.mark.slow
def test_constants_of_another_physics_layer_do_not_feed_the_prediction():
    keras.utils.set_random_seed(1)
    z = keras.Input((3,))
    x = keras.layers.Dense(2)(z)
    for term, options in (("t", A), ("u", B)):
        physics = Physics(lambda z, x, c: c * x - z, options)
        x = kp.PhysicsRegularization(physics, {term: 1.0})(z, x)
    model = kp.PhysicsModel(z, x)
    model.compile("sgd", "mse")
    report = kp.diagnose(model, *data())
    assert codes(report, "partly-connected", *OF_CONSTANTS) == []
    assert [row.reached for row in report.terms] == [3, 3]


@pytest.mark.slow
def test_a_term_that_trains_constants_alone():
    def calibrated(z, x, a):
        return {"t": ops.stop_gradient(a) * x - z, "u": a * ops.flip(z, -1) - z}

    report = report_of(calibrated, A, weights={"t": 1.0, "u": 1.0})
    assert codes(report, "disconnected", "constants-only") == [("constants-only", "u")]
    assert codes(report, *OF_CONSTANTS) == []
    alone = report_of(lambda z, x, a: a * ops.flip(z, -1) - z, A)
    assert codes(alone, "disconnected", "constants-only") == [("constants-only", "t")]
    cut_off = report_of(lambda z, x, a: a * ops.stop_gradient(x) - z, A)
    assert codes(cut_off, "disconnected", "constants-only") == [("disconnected", "t")]


@pytest.mark.slow
def test_nothing_changes():
    z, x = data()
    physics = Physics(line)
    model = linear_model(physics, {"t": 0.5})
    model.fit(z, x, verbose=0)
    before = state_of(model)
    kp.diagnose(model, z, x)
    assert state_of(model) == before


@pytest.mark.slow
def test_without_labels_and_eagerly():
    z, x = data()
    model = linear_model(Physics(line), {"t": 0.5})
    compiled = kp.diagnose(model, z).constants
    model.compile("sgd", "mse", run_eagerly=True)
    eager = kp.diagnose(model, z, x).constants
    for first, second in zip(compiled, eager, strict=True):
        assert first.sensitivity == pytest.approx(second.sensitivity, rel=1e-5)
