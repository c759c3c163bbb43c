"""The loss with point sets equals the formula in every step, for all kinds of points and data."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_physreg as kp
from tests.points import linear
from tests.unlabelled.linear import MORE, Course, data, more_inputs
from tests.unlabelled.test_formula import as_arrays, as_dataset, as_generator
from tests.variants import slow_but

pytestmark = pytest.mark.tensorflow
EPOCHS = 2
SAMPLER = kp.UniformSampler([-1.0] * 3, [1.0, 2.0, 3.0], seed=5)


def in_batches(step):
    """Four of the seven points per step, in their order, and all others."""
    numbers = np.arange(4 * step, 4 * step + 4) % 7
    return {"pde": linear.POINTS["pde"][numbers], "wall": linear.POINTS["wall"]}


def sampled(step):
    return {"pde": SAMPLER(step, 6), "wall": linear.POINTS["wall"]}


def dataset():
    rows = tf.data.Dataset.from_tensor_slices(linear.POINTS["pde"])
    return {"pde": rows.repeat().batch(4, drop_remainder=True), "wall": linear.POINTS["wall"]}


KINDS = {
    "whole": (linear.whole, {"points": linear.POINTS}),
    "batches": (in_batches, {"points": linear.POINTS, "points_batch_size": {"pde": 4}}),
    "one number": (in_batches, {"points": linear.POINTS, "points_batch_size": 4}),
    "sampler": (
        sampled,
        {"points": {"pde": SAMPLER, "wall": linear.POINTS["wall"]}, "points_batch_size": 6},
    ),
    "dataset": (in_batches, {"points": dataset()}),
}


def wall_in_fours(step):
    numbers = np.arange(4 * step, 4 * step + 4) % 5
    return in_batches(step) | {"wall": linear.POINTS["wall"][numbers]}


KINDS["one number"] = (wall_in_fours, KINDS["one number"][1])


def assert_trains(model, expected, **fit):
    course, logs = expected
    seen = Course()
    found = model.fit(shuffle=False, verbose=0, callbacks=[seen], **fit).history
    assert set(found) == set(logs)
    for key, values in logs.items():
        np.testing.assert_allclose(found[key], values, rtol=2e-5, err_msg=key)
    for after, wanted in zip(seen.weights, course, strict=True):
        for one, other in zip(after, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kind", slow_but({"whole", "sampler"}, list(KINDS)))
def test_beside_labelled_rows(kind):
    points_of, given = KINDS[kind]
    model = linear.model()
    expected = linear.train(linear.values(model), EPOCHS, points_of)
    assert_trains(model, expected, **as_arrays(data()), epochs=EPOCHS, **given)


@pytest.mark.slow
@pytest.mark.parametrize("source", slow_but({as_dataset}, [as_dataset, as_generator]))
def test_beside_other_labelled_data(source):
    points_of, given = KINDS["batches"]
    model = linear.model()
    expected = linear.train(linear.values(model), EPOCHS, points_of)
    assert_trains(model, expected, **source(data()), epochs=EPOCHS, **given)


@pytest.mark.slow
@pytest.mark.parametrize("share", slow_but({0.3}, [None, 0.3]))
def test_beside_unlabelled_rows(share):
    """Terms with points ignore them, too."""
    points_of, given = KINDS["batches"]
    model = linear.model()
    expected = linear.train(linear.values(model), EPOCHS, points_of, True, share)
    given = given | {"unlabelled": more_inputs(), "unlabelled_batch_size": MORE}
    given |= {"unlabelled_share": share, "epochs": EPOCHS}
    assert_trains(model, expected, **as_arrays(data()), **given)


@pytest.mark.parametrize("kind", slow_but({"whole", "sampler"}, list(KINDS)))
def test_without_labelled_rows(kind):
    """The model is called on points alone, and there is no data loss."""
    points_of, given = KINDS[kind]
    model = linear.model(linear.OF_POINTS, loss=None)
    course, logs = linear.train_on_points(linear.values(model), 6, points_of)
    logs = {key: [np.mean([s[key] for s in logs[k : k + 3]]) for k in (0, 3)] for key in logs[0]}
    assert_trains(model, (course, logs), epochs=2, steps_per_epoch=3, **given)


@pytest.mark.parametrize(
    "compiled",
    [
        pytest.param({"jit_compile": True}, id="jit"),
        pytest.param({"steps_per_execution": 3}, id="executions", marks=pytest.mark.slow),
        pytest.param({"run_eagerly": True}, id="eager", marks=pytest.mark.slow),
    ],
)
def test_ways_to_run_a_step(compiled):
    points_of, given = KINDS["batches"]
    model = linear.model(**compiled)
    course, logs = linear.train(linear.values(model), EPOCHS, points_of)
    given = given | {"epochs": EPOCHS, "shuffle": False, "verbose": 0}
    found = model.fit(**as_arrays(data()), **given).history
    for key, values in logs.items():
        np.testing.assert_allclose(found[key], values, rtol=2e-5, err_msg=key)
    for one, other in zip(linear.values(model), course[-1], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def test_term_at_weight_0_is_logged_and_trains_nothing():
    weight = linear.WEIGHTS | {"pde": 0.0}
    model = linear.model()
    kp.set_term_weights(model, weight)
    expected = linear.train(linear.values(model), EPOCHS, linear.whole, weight=weight)
    assert_trains(model, expected, **as_arrays(data()), epochs=EPOCHS, points=linear.POINTS)


def test_a_shuffled_array_is_seen_whole_before_a_point_comes_again():
    seen = []

    def recording(z, x_pred):
        seen.append(keras.ops.convert_to_numpy(z))
        return x_pred

    z = keras.Input((3,))
    layer = kp.PhysicsRegularization({"a": recording}, {"a": 1.0})
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(z)))
    model.compile("sgd", None, run_eagerly=True)
    seen.clear()
    rows = linear.points(6, 0)
    model.fit(points={"a": rows}, points_batch_size=2, steps_per_epoch=3, epochs=2, verbose=0)
    for first in (0, 3):
        one_pass = np.concatenate(seen[-6:][first : first + 3])
        np.testing.assert_array_equal(np.sort(one_pass, axis=0), np.sort(rows, axis=0))
        assert not np.array_equal(one_pass, rows)
