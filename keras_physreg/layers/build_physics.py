"""Builds a physics layer in float32 before the model trains."""

import contextlib
from typing import Any

import keras

from keras_physreg._utils.owners import with_sublayers


def compute_in_float32(layer: keras.layers.Layer) -> None:
    """Sets a physics layer and its nested layers to float32 if they would compute in 16 bits."""
    for part in with_sublayers(layer):
        if part.compute_dtype in ("float16", "bfloat16"):
            part.dtype_policy = "float32"


def is_built(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer and its nested layers have created their variables."""
    return all(part.built for part in with_sublayers(layer))


def build_physics(physics: keras.layers.Layer, inputs: Any, prediction: Any) -> None:
    """Calls a physics layer on symbolic tensors, to create its weights before training.

    Args:
        physics: The physics layer.
        inputs: Symbolic tensors for its first argument.
        prediction: Symbolic tensors for its second argument.
    """
    # Physics that cannot run on symbolic tensors is built by its first real call.
    with contextlib.suppress(Exception):
        physics(inputs, prediction)
    compute_in_float32(physics)


def symbolic(shapes: Any) -> Any:
    """Returns symbolic tensors for a structure of shapes."""
    if isinstance(shapes, dict):
        return {key: symbolic(shape) for key, shape in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return keras.KerasTensor(shapes)
    return type(shapes)(symbolic(shape) for shape in shapes)
