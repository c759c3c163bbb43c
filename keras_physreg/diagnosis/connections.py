"""Which trainable variables a term's gradient should reach, and which it does."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from keras_physreg.diagnosis.gradients import Gradients
from keras_physreg.layers import PhysicsRegularization


@dataclass(frozen=True)
class Connection:
    """Where the gradient of one term arrives.

    Args:
        arrives: Whether it reaches the network, not the physics' own constants alone.
        at_prediction: Whether it reaches the prediction in the physics.
        missing: Paths of variables that feed the prediction in the physics and are not reached.
        reason: Why there is no gradient, in TensorFlow's words, where it gave any.
    """

    arrives: bool
    at_prediction: bool
    missing: tuple[str, ...]
    reason: str | None


def connection(
    model: keras.Model, layer: PhysicsRegularization, name: str, gradients: Gradients
) -> Connection:
    """Says where the gradient of one term arrives."""
    constants = _paths(layer.physics) if isinstance(layer.physics, keras.Layer) else set()
    reached = {
        path
        for path, connected in zip(gradients.variables, gradients.connected[name], strict=True)
        if connected
    }
    network = set(gradients.variables) - constants or constants
    feeding = (_feeding(model, layer) - constants) & network
    return Connection(
        arrives=bool(reached & network),
        at_prediction=gradients.at_prediction[name],
        missing=tuple(path for path in gradients.variables if path in feeding - reached),
        reason=gradients.reasons.get(name),
    )


def _feeding(model: keras.Model, layer: PhysicsRegularization) -> set[str]:
    """Returns the variables that a functional graph has on its way to the physics layer."""
    try:
        # Named, so that no counter of automatic names moves on.
        return _paths(keras.Model(model.input, layer.output, name="feeding"))
    except (AttributeError, ValueError):  # Subclassed, or the layer is called more than once.
        return set()


def _paths(layer: keras.Layer) -> set[str]:
    return {variable.path for variable in layer.trainable_variables}
