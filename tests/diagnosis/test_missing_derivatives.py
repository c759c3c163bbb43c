"""A derivative that is None is told as such, with the term and the cause."""

import pytest
import tensorflow as tf
from keras import ops

import keras_physreg as kp
from tests.diagnosis.setups import data, model_of


def by_a_slice(z, p):
    return tf.gradients(p[:, :1], z[:, :1])[0]


MISSING = {
    "indexed": lambda z, p: by_a_slice(z, p)[:, 0],
    "squared": lambda z, p: ops.square(by_a_slice(z, p)),
    "subtracted": lambda z, p: by_a_slice(z, p) - 1.0,
    "multiplied": lambda z, p: tf.matmul(by_a_slice(z, p), tf.ones((1, 1))),
    "returned": by_a_slice,
    "by another input": lambda z, p: tf.gradients(p[:, :1], tf.zeros_like(z))[0][:, 0],
    "of a linear function": lambda z, p: tf.gradients(tf.gradients(p[:, :1], z)[0], z)[0][:, 0],
}


@pytest.mark.parametrize("kind", MISSING)
def test_the_first_step_tells_it(kind):
    model = model_of(MISSING[kind], {"slope": 0.5}, 0)
    with pytest.raises((TypeError, ValueError, AttributeError), match="slope") as raised:
        model.fit(*data(20, 0), verbose=0)
    if kind != "returned":
        assert "Something of 'slope' is None. `tf.gradients(u, x)` is None" in str(raised.value)
        assert "Differentiate by the `inputs` that the physics gets" in str(raised.value)


@pytest.mark.parametrize("kind", ["indexed", "squared"])
def test_diagnose_tells_it(kind):
    model = model_of(MISSING[kind], {"slope": 0.5}, 0)
    with pytest.raises((TypeError, ValueError, AttributeError), match="Something of 'slope' is"):
        kp.diagnose(model, *data(20, 0))
