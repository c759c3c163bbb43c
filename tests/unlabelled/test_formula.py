"""The loss with unlabelled rows equals the formula in every step, for all types of data."""

import numpy as np
import pytest
import tensorflow as tf
from keras.utils import PyDataset

from tests.unlabelled import linear
from tests.variants import slow_but

EPOCHS = 3


class Sequence(PyDataset):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return linear.STEPS

    def __getitem__(self, index):
        rows = slice(index * linear.BATCH, (index + 1) * linear.BATCH)
        return tuple(part[rows] for part in self.parts)


def as_arrays(parts):
    x, y, *trust = parts
    weights = {"sample_weight": trust[0]} if trust else {}
    return {"x": x, "y": y, "batch_size": linear.BATCH, **weights}


def as_dataset(parts):
    return {"x": tf.data.Dataset.from_tensor_slices(tuple(parts)).batch(linear.BATCH)}


def as_generator(parts):
    sequence = Sequence(parts)
    endless = (sequence[step % linear.STEPS] for step in range(10**6))
    return {"x": endless, "steps_per_epoch": linear.STEPS}


LABELLED = {
    "arrays": as_arrays,
    "dataset": as_dataset,
    "endless dataset": lambda parts: {
        "x": as_dataset(parts)["x"].repeat(),
        "steps_per_epoch": linear.STEPS,
    },
    "sequence": lambda parts: {"x": Sequence(parts)},
    "generator": as_generator,
}


def rows_of_step(step, batch):
    assert batch == linear.MORE
    return linear.more_inputs()[np.arange(step * batch, (step + 1) * batch) % linear.MORE_ROWS]


def repeated(rows):
    return tf.data.Dataset.from_tensor_slices(rows).repeat().batch(linear.MORE)


UNLABELLED = {
    "arrays": lambda: (linear.more_inputs(), linear.MORE),
    "dataset": lambda: (repeated(linear.more_inputs()), None),
    "sampler": lambda: (rows_of_step, linear.MORE),
}


def check(fit, unlabelled, share=None, trust=True, **compile_args):
    model, course = linear.model(**compile_args), linear.Course()
    start = model.get_weights()[:2]
    rows, batch_size = UNLABELLED[unlabelled]()
    logs = model.fit(
        **fit,
        unlabelled=rows,
        unlabelled_batch_size=batch_size,
        unlabelled_share=share,
        epochs=EPOCHS,
        shuffle=False,
        callbacks=[course],
        verbose=0,
    ).history
    weights, losses = linear.train(start, EPOCHS, share, trust)
    assert len(course.weights) == len(weights)
    for ours, theirs in zip(course.weights, weights, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert set(logs) == set(losses)
    for key, values in losses.items():
        np.testing.assert_allclose(logs[key], values, rtol=1e-5, err_msg=key)


@pytest.mark.parametrize("labelled", slow_but({"arrays", "generator"}, LABELLED))
def test_labelled_rows_of_every_kind(labelled):
    check(LABELLED[labelled](linear.data()), "arrays")


@pytest.mark.parametrize("unlabelled", ["dataset", "sampler"])
@pytest.mark.parametrize("labelled", slow_but({"sequence"}, ["arrays", "dataset", "sequence"]))
def test_unlabelled_rows_of_every_kind(labelled, unlabelled):
    check(LABELLED[labelled](linear.data()), unlabelled)


@pytest.mark.parametrize("share", slow_but({0.3}, [0.3, 1.0]))
def test_share_of_the_unlabelled_rows(share):
    check(as_arrays(linear.data()), "arrays", share)


def test_without_sample_weight():
    check(as_arrays(linear.data()[:2]), "arrays", trust=False)


@pytest.mark.slow
def test_under_xla():
    check(as_arrays(linear.data()), "arrays", 0.3, jit_compile=True)


@pytest.mark.slow
def test_eagerly():
    check(as_arrays(linear.data()), "arrays", run_eagerly=True)
