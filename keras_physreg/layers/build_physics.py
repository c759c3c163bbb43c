"""Builds physics that is a Keras layer, at full precision, before the model trains."""

import contextlib
from typing import Any

import keras

from keras_physreg._utils.owners import with_sublayers


def compute_in_float32(layer: keras.layers.Layer) -> None:
    """Sets a physics layer and the layers in it to float32 where they would compute in 16 bits."""
    for part in with_sublayers(layer):
        if part.compute_dtype in ("float16", "bfloat16"):
            part.dtype_policy = "float32"


def is_built(layer: keras.layers.Layer) -> bool:
    """Returns whether a physics layer, and the layers in it, have created their variables."""
    return all(part.built for part in with_sublayers(layer))


def build_physics(physics: keras.layers.Layer, inputs: Any, prediction: Any) -> None:
    """Calls a physics layer on symbols, so that its weights show before training.

    Args:
        physics: The physics layer.
        inputs: Symbolic tensors in the place of what it takes first.
        prediction: Symbolic tensors in the place of what it takes second.
    """
    # Physics that runs on real tensors only is built by its first call.
    with contextlib.suppress(Exception):
        physics(inputs, prediction)
    compute_in_float32(physics)


def symbolic(shapes: Any) -> Any:
    """Returns symbolic tensors of these shapes, in their structure."""
    if isinstance(shapes, dict):
        return {key: symbolic(shape) for key, shape in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return keras.KerasTensor(shapes)
    return type(shapes)(symbolic(shape) for shape in shapes)
