"""Convolution and pooling by shifted slices: for stacked replicas XLA has no fast kernels of them.

A convolution is one matrix product of all windows with the kernel; a maximum pooling is the
elementwise maximum of the shifted slices.
"""

import functools
import math
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf

# Elements of all windows of a batch; with more of them TensorFlow's own kernels are as fast.
MAX_ELEMENTS = 2**21


def convolution(layer: Any, inputs: Any) -> Any:
    """Computes `call` of `keras.layers.Conv1D` and `Conv2D`."""
    if layer.groups > 1 or not _is_usual(layer, inputs):
        return type(layer).call(layer, inputs)
    slices = _slices(inputs, layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding)
    if (slices[0].shape.num_elements() or 0) * len(slices) > MAX_ELEMENTS:
        return type(layer).call(layer, inputs)
    kernel, sizes = keras.ops.convert_to_tensor(layer.kernel), slices[0].shape[1:-1]
    windows = tf.concat(slices, axis=-1)
    flat = tf.reshape(windows, (-1, windows.shape[-1]))
    outputs = tf.matmul(flat, tf.reshape(kernel, (windows.shape[-1], layer.filters)))
    outputs = tf.reshape(outputs, (-1, *sizes, layer.filters))
    if layer.use_bias:
        outputs = outputs + keras.ops.convert_to_tensor(layer.bias)
    return outputs if layer.activation is None else layer.activation(outputs)


def max_pooling(layer: Any, inputs: Any) -> Any:
    """Computes `call` of `keras.layers.MaxPooling1D` and `MaxPooling2D`.

    Of equal values the first one has the gradient, as in TensorFlow's own kernel.
    """
    if not _is_usual(layer, inputs):
        return type(layer).call(layer, inputs)
    ones = (1,) * len(layer.pool_size)
    lowest = inputs.dtype.min
    slices = _slices(inputs, layer.pool_size, layer.strides, ones, layer.padding, lowest)
    return functools.reduce(tf.maximum, slices)


def average_pooling(layer: Any, inputs: Any) -> Any:
    """Computes `call` of `keras.layers.AveragePooling1D` and `AveragePooling2D`."""
    if layer.padding != "valid" or not _is_usual(layer, inputs):
        return type(layer).call(layer, inputs)
    ones = (1,) * len(layer.pool_size)
    slices = _slices(inputs, layer.pool_size, layer.strides, ones, "valid")
    return tf.add_n(slices) / len(slices)


def _is_usual(layer: Any, inputs: Any) -> bool:
    sizes = inputs.shape[1:-1]
    return layer.data_format == "channels_last" and None not in sizes and 0 not in sizes


def _slices(
    inputs: Any, window: Any, strides: Any, dilation: Any, padding: str, fill: float = 0.0
) -> list[Any]:
    """Returns the elements of all windows: one slice of the inputs per position in a window."""
    pads, counts = [(0, 0)], []
    for axis, (size, stride, gap) in enumerate(zip(window, strides, dilation, strict=True)):
        given, span = inputs.shape[1 + axis], (size - 1) * gap + 1
        if padding == "same":
            count = -(-given // stride)
            missing = max((count - 1) * stride + span - given, 0)
            pads.append((missing // 2, missing - missing // 2))
        else:
            pads.append((span - 1 if padding == "causal" else 0, 0))
            count = (given + sum(pads[-1]) - span) // stride + 1
        counts.append(count)
    if any(sum(pair) for pair in pads):
        inputs = tf.pad(inputs, [*pads, (0, 0)], constant_values=tf.constant(fill, inputs.dtype))
    found = []
    for number in range(math.prod(window)):
        index = [slice(None)]
        for axis, stride in enumerate(strides):
            position = number // math.prod(window[axis + 1 :]) % window[axis]
            begin = position * dilation[axis]
            index.append(slice(begin, begin + (counts[axis] - 1) * stride + 1, stride))
        found.append(inputs[tuple(index)])
    return found
