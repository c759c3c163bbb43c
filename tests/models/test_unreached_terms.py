"""The first `fit` warns of terms that train nothing, while the step is traced."""

import contextlib
import warnings

import keras
import pytest
import tensorflow as tf
from keras import ops

import keras_physreg as kp
from keras_physreg.layers import unreached_terms
from tests.diagnosis.setups import data, law, model_of
from tests.diagnosis.test_findings import CONNECTED, DISCONNECTED
from tests.variants import slow_but

Z, X = data(70, 0)


def fitted(physics, weight=0.5, make=None, **options):
    make = make or (lambda physics: model_of(physics, {"t": weight}, 0))
    model = make(physics)
    model.compile("sgd", "mse", **options)
    model.fit(Z, X, batch_size=70, verbose=0)
    return model


def plain(physics, weight=0.5, train=True):
    """A functional `keras.Model`, whose layer adds the losses by itself."""
    z = keras.Input((3,))
    dense = keras.layers.Dense(2, trainable=train)
    return keras.Model(z, kp.PhysicsRegularization(physics, {"t": weight})(z, dense(z)))


class Plain(keras.Model):
    """The same as a subclass."""

    def __init__(self, physics):
        super().__init__()
        self.dense = keras.layers.Dense(2)
        self.physics = kp.PhysicsRegularization(physics, {"t": 0.5})

    def call(self, z):
        return self.physics(z, self.dense(z))


def nested(physics):
    """A plain model that calls another one, which has the physics."""
    z = keras.Input((3,))
    return keras.Model(z, keras.layers.Dense(2)(plain(physics)(z)))


def around(physics):
    """A plain model that calls a `PhysicsModel`."""
    z = keras.Input((3,))
    return keras.Model(z, model_of(physics, {"t": 0.5}, 0)(z))


PLAIN = {
    "functional": plain,
    "subclassed": Plain,
    "nested": nested,
    "PhysicsModel in it": around,
}


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


DETACHED = DISCONNECTED["stop_gradient"]
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
    assert warnings_of(lambda: model_of(DETACHED, {"t": 0.5}, 0), steps) == 1


@pytest.mark.parametrize("make", PLAIN)
def test_a_plain_model_warns_once(make):
    """Twice traced, for the last batch has fewer rows; one kind is evaluated and fitted again."""
    assert warnings_of(lambda: PLAIN[make](DETACHED), more=make == "functional") == 1


def warnings_of(make, steps=1, more=True):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = make()
        model.compile("sgd", "mse", steps_per_execution=steps)
        model.fit(Z, X, batch_size=16, epochs=2, verbose=0)
        if more:
            model.evaluate(Z, X, verbose=0)
            model.fit(Z[:40], X[:40], verbose=0)
    return sum("trains nothing" in str(each.message) for each in caught)


@pytest.mark.parametrize("kind", slow_but({"stop_gradient"}, TOLD))
def test_a_plain_model_warns_of_each_kind(kind):
    with pytest.warns(UserWarning, match=r"Physics term 't' of layer .* trains nothing"):
        fitted(DISCONNECTED[kind], make=plain)


@pytest.mark.parametrize("jit_compile", slow_but({False}, [False, True]))
@pytest.mark.parametrize("make", PLAIN)
def test_a_plain_model_is_silent_where_a_gradient_arrives(make, jit_compile):
    with no_warnings():
        fitted(lambda z, p: p - law(z), make=PLAIN[make], jit_compile=jit_compile)


def test_a_plain_model_with_frozen_layers_is_told_where_it_is_functional():
    class Head(keras.Model):
        def __init__(self):
            super().__init__()
            self.frozen = plain(lambda z, p: p - law(z), train=False)
            self.head = keras.layers.Dense(2)

        def call(self, z):
            return self.head(self.frozen(z))

    with pytest.warns(UserWarning, match="trains nothing"):
        fitted(None, make=lambda _: Head())


def test_a_plain_model_is_silent_at_weight_0_run_eagerly_and_evaluated():
    with no_warnings():
        fitted(DETACHED, make=lambda physics: plain(physics, weight=0.0))
        fitted(DETACHED, make=plain, run_eagerly=True)
        model = plain(DETACHED)
        model.compile("sgd", "mse")
        model.evaluate(Z, X, verbose=0)
        model.predict(Z, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("make", ["functional", "subclassed"])
def test_a_plain_model_is_silent_where_the_physics_calls_another_network(make):
    """That network is reached by no argument of the physics layer."""
    other = keras.layers.Dense(2)
    other.build((None, 3))
    with no_warnings():
        fitted(lambda z, p: other(z) - law(z), make=PLAIN[make])


@pytest.mark.parametrize("trainable", [True, False])
def test_constants_of_a_plain_model_train_something(trainable):
    physics = Calibration()
    physics.offset.trainable = trainable
    told = contextlib.nullcontext() if trainable else pytest.warns(match="trains nothing")
    with no_warnings() if trainable else told:
        fitted(physics, make=plain)


@pytest.mark.slow
def test_replicas_of_a_plain_model_are_not_looked_at():
    model = plain(lambda z, p: p - law(z))
    model.compile("sgd", "mse")
    with no_warnings():
        kp.ReplicaTrainer(model, {"t": [0.1, 1.0]}).fit(Z, X, epochs=1, verbose=0)


@pytest.mark.slow
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


@pytest.mark.slow
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
