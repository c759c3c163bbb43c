"""Which variables of a model are the network's, and which belong to the physics alone."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_physreg.layers.physics_regularization import PhysicsRegularization, physics_layers
from keras_physreg.layers.symbolic_origins import origin


def network_variables(
    model: keras.Model, layer: PhysicsRegularization, variables: Sequence[keras.Variable]
) -> list[keras.Variable]:
    """Returns those of a model's variables that belong to its network.

    What physics layers hold is not the network: term weights, metrics, `Constant`s. The exceptions
    are variables on the way to the prediction, and a model that has no other trainable ones.

    Args:
        model: A built model.
        layer: The physics layer whose prediction tells what the network is.
        variables: The variables of the model to choose from.
    """
    physics = {id(v) for each in physics_layers(model) for v in each.variables}
    physics -= {id(variable) for variable in feeding_variables(model, layer)}
    if all(id(variable) in physics for variable in model.trainable_variables):
        physics -= {id(variable) for variable in layer.trainable_variables}
    return [variable for variable in variables if id(variable) not in physics]


def feeding_variables(model: keras.Model, layer: PhysicsRegularization) -> list[keras.Variable]:
    """Returns the variables that a functional graph has on its way to the prediction.

    None are known of a subclassed model, or where the layer is called more than once.
    """
    try:
        predictions = [origin(tensor) for tensor in keras.tree.flatten(layer.output)]
        # Named, so that no counter of automatic names moves on.
        return keras.Model(model.input, predictions, name="feeding").variables
    except (AttributeError, ValueError):
        return []
