"""16-bit policies and float64."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from tests.derivatives import networks
from tests.derivatives.closed_forms import ACTIVATIONS, derivative
from tests.derivatives.test_training import model_of, rows
from tests.layer_checks import SIXTEEN_BITS
from tests.variants import slow_but


@pytest.mark.parametrize("kind", slow_but({"rules"}, ["rules", "whole"]))
@pytest.mark.parametrize("policy", slow_but({"mixed_float16"}, SIXTEEN_BITS))
def test_sixteen_bits(policy, kind):
    """Derivatives are those of float32; in 16 bits they are off by 1e-3 and more."""
    keras.config.set_dtype_policy(policy)
    network = networks.dense(outputs=1) if kind == "rules" else networks.OwnNetwork()
    layer = kp.Derivatives(network, ["x", "xx", "xxxx"], inputs=["x", "t"])
    z = networks.points(dtype="float32")
    for key, values in layer(ops.convert_to_tensor(z)).items():
        exact = derivative(ACTIVATIONS["tanh"], network.get_weights(), z, key[2:])
        assert keras.backend.standardize_dtype(values.dtype) == "float32"
        np.testing.assert_allclose(values, exact, rtol=1e-4, atol=1e-5)
    model = model_of(network)
    model.compile("adam", "mse")
    given, label = rows(64)
    assert np.isfinite(model.fit(given, label, verbose=0).history["pde_loss"]).all()
    assert model.predict(given, verbose=0).dtype == "float32"


@pytest.mark.tensorflow
def test_the_weights_decide_between_float32_and_float64():
    wide = networks.dense(dtype="float64")
    wide.trainable = False
    found = kp.Derivatives(wide, ["x"], inputs=["x", "t"])(networks.points(dtype="float32"))
    assert {keras.backend.standardize_dtype(v.dtype) for v in found.values()} == {"float64"}
    found = kp.Derivatives(networks.dense(), ["x"], inputs=["x", "t"])(networks.points())
    assert {keras.backend.standardize_dtype(v.dtype) for v in found.values()} == {"float32"}
