"""Bad `unlabelled` arguments raise an error with what was received and what to do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_physreg as kp
from tests import problems
from tests.unlabelled import linear

MORE = linear.more_inputs()


def dataset(rows):
    return tf.data.Dataset.from_tensor_slices(rows)


def sampler_of(change):
    return lambda step, batch: change(np.zeros((batch, 3), "float32"), step)


CASES = {
    "structure": ({"unlabelled": {"z": MORE}}, ValueError, r"structure of `x`.*\{'z': 'float32"),
    "labels": ({"unlabelled": (MORE, MORE)}, ValueError, "structure of `x`, without labels"),
    "shape": ({"unlabelled": MORE[:, :2]}, ValueError, r"\('rows', 3\).*shape \(11, 2\)"),
    "rank": ({"unlabelled": MORE[:, 0]}, ValueError, r"Received: shape \(11,\)"),
    "dtype": ({"unlabelled": np.ones((9, 3), int)}, TypeError, "float32.*Received: dtype int64"),
    "words": ({"unlabelled": "rows"}, (TypeError, ValueError), "`unlabelled`"),
    "objects": ({"unlabelled": np.array([[{}]])}, TypeError, "must be an array"),
    "ragged": (
        {"unlabelled": tf.ragged.constant([[1.0, 2.0, 3.0], [3.0]])},
        TypeError,
        r"dense arrays.*to_tensor\(\).*RaggedTensor",
    ),
    "sparse": (
        {"unlabelled": tf.sparse.from_dense(MORE)},
        TypeError,
        "dense arrays.*SparseTensor",
    ),
    "lists": ({"unlabelled": [[1.0, 2.0], [3.0]]}, ValueError, r"numpy.array\(...\)"),
    "strings": ({"unlabelled": np.full((9, 3), "a")}, TypeError, "float32. Received: dtype string"),
    "string tensors": (
        {"unlabelled": tf.fill((9, 3), "a")},
        TypeError,
        "float32. Received: dtype string",
    ),
    "batch size True": (
        {"unlabelled": MORE, "unlabelled_batch_size": True},
        TypeError,
        "integer >= 1.*unlabelled_batch_size=True",
    ),
    "empty": ({"unlabelled": MORE[:0]}, ValueError, "at least 1"),
    "uneven": ({"unlabelled": {"a": MORE, "b": MORE[:2]}}, ValueError, "same number of rows"),
    "empty dataset": (
        {"unlabelled": dataset(MORE).take(0).batch(4)},
        ValueError,
        "at least one batch",
    ),
    "single rows": ({"unlabelled": dataset(MORE)}, ValueError, "Call `batch`"),
    "batched by both": (
        {"unlabelled": dataset(MORE).batch(4), "unlabelled_batch_size": 4},
        ValueError,
        "has its own batches",
    ),
    "sequence": (
        {"unlabelled": keras.utils.PyDataset()},
        TypeError,
        r"`tf.data.Dataset` of batches, or a sampler.*PyDataset",
    ),
    "batch size 0": (
        {"unlabelled": MORE, "unlabelled_batch_size": 0},
        ValueError,
        "integer >= 1.*unlabelled_batch_size=0",
    ),
    "share 0": ({"unlabelled": MORE, "unlabelled_share": 0}, ValueError, "above 0 and up to 1"),
    "share 2": ({"unlabelled": MORE, "unlabelled_share": 2.0}, ValueError, "unlabelled_share=2.0"),
    "repeat": ({"unlabelled": MORE, "unlabelled_repeat": False}, ValueError, "arrays always"),
    "share alone": ({"unlabelled_share": 0.5}, ValueError, "need `unlabelled`.*0.5"),
    "sampler's rows": (
        {"unlabelled": sampler_of(lambda rows, step: rows[1:])},
        ValueError,
        "must return batch=32 rows. Received: 31",
    ),
    "sampler's shape": (
        {"unlabelled": kp.UniformSampler([0.0], [1.0])},
        ValueError,
        r"\('rows', 3\).*shape \(32, 1\)",
    ),
    "batch shuffle": ({"unlabelled": MORE, "shuffle": "batch"}, ValueError, "True or False"),
    "split": (
        {"unlabelled": MORE, "validation_split": 0.999},
        ValueError,
        "must leave at least one row",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(case):
    given, error, message = CASES[case]
    with pytest.raises(error, match=f"(?s){message}"):
        linear.model().fit(*linear.data()[:2], verbose=0, **given)


def test_terms_that_all_need_the_label():
    terms = [kp.PhysicsTerm("x", "target")]
    model = problems.physics_model(lambda z, x: {"x": x}, terms)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"has no effect.*'x': 'target'"):
        model.fit(*problems.data(), unlabelled=problems.data()[0])


def test_a_model_without_physics():
    with pytest.warns(UserWarning, match="has no physics"):
        model = kp.PhysicsModel(*problems.tensors())
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="has no effect"):
        model.fit(*problems.data(), unlabelled=problems.data()[0])


def test_a_subclassed_model_that_proves_to_have_no_physics():
    class Plain(kp.PhysicsModel):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, z):
            return self.dense(z)

    model = Plain()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="has no effect"):
        model.fit(*problems.data(), unlabelled=problems.data()[0], verbose=0)


def test_a_sampler_that_changes_its_shape():
    sampler = sampler_of(lambda rows, step: rows if step < 2 else rows[:, :2])
    with pytest.raises(Exception, match=r"same shapes and dtypes.*at step 2"):
        linear.model().fit(
            *linear.data()[:2], unlabelled=sampler, batch_size=linear.BATCH, verbose=0
        )


def test_a_dataset_that_ends():
    """By default it repeats."""
    model = linear.model()
    given = {"unlabelled": dataset(MORE).batch(6), "batch_size": linear.BATCH, "verbose": 0}
    x, y, _ = linear.data()
    assert len(model.fit(x, y, epochs=3, **given).epoch) == 3
    with pytest.raises(tf.errors.InvalidArgumentError, match="has ended"):
        model.fit(x, y, unlabelled_repeat=False, **given)


@pytest.mark.parametrize("rows", [MORE[:, :2], np.ones((9, 3), int)], ids=["shape", "dtype"])
def test_data_that_show_their_shape_in_the_step_only(rows):
    x, y, _ = linear.data()
    with pytest.raises((ValueError, TypeError), match="`unlabelled` must have"):
        linear.model().fit((p for p in [(x, y)] * 9), unlabelled=rows, shuffle=False, verbose=0)


class Untouched(kp.PhysicsModel):
    """A `train_step` that does not call the model."""

    def train_step(self, data):
        return {"loss": self.compute_loss(*data, self.layers[1](data[0]))}


def test_a_train_step_that_does_not_call_the_model():
    with pytest.raises(ValueError, match=r"train_step` of .*Untouched.*did not call the model"):
        linear.model(Untouched).fit(*linear.data()[:2], unlabelled=MORE, verbose=0)


def test_physics_that_returns_one_number_for_all_rows():
    def build(share):
        terms = {"r": 0.5}
        model = problems.physics_model(lambda z, x: keras.ops.mean(x - z[:, :2]), terms)
        model.compile("sgd", "mse")
        more = {"unlabelled": problems.data()[0], "unlabelled_share": share}
        return model.fit(*problems.data(), verbose=0, **more)

    assert np.isfinite(build(None).history["r_loss"]).all()
    with pytest.raises(ValueError, match="term 'r' is one number for all rows"):
        build(0.5)


@pytest.mark.parametrize(
    ("physics", "message"),
    [
        (lambda z, x: ops.mean(x, axis=0), r"term 'r' has shape \(2,\).*is not the batch"),
        (lambda z, x: ops.mean(x, axis=0, keepdims=True), r"shape \(1, 2\).*Return one value"),
        (lambda z, x: ops.concatenate([x, x]), "roadcast"),
        pytest.param(lambda z, x: x[1:], "roadcast", marks=pytest.mark.slow),
    ],
    ids=["a mean", "a mean that keeps its axis", "twice as many", "one less"],
)
def test_physics_whose_first_axis_is_not_the_rows(physics, message):
    model = problems.physics_model(physics, {"r": 0.5})
    model.compile("sgd", "mse")
    more = {"unlabelled": problems.data()[0], "unlabelled_share": 0.5}
    with pytest.raises(Exception, match=f"(?s){message}"):
        model.fit(*problems.data(), verbose=0, **more)


@pytest.mark.slow
def test_rows_of_its_own_beside_unlabelled_ones():
    """An error without a share, too: only one number for all rows need not be split."""
    model = problems.physics_model(lambda z, x: ops.concatenate([x, x]), {"r": 0.5})
    model.compile("sgd", "mse")
    assert np.isfinite(model.fit(*problems.data(), verbose=0).history["r_loss"]).all()
    with pytest.raises(Exception, match=r"(?s)roadcast|is not the batch"):
        model.fit(*problems.data(), unlabelled=problems.data()[0], verbose=0)


@pytest.mark.slow
def test_a_sequence_in_other_processes():
    sequence = keras.utils.PyDataset(workers=2, use_multiprocessing=True)
    with pytest.raises(ValueError, match="use_multiprocessing=False"):
        linear.model().fit(sequence, unlabelled=MORE)


@pytest.mark.slow
def test_before_compile_and_without_labelled_rows():
    with pytest.raises(ValueError, match="compile"):
        problems.physics_model().fit(*problems.data(), unlabelled=MORE)
    with pytest.raises(ValueError, match="give `x`, too"):
        linear.model().fit(unlabelled=MORE)
