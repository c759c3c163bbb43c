"""Functional models: their class, and the origins of their tensors."""

from typing import Any

import keras

from keras_physreg._utils.functional import Functional as Functional
from keras_physreg.layers.physics_regularization import PhysicsRegularization
from keras_physreg.layers.symbolic_origins import inputs_in, origin


def is_functional(args: tuple, kwargs: dict[str, Any]) -> bool:
    """Returns whether `keras.Model` builds a functional model from these arguments."""
    return len(args) >= 2 or (len(args) == 1 and "outputs" in kwargs) or "inputs" in kwargs


def origin_names(model: keras.Model) -> list[str]:
    """Returns the names of the layers that computed the outputs, before physics layers."""
    origins = [origin(tensor) for tensor in model.outputs]
    return keras.Model(model.inputs, origins, name="origins").output_names


def has_trainable_inputs(model: keras.Model, layer: PhysicsRegularization) -> bool:
    """Returns whether trainable layers of a model compute the `inputs` of its physics layer."""
    if not any(layer is own for own in model.layers):
        return False  # The layer is in a nested model, which has checked it.
    given = keras.tree.flatten(inputs_in(model, layer))
    return bool(given and keras.Model(model.inputs, given, name="inputs").trainable_variables)


def next_name() -> str:
    """Returns the default name of the next model, numbered as Keras does."""
    number = keras.backend.get_uid("physics_model")
    return "physics_model" if number == 1 else f"physics_model_{number - 1}"
