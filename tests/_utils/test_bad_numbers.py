"""Values that Python accepts as numbers, lists or functions, but that are errors here.

`True` equals 1, `10**400` has no float, a set has no order, a class can be called. Each raises an
error that names the argument.
"""

import fractions

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg import residuals
from tests import problems
from tests.problems import physics_model

VALUES = np.ones((3, 4), "float32")
HUGE = 10**400  # Beyond float64.
UNPRINTABLE = 10**5000  # Beyond what Python writes.
ONE = kp.LinearRamp(0, 1, 2)


def term(**arguments):
    return kp.PhysicsTerm("x", **{"reference": "input", **arguments})


def constant(initial=2.0, **arguments):
    return kp.Constant(initial, name="c", **arguments)


def set_weights(weights):
    kp.set_term_weights(physics_model(), weights)


BOOLEANS = {
    "a term's weight": (lambda bad: term(weight=bad), "`weight`"),
    "a weight that is set": (lambda bad: set_weights({"x": bad}), "`weight`"),
    "components": (lambda bad: term(components=[bad]), "`components`"),
    "a constant": (lambda bad: constant(bad), "`initial`"),
    "an element of a constant": (lambda bad: constant([bad, 2.0]), "`initial`"),
    "a bound of a constant": (lambda bad: constant(low=bad), "`low`"),
    "the scale of a constant": (lambda bad: constant(scale=bad), "`scale`"),
    "the start of a ramp": (lambda bad: kp.LinearRamp(bad, 1, 2), "`start`"),
    "the duration of a ramp": (lambda bad: kp.CosineRamp(0, 1, bad), "`duration`"),
    "the begin of a ramp": (lambda bad: kp.GeometricRamp(1, 2, 3, bad), "`begin`"),
    "a stair": (lambda bad: kp.Staircase([bad], 1), r"`values\[0\]`"),
    "the length of a stair": (lambda bad: kp.Staircase([1], bad), "`every`"),
    "a number of stairs": (lambda bad: kp.GeometricStaircase(1, 2, bad, 1), "`steps`"),
    "a boundary": (lambda bad: kp.Chain([ONE, ONE], [bad]), r"`boundaries\[0\]`"),
    "a time": (lambda bad: ONE(bad), "`time`"),
    "a bound": (lambda bad: residuals.bounded(VALUES, bad), "`low`"),
    "an axis": (lambda bad: residuals.monotone(VALUES, bad), "`axis`"),
}


@pytest.mark.parametrize("bad", [True, np.True_], ids=["Python", "NumPy"])
@pytest.mark.parametrize("kind", BOOLEANS)
def test_a_boolean_is_no_number(kind, bad):
    make, named = BOOLEANS[kind]
    with pytest.raises(TypeError, match=f"{named}.*True"):
        make(bad)


FLAGS = {
    "log": (lambda bad: constant(log=bad), "`log`"),
    "units": (lambda bad: kp.get_constants(physics_model(), units=bad), "`units`"),
    "increasing": (lambda bad: residuals.monotone(VALUES, increasing=bad), "`increasing`"),
}


@pytest.mark.parametrize("bad", ["no", 0, None], ids=str)
@pytest.mark.parametrize("kind", FLAGS)
def test_what_is_true_to_python_alone_is_no_boolean(kind, bad):
    make, named = FLAGS[kind]
    with pytest.raises(TypeError, match=f"{named} must be True or False.*{bad!r}"):
        make(bad)


FLOATS = {
    "a term's weight": (lambda bad: term(weight=bad), ValueError, "'x'.*`weight`.*finite"),
    "a weight that is set": (lambda bad: set_weights({"z": bad}), ValueError, "'z'.*finite"),
    "a constant": (lambda bad: constant(bad), ValueError, "`initial` of constant 'c'.*finite"),
    "a bound of a constant": (lambda bad: constant(high=bad), ValueError, "`high`.*finite"),
    "a ramp": (lambda bad: kp.LinearRamp(0, bad, 2), ValueError, "`end` must be finite"),
    "a duration": (lambda bad: kp.GeometricRamp(1, 2, bad), ValueError, "`duration`.*finite"),
    "a stair": (lambda bad: kp.Staircase([0, bad], 1), ValueError, r"`values\[1\]`.*finite"),
    "a boundary": (lambda bad: kp.Chain([ONE, ONE], [bad]), ValueError, r"`boundaries\[0\]`"),
    "a time": (lambda bad: ONE(bad), TypeError, "`time` must be a number"),
}


