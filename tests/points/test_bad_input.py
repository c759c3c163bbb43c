"""Wrong points are refused before training, with the argument named."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_physreg as kp
from keras_physreg.models import fit_points
from tests.points import linear
from tests.unlabelled.linear import data

pytestmark = pytest.mark.tensorflow
PDE = linear.POINTS["pde"]
SAMPLER = kp.UniformSampler([0.0] * 3, [1.0] * 3)


def of_nan():
    rows = PDE.copy()
    rows[4, 1] = np.nan
    return rows


def unknown_size():
    return tf.data.Dataset.from_tensor_slices(PDE).batch(4)


WRONG = {
    "no dict": ({"points": PDE}, TypeError, "`points` must be a dict of points by term"),
    "empty": ({"points": {}}, ValueError, "`points` must have points for at least one term"),
    "unknown": (
        {"points": {"pdf": PDE}},
        ValueError,
        "`points` names an unknown term. Did you mean 'pde'?",
    ),
    "label": ({"points": {"x": PDE}}, ValueError, "Physics term 'x' needs the label"),
    "width": (
        {"points": {"pde": PDE[:, :2]}},
        ValueError,
        r"points\['pde'\]` must have the row shape of the model's inputs: \('rows', 3\)",
    ),
    "rank": ({"points": {"pde": PDE[0]}}, ValueError, r"points\['pde'\]` must have the row shape"),
    "dtype": (
        {"points": {"pde": np.ones((4, 3), int)}},
        TypeError,
        r"points\['pde'\]` must have the dtype of the model's inputs: float32",
    ),
    "structure": (
        {"points": {"pde": {"z": PDE}}},
        ValueError,
        r"points\['pde'\]` must be inputs with the structure of the model's inputs",
    ),
    "no rows": ({"points": {"pde": PDE[:0]}}, ValueError, "must have the same number of rows"),
    "NaN": (
        {"points": {"pde": of_nan()}},
        ValueError,
        r"points\['pde'\]` must be finite. Received: 1 of 7 points with NaN .* first in row 4",
    ),
    "generator": ({"points": {"pde": (k for k in PDE)}}, TypeError, "must be arrays, a `tf.data"),
    "sampler without size": (
        {"points": {"pde": SAMPLER}},
        ValueError,
        r"sampler given as `points\['pde'\]` needs the number of points",
    ),
    "sampler of other width": (
        {
            "points": {"pde": kp.UniformSampler([0.0], [1.0])},
            "points_batch_size": 4,
        },
        ValueError,
        "must have the row shape of the model's inputs",
    ),
    "size of no points": (
        {"points": {"pde": PDE}, "points_batch_size": {"wall": 2}},
        ValueError,
        "`points_batch_size` names a term that has no points",
    ),
    "size 0": (
        {"points": {"pde": PDE}, "points_batch_size": 0},
        ValueError,
        "`points_batch_size of term 'pde'` must be an integer >= 1",
    ),
    "size of a dataset": (
        {"points": {"pde": unknown_size()}, "points_batch_size": 4},
        ValueError,
        "has its own batches",
    ),
    "dataset of unknown size": (
        {"points": {"pde": unknown_size()}},
        ValueError,
        "must have batches of one known size",
    ),
    "size without points": (
        {"points_batch_size": 4},
        ValueError,
        "These arguments need `points`",
    ),
    "validation sampler": (
        {"points": {"pde": PDE}, "validation_points": {"pde": SAMPLER}},
        TypeError,
        r"`validation_points\['pde'\]` must be arrays",
    ),
    "validation of an unknown term": (
        {"points": {"pde": PDE}, "validation_points": {"walls": PDE}},
        ValueError,
        "`validation_points` names an unknown term. Did you mean 'wall'?",
    ),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_wrong_points(case):
    given, kind, message = WRONG[case]
    x, y, _ = data()
    with pytest.raises(kind, match=message):
        linear.model().fit(x, y, verbose=0, **given)


def test_points_that_are_not_finite_are_not_blamed_on_a_where():
    term = kp.PhysicsTerm("law", where=lambda z: keras.ops.relu(z[:, 1]))
    z = keras.Input((3,))
    layer = kp.PhysicsRegularization({"law": lambda z, x: x - z[:, :2]}, [term])
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(z)))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"`points\['law'\]` must be finite.* first in row 4"):
        model.fit(*data()[:2], points={"law": of_nan()}, verbose=0)
    with pytest.raises(ValueError, match=r"`where`.*'law' must be >= 0.*row\(s\) 4\. .*NaN"):
        model.fit(of_nan(), np.zeros((len(PDE), 2)), verbose=0)


class Subclassed(kp.PhysicsModel):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)
        term = kp.PhysicsTerm("law", where=lambda z: z[:, 1] > 0)
        self.physics = kp.PhysicsRegularization({"law": lambda z, x: x - z[:, :2]}, [term])

    def call(self, z):
        return self.physics(z, self.dense(z))


def test_a_model_that_is_not_built_trains_after_wrong_points():
    """What looks for the cause of a failure must not create its variables."""
    model = Subclassed()
    model.compile("sgd", "mse")
    z, x = data()[:2]
    with pytest.raises(ValueError, match=r"`points\['law'\]` must be finite"):
        model.fit(z, x, points={"law": of_nan()}, verbose=0)
    logs = model.fit(z, x, points={"law": z}, verbose=0).history
    assert np.isfinite(logs["law_loss"]).all()


WITHOUT_ROWS = {
    "terms without points": ({"points": {"pde": PDE}}, "Without points: \\['wall'\\]"),
    "labels": ({"points": linear.POINTS, "y": PDE}, "`y` is for labelled rows"),
    "batch size": ({"points": linear.POINTS, "batch_size": 4}, "`points_batch_size`"),
    "split": ({"points": linear.POINTS, "validation_split": 0.2}, "`validation_split` is for"),
    "unlabelled": (
        {"points": {"pde": PDE}, "unlabelled": PDE},
        "need labelled ones",
    ),
}


@pytest.mark.parametrize("case", list(WITHOUT_ROWS))
def test_without_labelled_rows(case):
    given, message = WITHOUT_ROWS[case]
    model = linear.model(linear.OF_POINTS, loss=None)
    with pytest.raises(ValueError, match=message):
        model.fit(verbose=0, **given)


def test_points_for_one_term_of_a_function_that_serves_several():
    z = keras.Input((3,))
    layer = kp.PhysicsRegularization(lambda z, x: {"a": x, "b": 2 * x}, {"a": 1.0, "b": 1.0})
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(z)))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"computes the terms \['b'\], too. Give each term its"):
        model.fit(*data()[:2], points={"a": PDE}, verbose=0)


def test_unlabelled_rows_that_no_term_would_see():
    model = linear.model(("pde", "wall"))
    with pytest.raises(ValueError, match="`unlabelled` has no effect: all physics terms"):
        model.fit(*data()[:2], points=linear.POINTS, unlabelled=PDE, verbose=0)


def test_a_train_step_that_does_not_call_the_model():
    class Own(kp.PhysicsModel):
        def train_step(self, data):
            return {"loss": keras.ops.zeros(())}

    model = linear.model(("pde", "wall"), Own)
    with pytest.raises(ValueError, match="`points` had no effect"):
        model.fit(*data()[:2], points=linear.POINTS, verbose=0)


def test_several_devices(monkeypatch):
    monkeypatch.setattr(fit_points, "replicas_of", lambda model: 2)
    with pytest.raises(NotImplementedError, match=r"does not support a `tf\.distribute` strategy"):
        linear.model().fit(*data()[:2], points=linear.POINTS, verbose=0)


def test_a_slice_of_the_input_has_no_derivative():
    """Joined rows are taken apart: only the input of the model itself can be differentiated by."""

    def slope(z, u):
        return tf.gradients(u, z)[0]

    def level(z, u):
        return u

    z = keras.Input((3,))
    shifted = keras.layers.Rescaling(2.0)(z)
    u = keras.layers.Dense(1)(keras.layers.Dense(4, activation="tanh")(z))
    layer = kp.PhysicsRegularization({"a": slope, "b": level}, {"a": 1.0, "b": 1.0})
    model = kp.PhysicsModel(z, layer(shifted, u))
    model.compile("sgd", None)
    with pytest.raises((TypeError, ValueError), match=r"keras_physreg\.Derivatives"):
        model.fit(points={"a": PDE, "b": PDE}, verbose=0)


FUNCTIONS = {
    "missing": ({"a": linear.pde}, ValueError, "Missing: \\['b'\\]"),
    "unknown": (
        {"a": linear.pde, "b": linear.pde, "bb": linear.pde},
        ValueError,
        "Without a term: \\['bb'\\]",
    ),
    "no function": ({"a": linear.pde, "b": 3}, TypeError, "`physics\\['b'\\]` must be a function"),
    "class": (
        {"a": linear.pde, "b": keras.layers.Dense},
        TypeError,
        "an instance and not its class",
    ),
}


@pytest.mark.parametrize("case", list(FUNCTIONS))
def test_wrong_functions(case):
    functions, kind, message = FUNCTIONS[case]
    with pytest.raises(kind, match=message):
        kp.PhysicsRegularization(functions, {"a": 1.0, "b": 1.0})


def test_a_function_that_returns_the_output_of_another_term():
    z = keras.Input((3,))
    layer = kp.PhysicsRegularization(
        {"a": lambda z, x: x, "b": lambda z, x: {"a": x}}, {"a": 1.0, "b": 1.0}
    )
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(z)))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"Missing: \['b'\]. Without a term: \['a'\]"):
        model.fit(*data()[:2], verbose=0)


def test_other_backends(monkeypatch):
    model = linear.model()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(NotImplementedError, match=r"`fit\(points=\.\.\.\)` needs the TensorFlow"):
        model.fit(*data()[:2], points=linear.POINTS, verbose=0)
