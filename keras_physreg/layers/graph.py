"""Where the symbolic tensors of a functional model come from, through physics layers."""

import weakref
from typing import Any

import keras

_calls: weakref.WeakKeyDictionary[Any, list[weakref.ref]] = weakref.WeakKeyDictionary()


def passed_on(tensor: Any, inputs: Any, layer: keras.layers.Layer) -> Any:
    """Returns the spec of what a physics layer passes on, which leads to where it came from."""
    spec = keras.KerasTensor(tensor.shape, dtype=tensor.dtype)
    spec.prediction, spec.physics_inputs, spec.physics_layer = tensor, inputs, layer
    _calls.setdefault(layer, []).append(weakref.ref(spec))
    return spec


def origin(tensor: Any) -> Any:
    """Returns the symbolic tensor that physics layers only passed on."""
    while hasattr(tensor, "prediction"):
        tensor = tensor.prediction
    return tensor


def inputs_in(model: keras.Model, layer: keras.layers.Layer) -> list[Any]:
    """Returns what a functional model gives a physics layer as `inputs`: one entry per call.

    A layer may be called in several models, and what its calls are given need not be alike.
    """
    ends = [spec for output in model.outputs for spec in _passed_by_physics(output)]
    found = [spec.physics_inputs for spec in ends if spec.physics_layer is layer]
    if found:
        return found
    specs = [reference() for reference in _calls.get(layer, [])]
    return [s.physics_inputs for s in specs if s is not None and _is_computed(model, s)]


def _passed_by_physics(tensor: Any) -> list[Any]:
    found = []
    while hasattr(tensor, "prediction"):
        found.append(tensor)
        tensor = tensor.prediction
    return found


def _is_computed(model: keras.Model, tensor: Any) -> bool:
    """Returns whether a symbolic tensor is computed from the inputs of a model."""
    try:
        keras.Model(model.inputs, tensor, name="part")
    except ValueError:
        return False
    return True
