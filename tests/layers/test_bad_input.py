"""Bad input raises an error that names the argument, what was received, and what to do."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from keras_physreg._utils.backend import tensorflow as tf
from tests import problems
from tests.problems import bare_model, data, physics_model, terms
from tests.variants import slow_but

ONE = [kp.PhysicsTerm("x", reference="target")]
TWO = terms()


def halves(z, x_pred):
    return z[:, :2] / 2


def raises_inside(z, x_pred):
    raise KeyError("own error")


PHYSICS = {
    # physics, terms, error, parts of the message
    "other names": (
        lambda z, x: {"x": halves(z, x), "zz": x},
        TWO,
        ValueError,
        ["Missing: ['z']", "Without a term: ['zz']", "Did you mean 'z'?"],
    ),
    "a tuple too short": (lambda z, x: (x,), TWO, ValueError, ["1 output(s) for 2 term(s)"]),
    "a tuple too long": (lambda z, x: (x, x), ONE, ValueError, ["2 output(s) for 1 term(s)"]),
    "one tensor for two": (lambda z, x: x, TWO, ValueError, ["1 output(s) for 2 term(s)"]),
    "None": (lambda z, x: None, ONE, TypeError, ["returned None", "Return one output per term"]),
    "None inside": (
        lambda z, x: {"x": None},
        ONE,
        TypeError,
        ["must return a tensor for term 'x'", "None"],
    ),
    "an integer": (
        lambda z, x: ops.cast(x, "int32"),
        ONE,
        TypeError,
        ["dtype int32", "no gradient"],
    ),
    "a boolean": (lambda z, x: x > 0, ONE, TypeError, ["dtype bool", "Leave out the cast"]),
    "a number": (lambda z, x: 1.0, ONE, TypeError, ["must return a tensor", "float"]),
    "an array": (
        lambda z, x: np.ones(2),
        ONE,
        TypeError,
        ["must return a tensor", "array of shape (2,) and dtype float64", "ndarray", "keras.ops"],
    ),
    "(N,) for (N, 2)": (
        lambda z, x: x[:, 0],
        ONE,
        ValueError,
        ["(None,)", "(None, 2)", "broadcast"],
    ),
    "(N, 1) for (N, 2)": (
        lambda z, x: x[:, :1],
        ONE,
        ValueError,
        ["(None, 1)", "(None, 2)", "'x'"],
    ),
    "(N, 2, 1) for (N, 2)": (lambda z, x: x[:, :, None], ONE, ValueError, ["(None, 2, 1)"]),
    "reduced batch": (
        lambda z, x: ops.mean(x, axis=0, keepdims=True),
        ONE,
        ValueError,
        ["(1, 2)", "(None, 2)"],
    ),
    "NumPy": (
        lambda z, x: tf.constant(np.sin(x)),
        ONE,
        TypeError,
        ["calls NumPy", "keras.ops.exp"],
    ),
    ".numpy()": (lambda z, x: x.numpy(), ONE, TypeError, ["calls NumPy", "symbolic tensor"]),
    "its own error": (raises_inside, ONE, KeyError, ["own error", "`raises_inside`"]),
    "no such input": (
        halves,
        [kp.PhysicsTerm("x", "input.pressure")],
        ValueError,
        ["'input.pressure'", "does not exist"],
    ),
    "no such label": (
        halves,
        [kp.PhysicsTerm("x", "target.flow")],
        ValueError,
        ["'target.flow'", "does not exist"],
    ),
    "component beyond the last axis": (
        halves,
        [kp.PhysicsTerm("x", "target", components=[0, 2])],
        ValueError,
        ["(None, 2)", "[0, 2]"],
    ),
    "components of the batch": (
        lambda z, x: x[:, 0],
        [kp.PhysicsTerm("x", "target.0", components=[0])],
        ValueError,
        ["'target.0'"],
    ),
}


@pytest.mark.tensorflow
@pytest.mark.parametrize(("physics", "term_list", "error", "parts"), PHYSICS.values(), ids=PHYSICS)
def test_bad_physics(physics, term_list, error, parts):
    model = physics_model(physics, term_list)
    model.compile("sgd", "mse")
    with pytest.raises(error) as caught:
        model.fit(*data(), verbose=0)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.tensorflow
@pytest.mark.parametrize("model_class", [kp.PhysicsModel, keras.Model])
def test_the_traceback_of_the_physics_stays_visible(model_class):
    model = physics_model(raises_inside, {"r": 1.0}, model_class)
    model.compile("sgd", "mse")
    with pytest.raises(KeyError, match=model.layers[-1].name) as caught:
        model.fit(*data(), verbose=0)
    assert any(entry.name == "raises_inside" for entry in caught.traceback)


def wrong_by(factor, z, x):
    return factor * x - z  # (rows, 2) - (rows, 3)


class Wrong:
    def __call__(self, z, x):
        return wrong_by(1.0, z, x)

    def method(self, z, x):
        return wrong_by(1.0, z, x)

    @staticmethod
    def of_class(z, x):
        return wrong_by(1.0, z, x)


class WrongWhenMade:
    def __init__(self, z, x):
        self.residual = wrong_by(1.0, z, x)


def decorated(function):
    @functools.wraps(function)
    def wrapped(*args):
        return function(*args)

    return wrapped


CALLABLES = {
    "partial": (functools.partial(wrong_by, 2.0), "wrong_by"),
    "partial of a partial": (functools.partial(functools.partial(wrong_by), 2.0), "wrong_by"),
    "object": (Wrong(), "Wrong"),
    "method": (Wrong().method, "method"),
    "static method": (Wrong.of_class, "of_class"),
    "class": (WrongWhenMade, "WrongWhenMade"),
    "decorated": (decorated(Wrong.of_class), "of_class"),
}
if keras.backend.backend() == "tensorflow":
    CALLABLES["tf.function"] = (tf.function(Wrong.of_class), "of_class")


@pytest.mark.tensorflow
@pytest.mark.parametrize(("physics", "name"), CALLABLES.values(), ids=CALLABLES)
def test_errors_of_every_kind_of_callable_stay_visible(physics, name):
    model = physics_model(physics, {"r": 1.0})
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Dimensions must be equal") as caught:
        model.fit(*data(), verbose=0)
    assert f"The physics `{name}` of layer '{model.layers[-1].name}'" in str(caught.value)
    assert "test_bad_input.py" in str(caught.value)


@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", slow_but({"partial"}, ["partial", "object", "tf.function"]))
def test_every_kind_of_callable_trains(kind):
    class Right:
        def __call__(self, z, x):
            return problems.residual(z, x)

    physics = {
        "partial": functools.partial(lambda factor, z, x: factor * x - z[:, :2], 2),
        "object": Right(),
        "tf.function": tf.function(problems.residual),
    }[kind]
    logs = []
    for each in (physics, problems.residual):
        model = physics_model(each, {"r": 1.0})
        model.compile("sgd", "mse")
        logs.append(model.fit(*data(), verbose=0).history)
    assert logs[0]["r_loss"] == pytest.approx(logs[1]["r_loss"], rel=1e-6)


TERM_LOSSES = {
    "NumPy": (lambda t, p: np.sin(p), TypeError, ["calls NumPy", "keras.ops.exp"]),
    ".numpy()": (lambda t, p: p.numpy(), TypeError, ["calls NumPy"]),
    "a number": (
        lambda t, p: 0.5,
        TypeError,
        ["must return a tensor", "returned 0.5", "keras.ops"],
    ),
    "an array": (lambda t, p: np.zeros(3), TypeError, ["must return a tensor", "ndarray"]),
    "its own error": (lambda t, p: {}["row"], KeyError, ["row"]),
}


@pytest.mark.tensorflow  # On JAX Keras builds the model first, and wraps the error.
@pytest.mark.parametrize("model_class", slow_but({kp.PhysicsModel}, [kp.PhysicsModel, keras.Model]))
@pytest.mark.parametrize(("loss", "error", "parts"), TERM_LOSSES.values(), ids=TERM_LOSSES)
def test_bad_term_losses(loss, error, parts, model_class):
    model = physics_model(problems.residual, [kp.PhysicsTerm("r", loss=loss)], model_class)
    model.compile("sgd", "mse")
    with pytest.raises(error) as caught:
        model.fit(*data(), verbose=0)
    for part in ["The loss `<lambda>` of physics term 'r'", *parts]:
        assert part in str(caught.value)


@pytest.mark.tensorflow
def test_sizes_that_are_unknown_while_tracing_are_compared_at_run_time():
    def first_row_only(z, x):
        return tf.boolean_mask(x, tf.range(tf.shape(x)[0]) < 1)

    model = physics_model(first_row_only, ONE)
    model.compile("sgd", "mse")
    with pytest.raises(tf.errors.InvalidArgumentError):
        model.fit(*data(), verbose=0)


TERMS = {
    "no string": (lambda: kp.PhysicsTerm(3), TypeError, "must be a string"),
    "empty": (lambda: kp.PhysicsTerm(""), ValueError, "letters, digits"),
    "a path": (lambda: kp.PhysicsTerm("a/b"), ValueError, "letters, digits"),
    "data": (lambda: kp.PhysicsTerm("data"), ValueError, "'data_loss'"),
    "physics": (lambda: kp.PhysicsTerm("physics"), ValueError, "'physics_loss'"),
    "validation": (lambda: kp.PhysicsTerm("val_x"), ValueError, "validation logs"),
    "reference": (lambda: kp.PhysicsTerm("x", "label"), ValueError, "'target'.*reference='label'"),
    "empty path": (lambda: kp.PhysicsTerm("x", "input."), ValueError, "dotted path"),
    "reference type": (lambda: kp.PhysicsTerm("x", 1), ValueError, "reference=1"),
    "components of nothing": (
        lambda: kp.PhysicsTerm("x", components=[0]),
        ValueError,
        "no reference",
    ),
    "components type": (
        lambda: kp.PhysicsTerm("x", "input", components=[0.5]),
        TypeError,
        "list of integers",
    ),
    "one component of no integer": (
        lambda: kp.PhysicsTerm("x", "input", components=3.5),
        TypeError,
        "list of integers",
    ),
    "no components": (
        lambda: kp.PhysicsTerm("x", "input", components=[]),
        TypeError,
        "list of integers",
    ),
    "loss name": (lambda: kp.PhysicsTerm("x", loss="msee"), ValueError, "loss='msee'"),
    "loss type": (lambda: kp.PhysicsTerm("x", loss=3), TypeError, "Keras loss name"),
    "sum over the batch": (
        lambda: kp.PhysicsTerm("x", loss=keras.losses.MeanSquaredError("sum")),
        ValueError,
        "average over the batch",
    ),
    "negative weight": (lambda: kp.PhysicsTerm("x", weight=-1.0), ValueError, "weight=-1.0"),
    "NaN weight": (lambda: kp.PhysicsTerm("x", weight=float("nan")), ValueError, "weight=nan"),
    "infinite weight": (lambda: kp.PhysicsTerm("x", weight=np.inf), ValueError, "weight=inf"),
    "weight beyond float32": (lambda: kp.PhysicsTerm("x", weight=1e39), ValueError, "1e\\+39"),
    "weight below float32": (lambda: kp.PhysicsTerm("x", weight=1e-50), ValueError, "1e-50"),
    "weight type": (lambda: kp.PhysicsTerm("x", weight="1"), TypeError, "must be a number"),
    "weight bool": (lambda: kp.PhysicsTerm("x", weight=True), TypeError, "must be a number"),
}


@pytest.mark.parametrize(("make", "error", "text"), TERMS.values(), ids=TERMS)
def test_bad_terms(make, error, text):
    with pytest.raises(error, match=text):
        make()


class HoldsAConstant:
    def __init__(self):
        self.factor = kp.Constant(2.0, name="factor")

    def __call__(self, z, x):
        return self.factor() * x - z[:, :2]


class LayerWithAConstant(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.factor = kp.Constant(2.0, name="factor")

    def call(self, z, x):
        return self.factor() * x - z[:, :2]


def of_constant(factor, z, x):
    return factor() * x - z[:, :2]


CONSTANTS = {
    "object": HoldsAConstant,
    "method": lambda: HoldsAConstant().__call__,
    "call of a layer": lambda: LayerWithAConstant().call,
    "partial": lambda: functools.partial(of_constant, kp.Constant(2.0, name="factor")),
    "partial by name": lambda: functools.partial(
        of_constant, factor=kp.Constant(2.0, name="factor")
    ),
    "partial of an object": lambda: functools.partial(HoldsAConstant()),
}


@pytest.mark.parametrize("make", CONSTANTS.values(), ids=CONSTANTS)
def test_constants_that_would_not_train(make):
    with pytest.raises(ValueError, match=r"uses the constant 'factor'.*would not train"):
        kp.PhysicsRegularization(make(), {"r": 1.0})


@pytest.mark.parametrize("given", [("z", None), (None, "x")], ids=str)
@pytest.mark.parametrize("symbolic", [True, False])
def test_a_layer_called_with_none(given, symbolic):
    tensors = problems.tensors() if symbolic else map(ops.convert_to_tensor, data())
    known = dict(zip(("z", "x"), tensors, strict=True))
    layer = kp.PhysicsRegularization(problems.residual, {"r": 1.0}, name="balance")
    missing = "prediction" if given[1] is None else "inputs"
    with pytest.raises(ValueError, match=rf"'balance' needs two.*inputs, pre.*{missing}=None"):
        layer(*(known.get(name) for name in given))


LAYERS = {
    "a class of layers": (
        lambda: kp.PhysicsRegularization(problems.Gain, ONE),
        TypeError,
        "an instance and not its class",
    ),
    "physics": (lambda: kp.PhysicsRegularization("f", ONE), TypeError, "`physics` must be"),
    "terms": (lambda: kp.PhysicsRegularization(halves, "x"), TypeError, "list of `PhysicsTerm`"),
    "no terms": (lambda: kp.PhysicsRegularization(halves, []), ValueError, "at least one term"),
    "twice": (
        lambda: kp.PhysicsRegularization(halves, ONE + ONE),
        ValueError,
        "'x'.*more than once",
    ),
    "shorthand": (lambda: kp.PhysicsRegularization(halves, {"x": -1}), ValueError, "weight=-1"),
}


@pytest.mark.parametrize(("make", "error", "text"), LAYERS.values(), ids=LAYERS)
def test_bad_layers(make, error, text):
    with pytest.raises(error, match=text):
        make()


def two_layers(model_class):
    z, x = problems.tensors()
    for _ in range(2):
        x = kp.PhysicsRegularization(problems.residual, {"r": 1.0})(z, x)
    return model_class(z, x)


def test_one_name_in_two_layers():
    with pytest.raises(ValueError, match=r"\['r'\] more than once"):
        two_layers(kp.PhysicsModel)
    plain = two_layers(keras.Model)  # A plain model has no hook for this check in `fit`.
    with pytest.raises(ValueError, match="more than once"):
        kp.get_term_weights(plain)


def test_one_layer_called_twice_in_a_model():
    z, x = problems.tensors()
    layer = kp.PhysicsRegularization(problems.residual, {"r": 1.0})
    model = kp.PhysicsModel(z, layer(z, layer(z, x)))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="is called more than once"):
        model.fit(*data(), verbose=0)


def test_a_term_that_collides_with_a_compiled_metric():
    model = physics_model()
    metric = keras.metrics.MeanSquaredError(name="x_loss")
    model.compile("sgd", "mse", metrics=[metric])
    with pytest.raises(ValueError, match=r"two values under one name: \['x_loss'\]"):
        model.fit(*data(), verbose=0)


def test_a_term_that_collides_with_the_loss_of_an_output():
    z = keras.Input((3,))
    layer = kp.PhysicsRegularization(lambda z, x: x[0], {"a": 1.0})
    outputs = layer(z, [keras.layers.Dense(1)(z), keras.layers.Dense(1)(z)])
    named = [
        keras.layers.Identity(name="a")(outputs[0]),
        keras.layers.Identity(name="b")(outputs[1]),
    ]
    model = kp.PhysicsModel(z, named)
    model.compile("sgd", ["mse", "mse"])
    x = data()[0]
    with pytest.raises(ValueError, match="'a_loss'"):
        model.fit(x, [x[:, :1], x[:, :1]], verbose=0)


def test_a_label_term_in_a_plain_model_without_targets():
    model = physics_model(model_class=keras.Model)
    model.compile("sgd", "mse")
    for run in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=r"`keras_physreg.PhysicsModel`.*`targets`"):
            run(*data(), verbose=0)


def test_fit_without_labels_where_a_term_needs_them():
    model = physics_model()
    model.compile("sgd", loss=None)
    with pytest.raises(ValueError, match=r"term 'x'.*fit it with labels"):
        model.fit(data()[0], verbose=0)


@pytest.mark.tensorflow
def test_fit_without_labels_is_told_before_the_data_loss_fails():
    model = physics_model()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"term 'x'.*fit it with labels"):
        model.fit(data()[0], verbose=0)


@pytest.mark.parametrize("name", ["batch_size", "validation_batch_size"])
@pytest.mark.parametrize(
    ("value", "error"), [(True, TypeError), (0, ValueError), (-1, ValueError), (2.5, TypeError)]
)
def test_bad_batch_sizes(name, value, error):
    model = physics_model()
    model.compile("sgd", "mse")
    with pytest.raises(error, match=rf"`{name}` must be an integer >= 1, or None.*{name}={value}"):
        model.fit(*data(), validation_data=data(), verbose=0, **{name: value})


@pytest.mark.tensorflow
def test_a_residual_that_broadcasts_by_itself():
    model = physics_model(lambda z, x: x[:, 0] - z[:, :1], {"r": 1.0})
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"'r' has shape \(None, None\)"):
        model.fit(*data(), verbose=0)


@pytest.mark.tensorflow
def test_row_weights_of_too_many_axes():
    model = physics_model()
    model.compile("sgd", loss=None)
    with pytest.raises(ValueError, match=r"term 'x' of shape \(None,\). Give one weight per row"):
        model.fit(*data(), sample_weight=np.ones((20, 20)), verbose=0)


def test_an_error_that_only_mentions_numpy_is_told_as_it_is():
    def lookup(z, x):
        raise ValueError("the numpy table lacks row 3")

    model = physics_model(lookup, {"r": 1.0})
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"test_bad_input.py \(in `lookup`\): the numpy table"):
        model.fit(*data(), verbose=0)


def test_a_physics_model_with_label_terms_nested_in_a_plain_one():
    z = keras.Input((3,))
    outer = keras.Model(z, physics_model()(z))
    outer.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"term 'x'.*compares with the label"):
        outer.fit(*data(), verbose=0)


def test_a_label_that_is_a_structure():
    z = keras.Input((3,))
    outputs = {"a": keras.layers.Dense(2, name="a")(z), "b": keras.layers.Dense(2, name="b")(z)}
    layer = kp.PhysicsRegularization(lambda z, x: x["a"], [kp.PhysicsTerm("t", "target")])
    model = kp.PhysicsModel(z, layer(z, outputs))
    model.compile("sgd", "mse")
    inputs, labels = data()
    with pytest.raises(ValueError, match=r"\['target.a', 'target.b'\]"):
        model.fit(inputs, {"a": labels, "b": labels}, verbose=0)


def test_row_weights_for_a_loss_without_rows():
    scalar = kp.PhysicsTerm("x", "target", loss=lambda t, p: ops.mean(ops.abs(t - p)))
    model = physics_model(halves, [scalar])
    model.compile("sgd", "mse")
    model.fit(*data(), verbose=0)
    with pytest.raises(ValueError, match=r"term 'x'.*one value per row"):
        model.fit(*data(), sample_weight=np.ones(20), verbose=0)


SET_WEIGHTS = {
    "unknown": ({"y": 1.0}, ValueError, r"no physics term named 'y'. Its terms: \['x', 'z'\]"),
    "near miss": ({"xx": 1.0}, ValueError, "Did you mean 'x'"),
    "negative": ({"x": -1.0}, ValueError, "weight=-1.0"),
    "NaN": ({"z": 1.0, "x": float("nan")}, ValueError, "weight=nan"),
    "type": ({"z": 1.0, "x": None}, TypeError, "must be a number"),
    "no dict": (1.0, TypeError, "must be a dict"),
}


@pytest.mark.parametrize(("weights", "error", "text"), SET_WEIGHTS.values(), ids=SET_WEIGHTS)
def test_bad_weights_are_refused_and_none_is_set(weights, error, text):
    model = physics_model()
    with pytest.raises(error, match=text):
        kp.set_term_weights(model, weights)
    assert kp.get_term_weights(model) == {"x": 0.5, "z": 0.25}


def test_a_model_without_physics():
    assert kp.get_term_weights(bare_model()) == {}
    with pytest.raises(ValueError, match="has no physics terms"):
        kp.set_term_weights(bare_model(), {"x": 1.0})
