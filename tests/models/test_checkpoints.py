"""TensorFlow formats: checkpoints hold term weights and constants, and SavedModels serve."""

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg._utils.backend import tensorflow as tf
from tests import problems
from tests.problems import arrays_equal, data, physics_model, trainable_values
from tests.variants import slow_but

pytestmark = pytest.mark.tensorflow

# Some are names of methods and attributes of a layer, which a term may have.
NAMES = ["x", "flow.in", "a-b", "1st", "variable", "add", "call", "of", "name"]


def named(names, weight, model_class=kp.PhysicsModel):
    def physics(z, x):
        return dict.fromkeys(names, x - z[:, :2])

    model = physics_model(physics, dict.fromkeys(names, weight), model_class)
    model.compile("adam", "mse")
    return model


def restored(model, other, folder):
    path = tf.train.Checkpoint(model=model).save(str(folder / "checkpoint"))
    tf.train.Checkpoint(model=other).restore(path).expect_partial()
    return other


@pytest.mark.parametrize("model_class", [kp.PhysicsModel, keras.Model])
def test_term_weights_of_any_name_are_in_a_checkpoint(model_class, tmp_path):
    model, other = (named(NAMES, weight, model_class) for weight in (1.0, 2.0))
    weights = {name: 0.1 * (k + 1) for k, name in enumerate(NAMES)}
    kp.set_term_weights(model, weights)
    found = kp.get_term_weights(restored(model, other, tmp_path))
    assert found == pytest.approx(weights)


def test_a_checkpoint_finds_the_weights_in_another_order_of_terms(tmp_path):
    model, other = named(["a", "b"], 0.0), named(["b", "a"], 0.0)
    kp.set_term_weights(model, {"a": 0.25, "b": 4.0})
    assert kp.get_term_weights(restored(model, other, tmp_path)) == {"b": 4.0, "a": 0.25}


def test_a_nested_model_is_restored_too(tmp_path):
    z = keras.Input((3,))
    inner = [named(["a"], weight) for weight in (0.5, 0.0)]
    model, other = (keras.Model(z, part(z)) for part in inner)
    assert kp.get_term_weights(restored(model, other, tmp_path)) == {"a": 0.5}


class Held(keras.layers.Layer):
    """Physics that holds its constants in an attribute, a list and a dict."""

    def __init__(self, values, **kwargs):
        super().__init__(**kwargs)
        self.single = kp.Constant(values[0], name="single")
        self.several = [kp.Constant(values[1], low=0.0, name="listed")]
        self.by_name = {"c": kp.Constant([values[2], 1.0], name="keyed")}

    def call(self, z, x):
        parts = [self.single(), self.several[0](), keras.ops.sum(self.by_name["c"]())]
        return sum(parts) * x - z[:, :2]


@pytest.mark.slow
def test_constants_are_in_a_checkpoint_however_they_are_held(tmp_path):
    model, other = (physics_model(Held([1.0, 2.0, 3.0]), {"r": 1.0}) for _ in range(2))
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model.fit(*data(), epochs=2, verbose=0)
    trained = kp.get_constants(model)
    assert all(np.all(np.asarray(trained[n]) != 1.0) for n in ("single", "listed", "keyed"))
    found = kp.get_constants(restored(model, other, tmp_path))
    for name, value in trained.items():
        np.testing.assert_array_equal(found[name], value)


def test_what_tensorflow_tracks_is_no_weight_of_keras():
    """Metrics stay out of `weights`, and constants are listed once."""
    model = physics_model(Held([1.0, 2.0, 3.0]), {"r": 1.0})
    names = [variable.name for variable in model.layers[-1].weights]
    assert names == ["r_weight", "raw", "raw", "raw"]
    assert len(model.trainable_variables) == 4 + 3
    assert len(model.weights) == 4 + 3 + 1


@pytest.mark.slow
def test_training_from_a_checkpoint_goes_on_as_if_it_had_not_stopped(tmp_path):
    z, x = data()
    models = [physics_model(problems.BoundedGain(), seed=seed) for seed in (0, 1)]
    for model in models:
        model.compile(keras.optimizers.Adam(0.05), "mse")
        model.optimizer.build(model.trainable_variables)
    models[0].fit(z, x, epochs=2, verbose=0, shuffle=False)
    restored(models[0], models[1], tmp_path)
    for model in models:
        model.fit(z, x, epochs=2, verbose=0, shuffle=False)
    assert arrays_equal(trainable_values(models[0]), trainable_values(models[1]))
    assert models[0].history.history == models[1].history.history


@pytest.mark.slow
@pytest.mark.parametrize("model_class", slow_but({kp.PhysicsModel}, [kp.PhysicsModel, keras.Model]))
@pytest.mark.parametrize("physics", [problems.residual, Held([1.0, 2.0, 3.0])])
def test_a_saved_model_of_tensorflow_serves(model_class, physics, tmp_path):
    model = physics_model(physics, {"r": 0.5}, model_class)
    tf.saved_model.save(model, str(tmp_path / "served"))
    serve = tf.saved_model.load(str(tmp_path / "served")).signatures["serving_default"]
    z, _ = data()
    (found,) = serve(tf.constant(z)).values()
    np.testing.assert_allclose(found, model.predict(z, verbose=0), rtol=1e-6)
