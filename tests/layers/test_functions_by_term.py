"""A physics layer with one function per term."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from tests.problems import arrays_equal, data, doubling, terms


@keras.saving.register_keras_serializable(package="tests.by_term")
def of_x(z, x_pred):
    return z[:, :2] / 2


@keras.saving.register_keras_serializable(package="tests.by_term")
def of_z(z, x_pred):
    return {"z": 2 * x_pred}


@keras.saving.register_keras_serializable(package="tests.by_term")
class Scaled(keras.layers.Layer):
    def __init__(self, constant="gain", **kwargs):
        super().__init__(**kwargs)
        self.gain = kp.Constant(1.5, name=constant)

    def call(self, z, x_pred):
        return self.gain() * x_pred


def model(physics, term_list=None):
    keras.utils.set_random_seed(0)
    z = keras.Input((3,))
    layer = kp.PhysicsRegularization(physics, term_list or terms())
    made = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(z)))
    made.compile(keras.optimizers.SGD(0.1), "mse")
    return made


def fitted(made):
    logs = made.fit(*data(), epochs=2, shuffle=False, verbose=0).history
    return logs, [keras.ops.convert_to_numpy(v) for v in made.trainable_variables]


def test_same_as_one_function_for_all_terms():
    (logs, weights), (other_logs, others) = (
        fitted(model(physics)) for physics in (doubling, {"z": of_z, "x": of_x})
    )
    assert list(logs) == list(other_logs)
    for key, values in logs.items():
        np.testing.assert_allclose(other_logs[key], values, rtol=1e-6)
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def overflowing(z, x_pred):
    return ops.exp(500.0 + x_pred)


def test_a_term_at_weight_0_whose_gradient_is_not_finite_changes_nothing():
    """In one function for both terms, its gradient of 0 times infinity would be NaN."""
    alone = model({"z": of_z}, [kp.PhysicsTerm("z", "input", components=[0, 1])])
    beside = model(
        {"z": of_z, "bad": overflowing},
        [kp.PhysicsTerm("z", "input", components=[0, 1]), kp.PhysicsTerm("bad", weight=0.0)],
    )
    (first, weights), (second, same) = fitted(alone), fitted(beside)
    assert arrays_equal(weights, same)
    assert first["z_loss"] == second["z_loss"]
    assert np.isinf(second["bad_loss"]).all()


@pytest.mark.slow
def test_saved_and_loaded(tmp_path):
    layer = Scaled()
    shared = {"x": of_x, "z": layer, "w": layer}
    term_list = [*terms(), kp.PhysicsTerm("w")]
    made = model(shared, term_list)
    fitted(made)
    made.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    again = loaded.layers[-1]
    assert again.functions["x"] is of_x
    assert again.functions["z"] is again.functions["w"]
    z, x = data()
    kept = made.evaluate(z, x, return_dict=True, verbose=0)
    found = loaded.evaluate(z, x, return_dict=True, verbose=0)
    assert found == pytest.approx(kept, rel=1e-6)
    assert kp.get_constants(loaded)["gain"] == kp.get_constants(made)["gain"] != 1.5


def test_from_config_and_strip():
    made = model({"x": of_x, "z": of_z})
    layer = made.layers[-1]
    again = kp.PhysicsRegularization.from_config(layer.get_config())
    assert [again.functions[name] for name in "xz"] == [of_x, of_z]
    z, _ = data()
    stripped = kp.strip_physics(made)
    np.testing.assert_array_equal(stripped.predict(z, verbose=0), made.predict(z, verbose=0))
    made.summary(print_fn=lambda line: None)


def test_a_function_that_is_not_registered_is_named():
    made = model({"x": of_x, "z": lambda z, x: 2 * x})
    with pytest.raises(ValueError, match="the physics of term 'z' of layer"):
        made.layers[-1].get_config()


@pytest.mark.tensorflow
def test_checkpoint_holds_the_constants(tmp_path):
    import tensorflow as tf

    def made():
        return model({"x": of_x, "z": Scaled()})

    first, second = made(), made()
    fitted(first)
    path = tf.train.Checkpoint(model=first).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(model=second).restore(path).expect_partial()
    assert kp.get_constants(second)["gain"] == kp.get_constants(first)["gain"]


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
def test_each_term_may_train_something_else():
    """The gradient of one function's constants does not reach the network, and so on."""
    term_list = [kp.PhysicsTerm("a", trains="network"), kp.PhysicsTerm("b", trains="constants")]
    made = model({"a": Scaled(), "b": Scaled("other")}, term_list)
    fitted(made)
    constants = kp.get_constants(made)
    assert constants["gain"] == 1.5
    assert constants["other"] != 1.5
