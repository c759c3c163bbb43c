"""Residuals that pair every row with every other row, in every way to train."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from keras_physreg._utils.backend import tensorflow as tf
from tests.variants import slow_but

pytestmark = pytest.mark.tensorflow

Z = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
X = Z.sum(-1, keepdims=True)


def model_of(physics, terms=None, features=3, units=1, **compiled):
    keras.utils.set_random_seed(0)
    z = keras.Input((features,))
    x = keras.layers.Dense(units)(z)
    layer = kp.PhysicsRegularization(physics, terms or {"gap": 1.0})
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile(keras.optimizers.SGD(0.0), "mse", **compiled)
    return model


def pairs(z, x):
    return x - z[:, 0]  # (rows, 1) - (rows,): (rows, rows)


def rows_only(z, x):
    return x - z[:, :1]


def dataset():
    return tf.data.Dataset.from_tensor_slices((Z, X)).batch(8, drop_remainder=True)


PATHS = {
    "fit": lambda m: m.fit(Z, X, batch_size=8, verbose=0),
    "ragged fit": lambda m: m.fit(Z[:30], X[:30], batch_size=8, verbose=0),
    "drop_remainder": lambda m: m.fit(dataset(), shuffle=False, verbose=0),
    "train_on_batch": lambda m: m.train_on_batch(Z, X),
    "evaluate": lambda m: m.evaluate(Z, X, batch_size=8, verbose=0),
    "replicas": lambda m: kp.ReplicaTrainer(m, {"gap": [0.1, 1.0]}).fit(
        Z, X, batch_size=8, epochs=1, verbose=0
    ),
    "diagnose": lambda m: kp.diagnose(m, Z, X),
    "a call": lambda m: m(Z),
}


@pytest.mark.parametrize("path", PATHS)
def test_pairs_are_refused(path):
    with pytest.raises(ValueError, match=r"'gap' has shape[\s\S]*expand_dims[\s\S]*reshape"):
        PATHS[path](model_of(pairs))


@pytest.mark.parametrize("compiled", [{"run_eagerly": True}, {"jit_compile": True}], ids=str)
def test_pairs_are_refused_in_compiled_and_eager_steps(compiled):
    with pytest.raises(ValueError, match="'gap' has shape"):
        model_of(pairs, **compiled).fit(Z, X, batch_size=8, verbose=0)


def test_pairs_are_refused_in_a_plain_model():
    z = keras.Input((3,))
    x = kp.PhysicsRegularization(pairs, {"gap": 1.0})(z, keras.layers.Dense(1)(z))
    model = keras.Model(z, x)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="'gap' has shape"):
        model.fit(Z, X, batch_size=8, verbose=0)


@pytest.mark.parametrize("path", slow_but({"fit"}, ["fit", "drop_remainder", "train_on_batch"]))
def test_one_value_per_row_is_the_mean_over_rows(path):
    model = model_of(rows_only)
    PATHS[path](model)
    gap = model.evaluate(Z, X, verbose=0, return_dict=True)["gap_loss"]
    assert np.isclose(gap, np.mean((model.predict(Z, verbose=0) - Z[:, :1]) ** 2), rtol=1e-5)


def of_eight_rows(z, x):
    return ops.reshape(x, (8, 8)) - ops.reshape(z[:, :8], (8, 8))


def gradient(z, x):
    return tf.gradients(x, z)[0]


def gram(z, x):
    return ops.reshape(ops.matmul(x, ops.transpose(x)), (-1,))


# Eight rows and eight features: the size alone shows nothing.
HEALTHY = {
    "as many features as rows": lambda z, x: x - z,
    "a batch named by the physics": of_eight_rows,
    "one number": lambda z, x: ops.mean(x - z),
    "derivatives by the input": gradient,
    "pairs as one axis": gram,
    "flattened by row": lambda z, x: ops.reshape(x - z, (ops.shape(x)[0], -1)),
    "numpy constants": lambda z, x: x * np.ones((1, 8), "float32"),
}


@pytest.mark.parametrize("rows", slow_but({10}, [8, 10]), ids=["one batch", "a ragged batch"])
@pytest.mark.parametrize(
    "name", slow_but({"derivatives by the input", "pairs as one axis", "numpy constants"}, HEALTHY)
)
def test_no_false_alarm(name, rows):
    if rows == 10 and name == "a batch named by the physics":
        return
    model = model_of(HEALTHY[name], features=8, units=8)
    z = np.random.default_rng(1).normal(size=(rows, 8)).astype("float32")
    assert np.isfinite(model.fit(z, z, batch_size=8, verbose=0).history["gap_loss"][0])


def second_derivative(z, x):
    slope = tf.gradients(x, z)[0]
    return tf.gradients(slope[:, 0], z)[0][:, :1] - z[:, 0]


@pytest.mark.parametrize("rows", [8, 10], ids=["one batch", "a ragged batch"])
def test_pairs_of_derivatives_by_the_input_are_refused(rows):
    model = model_of(lambda z, x: tf.gradients(x, z)[0][:, :1] - z[:, 0])
    with pytest.raises(ValueError, match="'gap' has shape"):
        model.fit(Z[:rows], X[:rows], batch_size=8, verbose=0)
    keras.utils.set_random_seed(0)
    z = keras.Input((3,))
    x = keras.layers.Dense(1)(keras.layers.Dense(4, activation="tanh")(z))
    layer = kp.PhysicsRegularization(second_derivative, {"gap": 1.0})
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="'gap' has shape"):
        model.fit(Z[:rows], X[:rows], batch_size=8, verbose=0)


@keras.saving.register_keras_serializable("tests")
class Noisy(keras.layers.Layer):
    """Physics with a count of its calls, and random numbers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(3)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, z, x):
        self.calls.assign_add(1.0)
        self.add_loss(0.0 * ops.sum(x))
        return x - z + keras.random.normal(ops.shape(x), seed=self.seeds)


def test_the_check_leaves_states_and_losses_alone():
    physics = Noisy()
    model = model_of(physics, features=8, units=8)
    z = np.ones((8, 8), "float32")
    model(z)
    before = [v.numpy() for v in model.variables]
    losses = len(model(z).shape) and len(model.losses)
    assert physics.calls.numpy() == 2.0
    assert losses == 2  # Its own, and the term's.
    assert len(before) == len(model.variables)


def test_a_size_is_looked_at_once():
    calls = []

    def physics(z, x):
        calls.append(1)
        return x - z

    model = model_of(physics, features=8, units=8, run_eagerly=True)
    z = np.ones((16, 8), "float32")
    model.fit(z, z, batch_size=8, epochs=3, verbose=0)
    assert len(calls) == 6 + 1


@pytest.mark.parametrize("rows", [32, 30], ids=["equal batches", "a ragged batch"])
def test_other_rows_than_the_reference_are_refused(rows):
    terms = [kp.PhysicsTerm("gap", "input")]
    model = model_of(lambda z, x: (x * z)[:4], terms)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"\b4\b|Incompatible"):
        model.fit(Z[:rows], X[:rows], batch_size=8, verbose=0)


@pytest.mark.slow
def test_a_plain_residual_may_have_rows_of_its_own():
    model = model_of(lambda z, x: (x - z[:, :1])[:4])
    gap = model.evaluate(Z[:8], X[:8], verbose=0, return_dict=True)["gap_loss"]
    assert np.isclose(gap, np.mean((model.predict(Z[:4], verbose=0) - Z[:4, :1]) ** 2), rtol=1e-5)
