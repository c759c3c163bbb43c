"""GradientMonitor on point sets, against gradients in NumPy."""

import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests.points import linear
from tests.unlabelled.linear import data
from tests.variants import slow_but

pytestmark = pytest.mark.tensorflow
X, Y, _ = data()
PROBES = {"pde": linear.points(6, 8), "wall": linear.points(4, 9)}


def flat(parts):
    return np.concatenate([np.ravel(part) for part in parts])


def of_term(kernel, bias, term):
    """Gradient of the unweighted loss of a term at its points."""
    given = {term: PROBES[term]}
    return flat(linear.at_the_points(kernel, bias, given, {term: 1.0})[1])


def of_data(kernel, bias):
    off = X.astype("float64") @ kernel + bias - Y
    return flat([X.T @ off * 2 / off.size, off.sum(axis=0) * 2 / off.size])


@pytest.mark.parametrize("batch_size", slow_but({5}, [256, 5]), ids=["one batch", "batches"])
def test_terms_are_measured_at_their_points(batch_size):
    model = linear.model()
    monitor = kp.GradientMonitor(X, Y, points=PROBES, batch_size=batch_size)
    logs = model.fit(X, Y, points=linear.POINTS, callbacks=[monitor], verbose=0).history
    kernel, bias = linear.values(model)
    of_labels = of_data(kernel, bias)
    for term in linear.OF_POINTS:
        gradient = of_term(kernel, bias, term)
        norm, other = np.linalg.norm(gradient), np.linalg.norm(of_labels)
        assert logs[f"{term}_grad_norm"][-1] == pytest.approx(norm, rel=1e-4)
        ratio = linear.WEIGHTS[term] * norm / other
        assert logs[f"{term}_grad_ratio"][-1] == pytest.approx(ratio, rel=1e-4)
        cosine = gradient @ of_labels / (norm * other)
        assert logs[f"{term}_grad_cosine"][-1] == pytest.approx(cosine, abs=1e-4)
    off = 2 * (2 * (X @ kernel + bias) - X[:, :2])  # A term without points is measured on the rows.
    of_z = flat([X.T @ off * 2 / off.size, off.sum(axis=0) * 2 / off.size])
    assert logs["z_grad_norm"][-1] == pytest.approx(np.linalg.norm(of_z), rel=1e-4)


@pytest.mark.slow
def test_points_alone():
    model = linear.model(linear.OF_POINTS, loss=None)
    monitor = kp.GradientMonitor(points=PROBES)
    fit = {"points": linear.POINTS, "steps_per_epoch": 3, "verbose": 0}
    logs = model.fit(**fit, callbacks=[monitor]).history
    kernel, bias = linear.values(model)
    for term in linear.OF_POINTS:
        norm = np.linalg.norm(of_term(kernel, bias, term))
        assert logs[f"{term}_grad_norm"][-1] == pytest.approx(norm, rel=1e-4)
        assert np.isnan(logs[f"{term}_grad_ratio"][-1])
    without = linear.model(linear.OF_POINTS, loss=None)
    without.fit(**fit)
    assert np.array_equal(linear.values(without)[0], kernel)


def plain():
    return linear.model(("pde", "wall"), keras.Model)


WRONG = {
    "unknown": (linear.model, {"x": X, "points": {"pdf": X}}, ValueError, "Did you mean 'pde'"),
    "label": (linear.model, {"x": X, "points": {"x": X}}, ValueError, "'x' needs the label"),
    "too few": (linear.model, {"points": PROBES}, ValueError, r"Without points: \['x', 'z'\]"),
    "width": (
        linear.model,
        {"x": X, "points": {"pde": X[:, :2]}},
        ValueError,
        r"GradientMonitor: `points\['pde'\]`: model .* takes inputs",
    ),
    "plain model": (plain, {"x": X, "points": PROBES}, TypeError, "needs a `keras_physreg.Physics"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_wrong_points(case):
    build, given, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        build().fit(X, Y, callbacks=[kp.GradientMonitor(**given)], verbose=0)


@pytest.mark.parametrize(
    "given",
    [{}, {"y": Y, "points": PROBES}, {"sample_weight": np.ones(4), "points": PROBES}],
    ids=["nothing", "labels of no rows", "weights of no rows"],
)
def test_no_rows(given):
    with pytest.raises(TypeError, match="`x` must be an array"):
        kp.GradientMonitor(**given)


def test_points_of_no_term():
    monitor = kp.GradientMonitor(points=X)
    with pytest.raises(TypeError, match="`points` must be a dict of points by term"):
        linear.model().fit(X, Y, callbacks=[monitor], verbose=0)
