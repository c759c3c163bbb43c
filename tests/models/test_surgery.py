import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests import problems
from tests.problems import data, endpoint_model, physics_model, terms


def physics_in(model):
    return kp.inspection.physics_layers(model)


def test_stripped_model_shares_layers_and_predicts_the_same():
    z, x = data()
    model = physics_model()
    model.compile("adam", "mse")
    model.fit(z, x, verbose=0)
    plain = kp.strip_physics(model)
    assert not isinstance(plain, kp.PhysicsModel)
    assert plain.layers[1] is model.layers[1]
    assert not physics_in(plain)
    np.testing.assert_array_equal(plain.predict(z, verbose=0), model.predict(z, verbose=0))


def test_stripped_model_saves_and_loads_without_this_package(tmp_path):
    plain = kp.strip_physics(physics_model())
    plain.save(tmp_path / "plain.keras")
    assert "physreg" not in keras.saving.load_model(tmp_path / "plain.keras").to_json()


def test_stripping_a_compiled_model_with_an_unregistered_loss():
    model = physics_model()
    model.compile("sgd", lambda y, p: keras.ops.mean(keras.ops.abs(y - p), -1))
    assert not kp.strip_physics(model).compiled


def test_label_input_is_gone():
    model = endpoint_model()
    plain = kp.strip_physics(model)
    z, x = data()
    assert len(plain.inputs) == 1
    np.testing.assert_array_equal(plain.predict(z, verbose=0), model.predict([z, x], verbose=0))


def test_label_input_of_a_dict_is_gone_even_behind_other_layers():
    z, x_pred = problems.tensors()
    label = keras.Input((2,), name="label")
    scaled = keras.layers.Rescaling(2.0)(label)
    layer = kp.PhysicsRegularization(problems.doubling, terms())
    inputs = {"measurements": z, "label": label}
    plain = kp.strip_physics(keras.Model(inputs, layer(z, x_pred, targets=scaled)))
    assert list(plain.input) == ["measurements"]
    assert not any("rescaling" in layer.name for layer in plain.layers)


def test_nested_physics_and_its_label_input_are_gone():
    inner = endpoint_model()
    z_in, label = keras.Input((3,)), keras.Input((2,))
    doubled = keras.layers.Dense(1)(inner([z_in, label]))
    model = keras.Model([z_in, label], doubled)
    z, x = data()
    plain = kp.strip_physics(model)
    assert len(plain.inputs) == 1
    assert not physics_in(plain)
    np.testing.assert_array_equal(plain.predict(z, verbose=0), model.predict([z, x], verbose=0))


def test_nested_models_without_physics_are_shared_as_they_are():
    encoder = problems.bare_model()
    z = keras.Input((3,))
    layer = kp.PhysicsRegularization(problems.doubling, terms())
    plain = kp.strip_physics(kp.PhysicsModel(z, layer(z, encoder(z))))
    assert plain.layers[1] is encoder


def test_models_with_operations_are_stripped():
    z = keras.Input((3,))
    x_pred = keras.ops.tanh(keras.layers.Dense(2)(z[:, :2])) * 2.0
    layer = kp.PhysicsRegularization(lambda z, x: x, {"r": 1.0})
    model = kp.PhysicsModel(z, layer(z, x_pred))
    plain = kp.strip_physics(model)
    inputs, _ = data()
    np.testing.assert_array_equal(
        plain.predict(inputs, verbose=0), model.predict(inputs, verbose=0)
    )


def test_physics_in_a_nested_sequential_is_gone():
    model = keras.Sequential([keras.Input((3,)), physics_model(), keras.layers.Dense(1)])
    z = keras.Input((3,))
    plain = kp.strip_physics(keras.Model(z, model(z)))
    assert not physics_in(plain)


def test_structured_outputs_keep_their_structure():
    z = keras.Input((3,))
    outputs = {"a": keras.layers.Dense(2)(z), "b": keras.layers.Dense(1)(z)}
    layer = kp.PhysicsRegularization(lambda z, x: x["b"], {"b": 1.0})
    plain = kp.strip_physics(kp.PhysicsModel(z, layer(z, outputs)))
    assert set(plain.output) == {"a", "b"}


@pytest.mark.slow
def test_regularize_shares_layers_and_weights():
    for encoder in [
        problems.bare_model(),
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)]),
    ]:
        model = kp.regularize(encoder, problems.doubling, terms(), name="with_physics")
        model.compile("adam", "mse")
        z, x = data()
        before = encoder.predict(z, verbose=0)
        model.fit(z, x, verbose=0)
        assert model.name == "with_physics"
        assert not np.array_equal(before, encoder.predict(z, verbose=0))
        np.testing.assert_array_equal(encoder.predict(z, verbose=0), model.predict(z, verbose=0))


def test_regularize_and_strip_give_the_model_back():
    encoder = problems.bare_model()
    plain = kp.strip_physics(kp.regularize(encoder, problems.doubling, terms()))
    assert plain.layers[1:] == encoder.layers[1:]
    assert list(plain.output_names) == list(encoder.output_names)


class InCall(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.inner = kp.PhysicsRegularization(problems.residual, {"r": 1.0})

    def call(self, z):
        return self.inner(z, z)


def physics_in_a_layer():
    z = keras.Input((2,))
    return keras.Model(z, InCall()(z))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (problems.Subclassed, ValueError, "is subclassed"),
        (lambda: keras.Sequential([keras.layers.Dense(2)]), ValueError, "is not built"),
        (lambda: "model", TypeError, "needs a Keras model"),
    ],
    ids=["subclassed", "not built", "no model"],
)
def test_models_that_cannot_be_changed_are_refused(make, error, text):
    with pytest.raises(error, match=text):
        kp.strip_physics(make())
    with pytest.raises(error, match=text):
        kp.regularize(make(), problems.residual, {"r": 1.0})


def test_physics_called_inside_another_layer_is_refused():
    with pytest.raises(ValueError, match="calls in its own `call`"):
        kp.strip_physics(physics_in_a_layer())
