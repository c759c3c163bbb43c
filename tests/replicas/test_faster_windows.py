"""Convolution and pooling of replicas equal Keras' own: values and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_physreg.replicas.faster import windows
from keras_physreg.replicas.faster.layers import faster_layers

LAYERS = keras.layers
LINE, IMAGE = (3, 11, 4), (3, 7, 6, 4)

CONVOLUTIONS = {
    "1D": (LAYERS.Conv1D, LINE, {"kernel_size": 3}),
    "1D same": (LAYERS.Conv1D, LINE, {"kernel_size": 4, "padding": "same"}),
    "1D same, strided": (
        LAYERS.Conv1D,
        LINE,
        {"kernel_size": 4, "padding": "same", "strides": 3, "activation": "tanh"},
    ),
    "1D causal": (LAYERS.Conv1D, LINE, {"kernel_size": 3, "padding": "causal"}),
    "1D causal, dilated": (
        LAYERS.Conv1D,
        LINE,
        {"kernel_size": 3, "padding": "causal", "dilation_rate": 2, "use_bias": False},
    ),
    "1D strided": (LAYERS.Conv1D, LINE, {"kernel_size": 3, "strides": 2, "activation": "tanh"}),
    "2D": (LAYERS.Conv2D, IMAGE, {"kernel_size": (3, 2)}),
    "2D same, strided": (
        LAYERS.Conv2D,
        IMAGE,
        {"kernel_size": (2, 3), "padding": "same", "strides": (2, 1)},
    ),
    "2D dilated": (LAYERS.Conv2D, IMAGE, {"kernel_size": 2, "dilation_rate": (3, 2)}),
}
POOLINGS = {
    "max 1D": (LAYERS.MaxPooling1D, LINE, {"pool_size": 2}),
    "max 1D same": (LAYERS.MaxPooling1D, LINE, {"pool_size": 3, "padding": "same"}),
    "max 1D overlapping": (LAYERS.MaxPooling1D, LINE, {"pool_size": 3, "strides": 1}),
    "max 2D": (LAYERS.MaxPooling2D, IMAGE, {"pool_size": (2, 3)}),
    "max 2D same": (LAYERS.MaxPooling2D, IMAGE, {"pool_size": 2, "padding": "same"}),
    "average 1D": (LAYERS.AveragePooling1D, LINE, {"pool_size": 2}),
    "average 1D strided": (LAYERS.AveragePooling1D, LINE, {"pool_size": 3, "strides": 2}),
    "average 2D": (LAYERS.AveragePooling2D, IMAGE, {"pool_size": 2}),
}
UNUSUAL = {
    "groups": (LAYERS.Conv1D, LINE, {"kernel_size": 3, "groups": 2}),
    "average, same": (LAYERS.AveragePooling1D, LINE, {"pool_size": 2, "padding": "same"}),
}
KINDS = CONVOLUTIONS | POOLINGS


def built(kind, dtype):
    build, shape, arguments = (KINDS | UNUSUAL)[kind]
    more = {} if "pool_size" in arguments else {"filters": 6}
    layer = build(dtype=dtype, **more, **arguments)
    layer.build(shape)
    rng = np.random.default_rng(0)
    for variable in layer.variables:
        variable.assign(rng.normal(size=variable.shape))
    return layer, rng.normal(size=shape)


def run(layer, z):
    """The graph's operations, the outputs, and the gradients of a sum of them, each weighted."""

    def step(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            outputs = layer(z)
            factors = tf.reshape(tf.range(tf.size(outputs)), tf.shape(outputs)) % 7
            loss = tf.reduce_sum(outputs * tf.cast(factors, outputs.dtype))
        return outputs, tape.gradient(loss, [z, *layer.trainable_variables])

    function = tf.function(step, autograph=False).get_concrete_function(z)
    kinds = {operation.type for operation in function.graph.get_operations()}
    outputs, gradients = function(z)
    return kinds, [outputs.numpy(), *(gradient.numpy() for gradient in gradients)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_equal_those_of_keras(kind, dtype):
    layer, z = built(kind, dtype)
    z = tf.constant(z, dtype)
    kinds, theirs = run(layer, z)
    assert {"Conv2D", "MaxPool", "AvgPool"} & kinds
    with faster_layers(layer):
        kinds, ours = run(layer, z)
    assert not [kind for kind in kinds if "Conv" in kind or "Pool" in kind]
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [kind for kind in POOLINGS if "max" in kind])
def test_of_equal_values_the_same_one_has_the_gradient(kind):
    layer, z = built(kind, "float32")
    z = tf.constant(np.round(z), "float32")
    _, theirs = run(layer, z)
    with faster_layers(layer):
        _, ours = run(layer, z)
    np.testing.assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_layers_compute_as_in_keras(kind):
    layer, z = built(kind, "float32")
    z = tf.constant(z, "float32")
    kinds, theirs = run(layer, z)
    with faster_layers(layer):
        same, ours = run(layer, z)
    assert same == kinds
    np.testing.assert_array_equal(ours[0], theirs[0])


def test_a_convolution_of_many_elements_computes_as_in_keras(monkeypatch):
    layer, z = built("1D", "float32")
    z = tf.constant(z, "float32")
    count = 3 * 9 * 3 * 4  # Rows, windows of a row, steps of a window, channels.
    for limit, expected in [(count, False), (count - 1, True)]:
        monkeypatch.setattr(windows, "MAX_ELEMENTS", limit)
        with faster_layers(layer):
            kinds, _ = run(layer, z)
        assert ("Conv2D" in kinds) is expected


def test_channels_first_and_unknown_sizes_compute_as_in_keras():
    layer = LAYERS.MaxPooling1D(2, data_format="channels_first")
    z = tf.constant(np.arange(12.0).reshape(1, 2, 6), "float32")
    with faster_layers(layer):
        np.testing.assert_array_equal(layer(z), [[[1, 3, 5], [7, 9, 11]]])
    convolution = LAYERS.Conv1D(2, 3)
    convolution.build((None, None, 4))
    spec = tf.TensorSpec((None, None, 4))
    with faster_layers(convolution):
        traced = tf.function(convolution).get_concrete_function(spec)
    assert "Conv2D" in {operation.type for operation in traced.graph.get_operations()}
