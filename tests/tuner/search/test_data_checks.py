"""Data that no trial could be trained on are refused before the first one is trained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_physreg as kp
from keras_physreg.tuner.search.data_checks import check_data
from tests import problems
from tests.tuner.replica_searches import (
    DATA,
    VALIDATION,
    build,
    invent,
    make_tuner,
    random_oracle,
    search,
)
from tests.variants import slow_but_rows

Z, X = DATA
HELD_OUT_Z, HELD_OUT_X = VALIDATION
WEIGHTS = {"x": 1.0, "z": 1.0}
TEXT = "must hold numbers. Received: text, an array of dtype"

CASES = {
    "text x": ({"x": Z.astype(str)}, TypeError, f"`x` {TEXT} <U32"),
    "text y": ({"y": X.astype(str)}, TypeError, f"`y` {TEXT}"),
    "objects": ({"y": X.astype(str).astype(object)}, TypeError, f"`y` {TEXT} object"),
    "bytes": ({"y": X.astype("S")}, TypeError, rf"`y` {TEXT} \|S"),
    "tensor of text": ({"y": tf.constant(X.astype(str))}, TypeError, f"`y` {TEXT}.*string"),
    "a path": ({"x": "data.csv"}, TypeError, "`x` must hold numbers. Received: text, 'data.csv'"),
    "text weights": ({"sample_weight": np.full(12, "1")}, TypeError, f"`sample_weight` {TEXT}"),
    "held-out text": (
        {"validation_data": (HELD_OUT_Z.astype(str), HELD_OUT_X)},
        TypeError,
        f"`validation_data` {TEXT}",
    ),
    "unlabelled text": ({"unlabelled": Z.astype(str)}, TypeError, f"`unlabelled` {TEXT}"),
    "unlabelled path": ({"unlabelled": "rows"}, TypeError, "`unlabelled` must hold numbers"),
    "unlabelled ragged": (
        {"unlabelled": tf.ragged.constant([[1.0, 2.0, 3.0], [1.0]])},
        TypeError,
        r"`unlabelled` must have rows of one length.*to_tensor\(\)",
    ),
    "columns of x": (
        {"x": Z[:, :2]},
        ValueError,
        r"`x`: model .* takes inputs of shape \('rows', 3\).*\(12, 2\)",
    ),
    "held-out columns of x": (
        {"validation_data": (HELD_OUT_Z[:, :2], HELD_OUT_X)},
        ValueError,
        r"`validation_data`: model .* takes inputs of shape \('rows', 3\).*\(12, 2\)",
    ),
    "held-out columns of y": (
        {"validation_data": (HELD_OUT_Z, HELD_OUT_X[:, :1])},
        ValueError,
        r"as many columns as `y`, of shape \(12, 2\).*\(12, 1\)",
    ),
    "held-out rank of y": (
        {"validation_data": (HELD_OUT_Z, HELD_OUT_X[:, 0])},
        ValueError,
        "as many columns as `y`",
    ),
    "held-out rows": (
        {"validation_data": (HELD_OUT_Z, HELD_OUT_X[:-1])},
        ValueError,
        r"`validation_data` must have the same number of rows.*\(12, 3\), \(11, 2\)",
    ),
    "held-out path": ({"validation_data": "d.csv"}, ValueError, r"`validation_data` .*tuple \(x, "),
    "weights": ({"sample_weight": np.ones(5)}, ValueError, r"same number of rows.*\(5,\)"),
    "boolean": ({"batch_size": True}, TypeError, "`batch_size` must be an integer >= 1, or None"),
    "zero": ({"validation_batch_size": 0}, ValueError, "`validation_batch_size` must be .*=0"),
    "digits": ({"epochs": "2"}, TypeError, "`epochs` must be an integer >= 1.*'2'"),
    "shuffle": ({"shuffle": "no"}, TypeError, "`shuffle` must be True or False.*'no'"),
}


@pytest.mark.parametrize(
    ("given", "error", "told"), slow_but_rows(range(0, 22, 3), CASES.values()), ids=CASES
)
def test_refused_at_once(tmp_path, monkeypatch, given, error, told):
    invent(monkeypatch)
    tuner = make_tuner(tmp_path, oracle=random_oracle(2), replicas=1)
    data = {"x": Z, "y": X, "validation_data": VALIDATION, "verbose": 0}
    with pytest.raises(error, match=told):
        tuner.search(**{**data, **given})
    assert tuner.oracle.end_order == []
    search(tuner)  # No trial is lost.
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"] * 2


def build_of_text(hp):
    words = keras.Input((1,), dtype="string", name="words")
    z = keras.layers.Hashing(8, output_mode="one_hot")(words)
    layer = kp.PhysicsRegularization(
        lambda z, x: {"x": x[:, 0], "z": x[:, 1]}, {"x": 1.0, "z": 1.0}
    )
    model = kp.PhysicsModel(words, layer(words, keras.layers.Dense(2)(z)))
    model.compile("sgd", "mse")
    return model


def build_of_a_vector(hp):
    z = keras.Input(())
    x = keras.layers.Dense(2)(keras.layers.Reshape((1,))(z))
    layer = kp.PhysicsRegularization(
        lambda z, x: {"x": x[:, 0], "z": x[:, 1]}, {"x": 1.0, "z": 1.0}
    )
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile("sgd", "mse")
    return model


def build_of_a_sequence(hp):
    z = keras.Input((None, 3))
    layer = kp.PhysicsRegularization(lambda z, x: {"x": x[..., 0], "z": x[..., 1]}, WEIGHTS)
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(z)))
    model.compile("sgd", "mse")
    return model


def build_subclassed(hp):
    model = problems.Subclassed()
    model.compile("sgd", "mse")
    return model


WORDS = np.array([["wet"], ["dry"]] * 6)
STEPS = np.zeros((12, 5, 3), "float32"), np.zeros((12, 5, 2), "float32")
LONGER = np.zeros((12, 9, 3), "float32"), np.zeros((12, 9, 2), "float32")
ACCEPTED = {
    "text where the model takes text": (build_of_text, (WORDS, X), (WORDS, X)),
    "a column for a vector": (build_of_a_vector, (Z[:, :1], X), (Z[:, 0], X)),
    "a subclassed model, which tells nothing": (build_subclassed, DATA, VALIDATION),
    "sequences of other lengths": (build_of_a_sequence, STEPS, LONGER),
    "held-out rows of one kind": (build, DATA, (HELD_OUT_Z[:3], HELD_OUT_X[:3])),
}


@pytest.mark.parametrize(("builder", "data", "held_out"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(builder, data, held_out):
    given = {"x": data[0], "y": data[1], "sample_weight": None, "unlabelled": None}
    sizes = {"batch_size": None, "validation_batch_size": None}
    check_data(builder(None), {**given, **sizes, "validation_data": held_out})


def test_numbers_of_best_models(tmp_path, monkeypatch):
    invent(monkeypatch)
    tuner = search(make_tuner(tmp_path, oracle=random_oracle(2)))
    assert len(tuner.get_best_models(np.int64(2))) == 2
    assert len(tuner.get_best_hyperparameters(5)) == 2
    for wrong, error in ((-1, ValueError), (0, ValueError), ("1", TypeError), (True, TypeError)):
        with pytest.raises(error, match="`num_models` must be an integer >= 1"):
            tuner.get_best_models(wrong)
        with pytest.raises(error, match="`num_trials` must be an integer >= 1"):
            tuner.get_best_hyperparameters(wrong)
