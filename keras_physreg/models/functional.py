"""Functional models: their class, which Keras does not export, and what they are made of."""

from typing import Any

import keras

from keras_physreg.layers.physics_regularization import PhysicsRegularization, origin

# It is what `keras.Model(inputs, outputs)` creates; creating without initialising costs nothing.
Functional: Any = type(keras.Model.__new__(keras.Model, inputs=None, outputs=None))


def is_functional(args: tuple, kwargs: dict[str, Any]) -> bool:
    """Returns whether a model made of these arguments is functional."""
    return len(args) >= 2 or (len(args) == 1 and "outputs" in kwargs) or "inputs" in kwargs


def origin_names(model: keras.Model) -> list[str]:
    """Returns the names of the layers that made the outputs, which physics layers only pass on."""
    origins = [origin(tensor) for tensor in model.outputs]
    return keras.Model(model.inputs, origins, name="origins").output_names


def has_trainable_inputs(model: keras.Model, layer: PhysicsRegularization) -> bool:
    """Returns whether trainable layers compute the `inputs` of a physics layer."""
    if not any(layer is own for own in model.layers):
        return layer.shields_inputs  # It is in a nested model, and was looked at there.
    inputs = keras.tree.flatten(keras.tree.flatten(layer.output)[0].physics_inputs)
    return bool(keras.Model(model.inputs, inputs, name="inputs").trainable_variables)


def next_name() -> str:
    """Returns the name of the next model that is given none, as Keras counts them."""
    number = keras.backend.get_uid("physics_model")
    return "physics_model" if number == 1 else f"physics_model_{number - 1}"
