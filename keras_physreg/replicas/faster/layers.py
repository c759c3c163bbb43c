"""Gives layers of a model other methods that compute the same, for as long as it is traced."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_physreg._utils.owners import with_sublayers
from keras_physreg.replicas.faster.dropout import dropout, spatial_dropout
from keras_physreg.replicas.faster.windows import average_pooling, convolution, max_pooling

# What replaces `call` of layers of exactly these classes.
RANDOM: dict[type, Callable] = {
    keras.layers.Dropout: dropout,
    keras.layers.SpatialDropout1D: spatial_dropout,
    keras.layers.SpatialDropout2D: spatial_dropout,
    keras.layers.SpatialDropout3D: spatial_dropout,
}
EQUAL: dict[type, Callable] = {
    keras.layers.Conv1D: convolution,
    keras.layers.Conv2D: convolution,
    keras.layers.MaxPooling1D: max_pooling,
    keras.layers.MaxPooling2D: max_pooling,
    keras.layers.AveragePooling1D: average_pooling,
    keras.layers.AveragePooling2D: average_pooling,
}
# On GPUs Keras computes these by operations of cuDNN that cannot be stacked or compiled by XLA.
RECURRENT = (keras.layers.GRU, keras.layers.LSTM)


def draws_own_numbers(model: keras.Model) -> bool:
    """Returns whether layers of a model draw other random numbers in replicas than in `fit`."""
    return any(type(layer) in RANDOM for layer in with_sublayers(model))


@contextlib.contextmanager
def faster_layers(model: keras.Model, only_random: bool = False) -> Iterator[None]:
    """While open, layers of a model compute as in replicas; after it they are as before.

    A subclass, and a layer whose `call` the user has replaced, compute in their own way; GRU and
    LSTM layers, and subclasses, without cuDNN.

    Args:
        model: The model.
        only_random: Whether only layers that draw random numbers do so.
    """
    known = RANDOM if only_random else RANDOM | EQUAL
    replaced: list[keras.layers.Layer] = []
    by_cudnn: list[tuple[keras.layers.Layer, Any]] = []
    try:
        for layer in with_sublayers(model):
            if type(layer) in known and "call" not in vars(layer):
                layer.call = functools.partial(known[type(layer)], layer)
                replaced.append(layer)
            if isinstance(layer, RECURRENT) and not only_random:
                by_cudnn.append((layer, layer.use_cudnn))
                layer.use_cudnn = False
        yield
    finally:
        for layer in replaced:
            del layer.call
        for layer, setting in by_cudnn:
            layer.use_cudnn = setting
