"""Saving, loading, export, and the model without physics."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from tests.derivatives import networks
from tests.derivatives.test_training import model_of, rows
from tests.variants import slow_but


def test_the_configuration_comes_back():
    layer = kp.Derivatives(networks.dense(), ["x", "tx"], inputs=["x", "t"], output="v", name="d")
    written = json.dumps(keras.saving.serialize_keras_object(layer))
    again = keras.saving.deserialize_keras_object(json.loads(written))
    assert again.output_keys == ["v", "v_x", "v_tx"]
    assert again.name == "d"
    assert again.input_letters == ["x", "t"]
    assert [type(part).__name__ for part in again.network.layers] == ["Dense", "Dense"]


@pytest.mark.parametrize("kind", slow_but({"rules"}, ["rules", "whole"]))
def test_a_saved_model_computes_the_same(kind, tmp_path):
    network = networks.dense(outputs=1) if kind == "rules" else networks.OwnNetwork()
    model = model_of(network, None)
    model.compile("sgd", {"u": "mse"})
    z, label = rows(64)
    model.fit(z, {"u": label}, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    before, after = model.predict(z, verbose=0), again.predict(z, verbose=0)
    for key, values in before.items():
        np.testing.assert_allclose(after[key], values, rtol=1e-6, atol=1e-7)
    history = again.fit(z, {"u": label}, verbose=0).history
    assert np.isfinite(history["pde_loss"]).all()


def test_a_network_shared_with_the_model_stays_shared(tmp_path):
    network = networks.dense(outputs=1)
    z = keras.Input((2,))
    model = keras.Model(z, [network(z), kp.Derivatives(network, ["x"], ["x", "t"])(z)["u_x"]])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert len(again.trainable_variables) == len(network.trainable_variables)
    for one, other in zip(model.predict(rows()[0]), again.predict(rows()[0]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_export(tmp_path):
    import tensorflow as tf

    model = model_of(networks.dense(outputs=1))
    z, _ = rows(8)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(served.serve(z), model.predict(z, verbose=0), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["rules", "whole"])
def test_without_physics_the_network_is_left(kind):
    network = networks.dense(outputs=1) if kind == "rules" else networks.OwnNetwork()
    model = model_of(network)
    stripped = kp.strip_physics(model)
    assert stripped.layers[1] is network
    assert len(stripped.layers) == 2
    z, _ = rows(8)
    expected = model.predict(z, verbose=0)
    np.testing.assert_allclose(stripped.predict(z, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_derivatives_without_physics_leave_the_network_too():
    network = networks.dense(outputs=1)
    z = keras.Input((2,))
    u = kp.Derivatives(network, ["x"], ["x", "t"])(z)["u"]
    inner = keras.Model(z, keras.layers.Rescaling(2.0)(u))
    outer_z = keras.Input((2,))
    stripped = kp.strip_physics(keras.Model(outer_z, inner(outer_z)))
    assert [type(layer).__name__ for layer in stripped.layers[1].layers] == [
        "InputLayer",
        "Sequential",
        "Rescaling",
    ]


def test_a_model_whose_outputs_are_derivatives_keeps_them():
    model = model_of(networks.dense(outputs=1), None)
    stripped = kp.strip_physics(model)
    kinds = {type(layer).__name__ for layer in stripped.layers}
    assert kinds == {"InputLayer", "Sequential", "Derivatives"}
    z, _ = rows(8)
    expected, found = model.predict(z, verbose=0), stripped.predict(z, verbose=0)
    assert sorted(found) == sorted(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_subclassed_model_around_the_layer(tmp_path):
    model = Around()
    model.compile("sgd", "mse", jit_compile="auto")
    z, label = rows(64)
    assert np.isfinite(model.fit(z, label, verbose=0).history["pde_loss"]).all()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        again.predict(z, verbose=0), model.predict(z, verbose=0), rtol=1e-6, atol=1e-7
    )
    found = again.derivatives(ops.convert_to_tensor(z))
    assert found["u_xx"].shape == (64, 1)


@keras.saving.register_keras_serializable(package="tests")
class Around(kp.PhysicsModel):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        network = networks.dense(outputs=1)
        self.derivatives = kp.Derivatives(network, ["x", "t", "xx"], ["x", "t"])
        self.physics = kp.PhysicsRegularization(networks.burgers, {"pde": 1.0})

    def call(self, z):
        return self.physics(z, self.derivatives(z))["u"]
