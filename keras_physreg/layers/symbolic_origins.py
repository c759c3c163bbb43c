"""Traces symbolic tensors of a functional model back through physics layers."""

import weakref
from typing import Any

import keras

_calls: weakref.WeakKeyDictionary[Any, list[weakref.ref]] = weakref.WeakKeyDictionary()


def passed_through(tensor: Any, inputs: Any, layer: keras.layers.Layer) -> Any:
    """Returns the symbolic output of a physics layer, with attributes that lead to its arguments.

    Args:
        tensor: The symbolic prediction that the layer passes through.
        inputs: Symbolic inputs of the layer.
        layer: The physics layer.
    """
    spec = keras.KerasTensor(tensor.shape, dtype=tensor.dtype)
    spec.prediction, spec.physics_inputs, spec.physics_layer = tensor, inputs, layer
    _calls.setdefault(layer, []).append(weakref.ref(spec))
    return spec


def origin(tensor: Any) -> Any:
    """Returns the symbolic tensor from before all physics layers that passed it through."""
    while hasattr(tensor, "prediction"):
        tensor = tensor.prediction
    return tensor


def inputs_in(model: keras.Model, layer: keras.layers.Layer) -> list[Any]:
    """Returns the `inputs` that a functional model passes to a physics layer, one per call.

    A layer may be called in several models, with different inputs.
    """
    outputs = [spec for output in model.outputs for spec in _outputs_of_physics(output)]
    found = [spec.physics_inputs for spec in outputs if spec.physics_layer is layer]
    if found:
        return found
    specs = [reference() for reference in _calls.get(layer, [])]
    return [s.physics_inputs for s in specs if s is not None and _is_computed(model, s)]


def variables_behind(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Returns the variables of functional models from which a physics layer gets its arguments."""
    specs = [spec for reference in _calls.get(layer, []) if (spec := reference()) is not None]
    found: list[keras.Variable] = []
    for spec in specs:
        arguments = keras.tree.flatten((spec.prediction, spec.physics_inputs))
        try:
            sources = [t for a in arguments for t in keras.utils.get_source_inputs(a)]
            unique = list({id(tensor): tensor for tensor in sources}.values())
            found += keras.Model(unique, arguments, name="part").variables
        except (AttributeError, ValueError):  # Inside a model that another one calls.
            continue
    return found


def _outputs_of_physics(tensor: Any) -> list[Any]:
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
