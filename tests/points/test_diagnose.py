"""`diagnose` judges a term that has points on them alone."""

import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests.points import linear
from tests.unlabelled.linear import data

pytestmark = pytest.mark.tensorflow
X, Y, _ = data()


def expected(model, name):
    """Loss of a term at its points, and the norm of its gradient, in NumPy."""
    weight = dict.fromkeys(linear.WEIGHTS, 1.0)
    given = {name: linear.POINTS[name]}
    losses, gradients = linear.at_the_points(*linear.values(model), given, weight)
    norm = np.sqrt(sum(np.sum(part**2) for part in gradients))
    return losses[f"{name}_loss"], norm


def assert_at_points(model, report):
    rows = {row.term: row for row in report.terms}
    for name in linear.OF_POINTS:
        loss, norm = expected(model, name)
        assert rows[name].here.loss == pytest.approx(loss, rel=1e-5)
        assert rows[name].grad_norm == pytest.approx(norm, rel=1e-5)
        assert rows[name].labels is None
    return rows


@pytest.mark.slow
def test_beside_labelled_rows():
    model = linear.model()
    alone = {row.term: row for row in kp.diagnose(model, X, Y, batch_size=8).terms}
    report = kp.diagnose(model, X, Y, batch_size=3, points=linear.POINTS)
    rows = assert_at_points(model, report)
    for name in ("x", "z"):
        assert rows[name].here.loss == pytest.approx(alone[name].here.loss, rel=1e-5)
        assert rows[name].grad_norm == pytest.approx(alone[name].grad_norm, rel=1e-5)
        assert rows[name].labels.loss == pytest.approx(alone[name].labels.loss, rel=1e-5)
    print(report)


def test_without_labelled_rows():
    model = linear.model(linear.OF_POINTS, loss=None)
    report = kp.diagnose(model, points=linear.POINTS)
    assert_at_points(model, report)
    assert not [f for f in report.findings if f.severity == "error"]


def test_a_sampler():
    model = linear.model(linear.OF_POINTS, loss=None)
    sampler = kp.UniformSampler([0.0] * 3, [1.0] * 3)
    points = linear.POINTS | {"pde": sampler}
    report = kp.diagnose(model, points=points)
    kernel, bias = linear.values(model)
    drawn = {"pde": sampler(0, 1024)}
    loss = linear.at_the_points(kernel, bias, drawn)[0]["pde_loss"]
    found = next(row for row in report.terms if row.term == "pde")
    assert found.here.loss == pytest.approx(loss, rel=1e-4)


def test_wrong_points():
    model = linear.model()
    with pytest.raises(ValueError, match=r"Did you mean 'pde'\?"):
        kp.diagnose(model, X, Y, points={"pdf": X})
    with pytest.raises(TypeError, match="`x` must be an array"):  # Labels of no rows.
        kp.diagnose(model, y=Y, points=linear.POINTS)
    with pytest.raises(ValueError, match=r"takes inputs `x` of shape \(rows, 3\)"):
        kp.diagnose(model, X, Y, points={"pde": X[:, :2]})
    with pytest.raises(ValueError, match=r"Without points: \['x', 'z', 'wall'\]"):
        kp.diagnose(model, points={"pde": X})


@pytest.mark.parametrize(
    ("given", "error"),
    [(np.ones((0, 3)), ValueError), ([[0.0] * 3], ValueError), (None, TypeError)],
    ids=["no rows", "a list", "None"],
)
def test_points_that_are_no_rows_are_named(given, error):
    model = linear.model(linear.OF_POINTS, loss=None)
    with pytest.raises(error, match=r"Received: points\['pde'\]"):
        kp.diagnose(model, points=linear.POINTS | {"pde": given})


def test_points_of_nothing_but_nan():
    model = linear.model(linear.OF_POINTS, loss=None)
    report = kp.diagnose(model, points=linear.POINTS | {"pde": np.full((4, 3), np.nan)})
    assert ("non-finite", "pde") in {(f.code, f.term) for f in report.findings}


@pytest.mark.slow
def test_sensitivity_to_a_constant_is_that_at_the_points():
    class Law(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.nu = kp.Constant(2.0, name="nu")

        def call(self, z, x_pred):
            return self.nu() * z[:, :1] - x_pred

    def made(rows):
        keras.utils.set_random_seed(0)
        z = keras.Input((3,))
        physics = {"law": Law(), "wall": linear.wall}
        layer = kp.PhysicsRegularization(physics, {"law": 1.0, "wall": 1.0})
        model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(z)))
        model.compile("sgd", "mse")
        return kp.diagnose(model, X, Y, **rows).constants[0]

    points = linear.points(9, 2)
    apart = made({"points": {"law": points}})
    same = made({})
    assert apart.sensitivity != pytest.approx(same.sensitivity, rel=1e-2)
    # The output is nu z: its derivative by log nu or so goes as the size of z.
    ratio = np.sqrt(np.mean(points[:, 0] ** 2) / np.mean(X[:, 0] ** 2))
    assert apart.sensitivity / same.sensitivity == pytest.approx(ratio, rel=1e-4)