@pytest.mark.parametrize("bad", [HUGE, -HUGE, UNPRINTABLE], ids=["huge", "minus", "unprintable"])
@pytest.mark.parametrize("kind", FLOATS)
def test_an_integer_beyond_floats_is_refused_in_a_short_message(kind, bad):
    make, error, text = FLOATS[kind]
    with pytest.raises(error, match=text) as raised:
        make(bad)
    assert len(str(raised.value)) < 600


def test_numbers_of_any_kind_are_taken():
    third = fractions.Fraction(1, 3)
    assert term(weight=third).weight == 1 / 3
    assert constant(third).initial == 1 / 3
    assert constant(10**30).initial == 1e30
    assert constant(keras.Variable(0.5)).initial == 0.5
    assert constant(keras.ops.array([0.5, 2.0])).initial == [0.5, 2.0]
    assert kp.LinearRamp(0, 1, 3)(third) == pytest.approx(1 / 9)
    assert term(components=np.arange(2)).components == (0, 1)
    assert term(components=range(2)).components == (0, 1)
    assert term(components=np.int64(1)).components == (1,)


WITHOUT_ORDER = {
    "components, a set": lambda: term(components={1, 0}),
    "components, a dict": lambda: term(components={1: "a", 0: "b"}),
    "components, a matrix": lambda: term(components=np.zeros((1, 2), int)),
    "stairs, a set": lambda: kp.Staircase({1.0, 2.0}, 1),
    "stairs, bytes": lambda: kp.Staircase(b"12", 1),
    "a chain, a set": lambda: kp.Chain({ONE, kp.LinearRamp(1, 0, 2)}, [1]),
    "a constant, a set": lambda: constant({1.0, 2.0}),
}


@pytest.mark.parametrize("kind", WITHOUT_ORDER)
def test_what_has_no_order_is_no_list(kind):
    with pytest.raises(TypeError, match=r"must be a (list|number or a vector)"):
        WITHOUT_ORDER[kind]()


LOSSES = {
    "a class": (keras.losses.MeanSquaredError, r"`loss`.*'x'.*not a class.*`MeanSquaredError\(\)`"),
    "the class of a metric": (keras.metrics.MeanSquaredError, "not a class"),
    "a metric": (keras.metrics.MeanSquaredError(), "not be a metric.*Keras loss"),
    "a layer": (keras.layers.Dense(1), "not be a layer.*function"),
    "a list": (["mse"], "must be a Keras loss name"),
    "None": (None, "must be a Keras loss name"),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_what_is_no_loss(kind):
    loss, text = LOSSES[kind]
    with pytest.raises(TypeError, match=text):
        term(loss=loss)


def test_names_that_are_no_strings():
    with pytest.raises(TypeError, match=r"name of a physics term must be a string.*name=1"):
        kp.PhysicsRegularization(problems.doubling, {1: 1.0, "z": 1.0})
    with pytest.raises(ValueError, match=r"no physics term named 1\. Its terms: \['x', 'z'\]"):
        set_weights({1: 0.5})
    with pytest.raises(TypeError, match=r"name of a physics term.*name=b'x'"):
        kp.PhysicsTerm(b"x")


def test_a_constant_of_integers_would_not_train():
    with pytest.raises(ValueError, match=r"`dtype` of constant 'c'.*dtype='int32'"):
        constant(dtype="int32")


def test_more_stairs_than_can_be_compared():
    with pytest.raises(ValueError, match=r"`steps` must be.*at most 10000.*steps=1000000000"):
        kp.GeometricStaircase(1.0, 2.0, 10**9, 1)


@pytest.mark.parametrize("bad", [None, {"a": VALUES}, object()], ids=["None", "dict", "object"])
@pytest.mark.parametrize("helper", [residuals.positive, residuals.conserved])
def test_values_that_are_no_tensor(helper, bad):
    with pytest.raises(TypeError, match="`values` must be a tensor or an array"):
        helper(bad)
