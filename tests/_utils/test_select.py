"""select: per row, per step, per value or as a whole, in values and gradients."""

import numpy as np
import pytest
from keras import ops

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.select import select

NAN = float("nan")
CONDITIONS = {"whole": (), "rows": (4,), "steps": (4, 3), "values": (4, 3, 2)}


def given(shape):
    rng = np.random.default_rng(0)
    holds = rng.uniform(size=shape) > 0.5
    wide = np.broadcast_to(holds.reshape(*shape, *[1] * (3 - len(shape))), (4, 3, 2))
    first, second = rng.normal(size=(2, 4, 3, 2)).astype("float32")
    return holds, wide, np.where(wide, first, NAN), np.where(wide, NAN, second)


@pytest.mark.parametrize("kind", CONDITIONS)
def test_values_that_are_not_selected_may_be_nan(kind):
    holds, wide, first, second = given(CONDITIONS[kind])
    found = select(*map(ops.convert_to_tensor, (holds, first, second)))
    np.testing.assert_array_equal(ops.convert_to_numpy(found), np.where(wide, first, second))


@pytest.mark.tensorflow
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("kind", CONDITIONS)
def test_gradients_select_too(kind, jit):
    holds, wide, first, second = given(CONDITIONS[kind])

    @tf.function(jit_compile=jit)
    def gradients(holds, first, second):
        with tf.GradientTape() as tape:
            tape.watch([first, second])
            found = select(holds, first, second) * 3.0
        return tape.gradient(found, [first, second])

    by_first, by_second = gradients(*map(tf.constant, (holds, first, second)))
    np.testing.assert_array_equal(by_first, np.where(wide, 3.0, 0.0))
    np.testing.assert_array_equal(by_second, np.where(wide, 0.0, 3.0))


@pytest.mark.tensorflow
def test_no_rows():
    empty = select(tf.zeros((0, 3), "bool"), tf.zeros((0, 3, 2)), tf.ones((0, 3, 2)))
    assert empty.shape == (0, 3, 2)
