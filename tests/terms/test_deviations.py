"""Means of functions of deviations: equal to the Keras losses, and zero where nothing counts."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_physreg._utils.select import times
from keras_physreg.layers.metrics import NamedMeans
from keras_physreg.terms.loss import term_loss
from keras_physreg.terms.term import PhysicsTerm

RNG = np.random.default_rng(0)
OUTPUT, REFERENCE = RNG.normal(size=(2, 6, 4, 3)).astype("float32")
SCALE = np.array([0.5, 2.0, 10.0])
ROWS = np.array([True, False, True, True, False, True])
STEPS = RNG.random((6, 4)) > 0.4
VALUES = RNG.random((6, 4, 3)) > 0.4
WHERE = {
    "all": None,
    "rows": ROWS,
    "steps": STEPS,
    "values": VALUES,
    "weights of rows": ROWS * np.arange(6, dtype="float32"),
    "weights of steps": STEPS * np.arange(24, dtype="float32").reshape(6, 4),
}
LOSSES = {"mse": np.square, "mae": np.abs}


@pytest.mark.parametrize("where", WHERE.values(), ids=WHERE)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_the_weighted_mean_of_the_values(loss, where):
    values = LOSSES[loss]((OUTPUT - REFERENCE).astype("float64") / SCALE)
    counts = np.ones(6) if where is None else np.asarray(where, "float64")
    counts = np.broadcast_to(counts.reshape(counts.shape + (1,) * (3 - counts.ndim)), values.shape)
    term = PhysicsTerm("x", "input", loss=loss, scale=SCALE)
    expected = (values * counts).sum() / counts.sum()
    of_keras = PhysicsTerm("x", "input", loss=keras.losses.get(loss), scale=SCALE)
    for each in (term, of_keras) if where is not VALUES else (term,):
        got = term_loss(each, _tensor(OUTPUT), _tensor(REFERENCE), None, _tensor(where))
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.tensorflow
@pytest.mark.parametrize("where", [*WHERE][1:])
def test_what_does_not_count_reaches_neither_loss_nor_gradient(where):
    import tensorflow as tf

    counts = np.asarray(WHERE[where])
    hidden = np.broadcast_to(
        (counts == 0).reshape(counts.shape + (1,) * (3 - counts.ndim)), OUTPUT.shape
    )
    output = tf.constant(np.where(hidden, np.nan, OUTPUT))
    with tf.GradientTape() as tape:
        tape.watch(output)
        loss = term_loss(PhysicsTerm("x"), output, tf.zeros_like(output), None, tf.constant(counts))
    gradient = tape.gradient(loss, output).numpy()
    assert np.isfinite(loss)
    assert (gradient[hidden] == 0).all()
    assert (gradient[~hidden] != 0).all()


@pytest.mark.tensorflow
@pytest.mark.parametrize("where", [False, True], ids=["all rows", "where"])
@pytest.mark.parametrize("rows", [0, 3])
def test_the_loss_of_no_values_is_zero(rows, where):
    import tensorflow as tf

    def run(output, holds):
        term = PhysicsTerm("x", "input")
        return term_loss(term, output, tf.zeros_like(output), None, holds if where else None)

    specs = [tf.TensorSpec((None, 2)), tf.TensorSpec((None,), tf.bool)]
    nothing = tf.zeros(rows, tf.bool)
    expected = 4.0 if rows and not where else 0.0
    for each in (run, tf.function(run, input_signature=specs)):
        assert float(each(tf.fill((rows, 2), 2.0), nothing)) == expected


@pytest.mark.tensorflow
@pytest.mark.parametrize("where", [False, True], ids=["all rows", "where"])
def test_many_rows_of_16_bits_do_not_overflow(where):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 2), "float16")])
    def run(output):
        holds = output[:, 0] > 0 if where else None
        return term_loss(PhysicsTerm("x"), output, tf.zeros_like(output), None, holds)

    assert float(run(tf.fill((4000, 2), tf.constant(300.0, "float16")))) == 90000.0


def test_large_units_do_not_overflow():
    term = PhysicsTerm("x", "input", scale=1e25)
    loss = term_loss(term, _tensor([[3e25]]), _tensor([[1e25]]))
    np.testing.assert_allclose(loss, 4.0, rtol=1e-6)


@pytest.mark.tensorflow
@pytest.mark.parametrize("value", [2.0, np.inf, np.nan])
def test_zero_times_anything_is_zero(value):
    import tensorflow as tf

    loss = tf.constant(value)
    with tf.GradientTape() as tape:
        tape.watch(loss)
        weighted = times(loss, tf.constant(0.0))
    assert (float(weighted), float(tape.gradient(weighted, loss))) == (0.0, 0.0)
    assert float(times(tf.constant(2.0), tf.constant(0.25))) == 0.5


def test_means_of_no_rows_do_not_count():
    means = NamedMeans(["a", "b", "c"])
    means.update_state({"a": 1.0, "b": 10.0}, 2)
    means.update_state({"a": 0.0, "b": 40.0}, 4, empty={"a": _tensor(True)})
    logs = {name: float(value) for name, value in means.result().items()}
    assert (logs["a"], logs["b"]) == (1.0, 30.0)
    assert np.isnan(logs["c"])


def _tensor(where):
    return None if where is None else ops.convert_to_tensor(where)
