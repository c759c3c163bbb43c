import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.unlabelled.row_order import RowStream, row_order, unlabelled_order
from tests.unlabelled import linear


def test_points_fill_the_box():
    low, high = np.array([-1.0, 5.0]), np.array([1.0, 9.0])
    points = kp.UniformSampler(low, high, seed=1)(0, 20_000)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points.mean(axis=0), (low + high) / 2, atol=0.02)
    np.testing.assert_allclose(points.var(axis=0), (high - low) ** 2 / 12, rtol=0.03)
    assert (points >= low).all()
    assert (points <= high).all()


def test_points_are_those_of_seed_and_step():
    one, same, other = (kp.UniformSampler([0.0], [1.0], seed=s) for s in (3, 3, 4))
    for step in range(5):
        np.testing.assert_array_equal(one(step, 4), same(step, 4))
    drawn = [one(0, 4), one(1, 4), other(0, 4)]
    assert len({d.tobytes() for d in drawn}) == 3


def test_points_are_kept_for_some_steps():
    sampler = kp.UniformSampler([0.0], [1.0], every=3)
    drawn = [sampler(step, 4).tobytes() for step in range(7)]
    assert drawn[:3] == [drawn[0]] * 3
    assert drawn[3:6] == [drawn[3]] * 3
    assert len(set(drawn)) == 3


def test_structures_and_flat_sides():
    sampler = kp.UniformSampler({"t": [0.0], "x": [0.0, 2.0]}, {"t": [0.0], "x": [1.0, 3.0]})
    points = sampler(0, 5)
    assert {name: part.shape for name, part in points.items()} == {"t": (5, 1), "x": (5, 2)}
    assert (points["t"] == 0).all()
    first, second = kp.UniformSampler(([0.0], [0.0]), ([1.0], [1.0]))(0, 5)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": [1.0], "high": [0.0]}, r"low <= high.*low=\[1.0\]"),
        ({"low": [0.0], "high": [np.inf]}, "finite"),
        ({"low": [0.0], "high": [1.0, 2.0]}, "of the same shape"),
        ({"low": {"a": [0.0]}, "high": [1.0]}, "the same structure"),
        ({"low": [0.0], "high": [1.0], "seed": -1}, "seed=-1"),
        ({"low": [0.0], "high": [1.0], "every": 0}, "every=0"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        kp.UniformSampler(**arguments)


def test_a_sampler_gets_the_steps_of_the_training():
    asked = []

    def sampler(step, batch):
        asked.append((step, batch))
        return np.zeros((batch, 3), "float32")

    model = linear.model()
    x, y, _ = linear.data()
    for _ in range(2):
        # The data are fetched slightly ahead of the training.
        asked.clear()
        model.fit(x, y, unlabelled=sampler, batch_size=linear.BATCH, epochs=2, verbose=0)
        first = int(model.optimizer.iterations.numpy()) - 2 * linear.STEPS
        assert asked[0] == (0, linear.BATCH)  # To know its shape.
        assert asked[1:7] == [(first + i, linear.BATCH) for i in range(6)]


def test_a_stream_of_rows_is_a_function_of_the_place():
    stream = RowStream(5, lambda number: row_order(7, number, 5))
    whole = stream.take(0, 23)
    for first in (3, 19, 4, 11, 0):
        np.testing.assert_array_equal(stream.take(first, 4), whole[first : first + 4])
    assert all(sorted(whole[i : i + 5]) == list(range(5)) for i in (0, 5, 10, 15))
    assert len({tuple(whole[i : i + 5]) for i in (0, 5, 10, 15)}) > 1
    np.testing.assert_array_equal(RowStream(3).take(2, 5), [2, 0, 1, 2, 0])


@pytest.mark.parametrize("seed", [0, 7])
def test_unlabelled_rows_come_in_an_order_of_their_own(seed):
    """Otherwise, with equal numbers of rows, the same pairs would repeat in every pass."""
    for number in range(3):
        labelled, unlabelled = row_order(seed, number, 50), unlabelled_order(seed, number, 50)
        assert sorted(unlabelled) == sorted(labelled) == list(range(50))
        assert np.mean(labelled == unlabelled) < 0.2
    assert not np.array_equal(unlabelled_order(seed, 0, 50), unlabelled_order(seed, 1, 50))
    assert not np.array_equal(unlabelled_order(seed, 0, 50), unlabelled_order(seed + 1, 0, 50))


@pytest.mark.parametrize("dtype", ["int32", "foo", 3, "bool"])
def test_points_are_floats(dtype):
    with pytest.raises(ValueError, match=rf"`dtype` of a sampler.*dtype={dtype!r}"):
        kp.UniformSampler([0.0], [1.0], dtype=dtype)
    assert kp.UniformSampler([0.0], [1.0], dtype="float64")(0, 2).dtype == np.float64
