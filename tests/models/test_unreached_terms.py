"""The first `fit` warns of terms that train nothing, while the step is traced."""

import contextlib
import warnings

import keras
import pytest
import tensorflow as tf
from keras import ops

import keras_physreg as kp
from keras_physreg.models import unreached_terms
from tests.diagnosis.setups import data, law, model_of
from tests.diagnosis.test_findings import CONNECTED, DISCONNECTED
from tests.variants import slow_but

Z, X = data(70, 0)


def fitted(physics, weight=0.5, **options):
    model = model_of(physics, {"t": weight}, 0)
    model.compile("sgd", "mse", **options)
    model.fit(Z, X, batch_size=70, verbose=0)
    return model


@contextlib.contextmanager
def no_warnings():
    """Raises where one comes, as the filters of the tests let this one pass."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Physics term")
        yield


@pytest.mark.parametrize("jit_compile", slow_but({False}, [False, True]))
def test_it_warns_with_and_without_jit(jit_compile):
    with pytest.warns(UserWarning, match=r"Physics term 't' of model .* trains nothing"):
        fitted(lambda z, p: ops.stop_gradient(p) - law(z), jit_compile=jit_compile)


TOLD = [kind for kind in DISCONNECTED if kind != "no gradient in TensorFlow"]


@pytest.mark.parametrize("kind", slow_but({"captured prediction", "NumPy"}, TOLD))
def test_it_warns_of_each_kind(kind):
    with pytest.warns(UserWarning, match="trains nothing"):
        fitted(DISCONNECTED[kind])


@pytest.mark.parametrize("kind", slow_but({"half stopped"}, CONNECTED))
def test_it_is_silent_where_a_gradient_arrives(kind):
    with no_warnings():
        fitted(CONNECTED[kind])


@pytest.mark.parametrize("steps", slow_but({4}, [1, 4]))
def test_it_warns_once(steps):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = model_of(lambda z, p: ops.stop_gradient(p) - law(z), {"t": 0.5}, 0)
        model.compile("sgd", "mse", steps_per_execution=steps)
        model.fit(Z, X, batch_size=16, epochs=2, verbose=0)
        model.fit(Z[:40], X[:40], verbose=0)
    assert sum("trains nothing" in str(each.message) for each in caught) == 1


def test_it_is_silent_at_weight_0_and_run_eagerly():
    with no_warnings():
        fitted(DISCONNECTED["stop_gradient"], weight=0.0)
        fitted(DISCONNECTED["stop_gradient"], run_eagerly=True)


def test_it_can_be_turned_off():
    with no_warnings():
        warnings.filterwarnings("ignore", message="Physics term .* trains nothing")
        fitted(DISCONNECTED["stop_gradient"])


class Calibration(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.offset = kp.Constant(0.1, name="offset")

    def call(self, z, p):
        return ops.stop_gradient(p) - law(z) - self.offset()


def test_a_term_that_trains_a_constant_trains_something():
    with no_warnings():
        fitted(Calibration())


def test_it_says_that_frozen_constants_do_not_count():
    physics = Calibration()
    physics.offset.trainable = False
    with pytest.warns(UserWarning, match="constants with `trainable=False` do not count"):
        fitted(physics)


def test_a_layer_that_the_model_does_not_track_trains_as_before():
    term = kp.PhysicsRegularization(lambda z, p: p - law(z), {"t": 0.5})

    class Untracked(kp.PhysicsModel):
        def __init__(self):
            super().__init__()
            self.network = keras.layers.Dense(2)

        def call(self, z):
            return term(z, self.network(z))

    model = Untracked()
    model.compile("sgd", "mse")
    with no_warnings():
        logs = model.fit(Z, X, verbose=0).history
    assert logs["physics_loss"][0] > 0


@pytest.mark.slow
def test_the_step_has_no_more_operations_for_it(monkeypatch):
    """The graph of the traced step is the same without the look at it."""

    def operations():
        model = fitted(lambda z, p: p - law(z))
        unreached_terms._warned.clear()
        traced = tf.function(lambda x, y: model.train_step((x, y)))
        graph = traced.get_concrete_function(tf.constant(Z), tf.constant(X)).graph
        return sorted(op.type for op in graph.get_operations())

    looked = operations()
    monkeypatch.setattr("keras_physreg.models.run_step.warn_of_unreached", lambda *args: None)
    assert operations() == looked
