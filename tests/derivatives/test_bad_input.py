"""What is refused, and in which words."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from tests.derivatives import networks

ARGUMENTS = {
    "unknown letter": (["xy"], ["x", "t"], r"'xy' has \['y'\], not in `inputs` \['x', 't'\]"),
    "order 5": (["xxttx"], ["x", "t"], "'xxttx' has order 5; the maximum is 4"),
    "twice": (["x", "x"], ["x", "t"], r"\['x', 'x'\] are the same derivative"),
    "twice in another order": (["xt", "tx"], ["x", "t"], r"\['xt', 'tx'\] are the same"),
    "none": ([], ["x", "t"], "`derivatives` must not be empty"),
    "empty": ([""], ["x", "t"], "must be strings of input names"),
    "a number": ([2], ["x", "t"], "must be strings of input names"),
    "long name": (["x"], ["x", "time"], "must be single letters"),
    "a digit": (["x"], ["x", "1"], "must be single letters"),
    "input twice": (["x"], ["x", "x"], r"has \['x'\] more than once"),
    "no inputs": (["x"], [], "`inputs` must not be empty"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_names(name):
    derivatives, inputs, message = ARGUMENTS[name]
    with pytest.raises(ValueError, match=message):
        kp.Derivatives(networks.dense(), derivatives, inputs)


def test_kinds_of_arguments():
    with pytest.raises(TypeError, match=r"`derivatives` must be a list.*'xx'"):
        kp.Derivatives(networks.dense(), "xx", ["x", "t"])
    with pytest.raises(TypeError, match="`network` must be a Keras layer or model"):
        kp.Derivatives(lambda z: z, ["x"], ["x", "t"])
    with pytest.raises(TypeError, match="an instance and not its class"):
        kp.Derivatives(networks.OwnNetwork, ["x"], ["x", "t"])
    with pytest.raises(ValueError, match="`output` must be a name"):
        kp.Derivatives(networks.dense(), ["x"], ["x", "t"], output="a b")


def several_inputs():
    inputs = {name: keras.Input((1,), name=name) for name in "xt"}
    return keras.Model(inputs, keras.layers.Dense(1)(inputs["x"] * inputs["t"]))


COLUMN = np.zeros((3, 1), "float32")
STRUCTURES = {
    "too few names": (networks.dense, np.zeros((3, 3), "float32"), r"shape \(batch, 2\)"),
    "three axes": (networks.dense, np.zeros((3, 4, 2), "float32"), r"shape \(batch, 2\)"),
    "a list": (networks.dense, [COLUMN, COLUMN], "with a dict of tensors by name"),
    "a dict for a tensor": (networks.dense, {"x": COLUMN, "t": COLUMN}, "takes one tensor"),
    "a tensor for a dict": (several_inputs, np.zeros((3, 2), "float32"), r"inputs \['t', 'x'\]"),
    "a missing entry": (several_inputs, {"x": COLUMN}, r"has no \['t'\]"),
    "an entry too many": (
        several_inputs,
        {"x": COLUMN, "t": COLUMN, "k": COLUMN},
        r"has the inputs \['t', 'x'\].*'k'",
    ),
    "a wide entry": (
        several_inputs,
        {"x": np.zeros((3, 2), "float32"), "t": COLUMN},
        r"'x' must have shape \(batch, 1\)",
    ),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_inputs_that_do_not_fit(name):
    network, inputs, message = STRUCTURES[name]
    inputs = keras.tree.map_structure(ops.convert_to_tensor, inputs)
    with pytest.raises(ValueError, match=message):
        kp.Derivatives(network(), ["x"], ["x", "t"], name="d")(inputs)


def test_a_network_of_another_width():
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=r"takes 3 column\(s\). Received: 2"):
        kp.Derivatives(network, ["x"], ["x", "t"])(keras.Input((2,)))


def two_outputs():
    z = keras.Input((2,))
    return keras.Model(z, [keras.layers.Dense(1)(z), keras.layers.Dense(1)(z)])


def sequence():
    return keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(6), keras.layers.Reshape((3, 2))]
    )


@pytest.mark.parametrize("network", [two_outputs, sequence])
def test_outputs_that_do_not_fit(network):
    with pytest.raises(ValueError, match=r"one tensor of shape \(batch, components\)"):
        kp.Derivatives(network(), ["x"], ["x", "t"])(keras.Input((2,)))


@keras.saving.register_keras_serializable(package="tests")
class Attention(keras.layers.Layer):
    """Attention over the rows of the batch."""

    def call(self, z):
        return ops.softmax(z @ ops.transpose(z), axis=-1) @ z


def test_attention_over_the_batch():
    network = keras.Sequential([keras.Input((2,)), Attention(), keras.layers.Dense(1)], name="n")
    with pytest.raises(ValueError, match=r"in inference mode the output of 'n' for a row changes"):
        kp.Derivatives(network, ["x"], ["x", "t"])(keras.Input((2,)))


def test_batch_normalisation_may_not_train():
    norm = keras.layers.BatchNormalization(name="norm")
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4), norm])
    layer = kp.Derivatives(network, ["x"], ["x", "t"])
    z = ops.convert_to_tensor(networks.points(dtype="float32"))
    mean, slope = network.get_weights()[4].copy(), layer(z)["u_x"]
    kernel = network.get_weights()[0]
    np.testing.assert_allclose(slope, np.tile(kernel[0] / np.sqrt(1.001), (7, 1)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"in training mode.*'norm' \(BatchNormalization\)"):
        layer(z, training=True)
    np.testing.assert_array_equal(network.get_weights()[4], mean)


@pytest.mark.tensorflow
def test_batch_normalisation_that_is_frozen_may_train():
    norm = keras.layers.BatchNormalization(trainable=False)
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4), norm])
    z = ops.convert_to_tensor(networks.points(dtype="float32"))
    assert kp.Derivatives(network, ["x"], ["x", "t"])(z, training=True)["u_x"].shape == (7, 4)
