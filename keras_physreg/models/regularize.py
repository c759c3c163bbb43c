"""Adds physics to an existing functional model."""

from collections.abc import Callable, Mapping, Sequence

import keras

from keras_physreg.layers.physics_regularization import PhysicsRegularization
from keras_physreg.models.physics_model import PhysicsModel
from keras_physreg.models.strip import check_functional, inputs_and_outputs
from keras_physreg.terms.term import PhysicsTerm


def regularize(
    model: keras.Model,
    physics: Callable | keras.layers.Layer | Mapping[str, Callable],
    terms: Sequence[PhysicsTerm] | dict[str, float],
    name: str | None = None,
) -> keras.Model:
    """Turns an existing model into a `PhysicsModel` that shares its layers and weights.

    Args:
        model: Functional or built sequential model.
        physics: Function or layer `(inputs, prediction) -> outputs`; `inputs` has the structure of
            `model.input`, `prediction` that of `model.output`. Or a dict of one per term.
        terms: List of `PhysicsTerm`, or a dict `{name: weight}` of residuals.
        name: Name of the new model.

    Returns:
        A `PhysicsModel`, not compiled.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If `model` is subclassed, or sequential and not built.

    Example:
    >>> import keras, keras_physreg as kp
    >>> encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    >>> model = kp.regularize(encoder, lambda z, x: x - z, {"identity": 0.1})
    >>> model.layers[1] is encoder.layers[0]
    True
    """
    check_functional(model, "`regularize`", "call a `PhysicsRegularization` layer in its `call`")
    inputs, outputs = inputs_and_outputs(model)
    return PhysicsModel(inputs, PhysicsRegularization(physics, terms)(inputs, outputs), name=name)
