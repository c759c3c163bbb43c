"""Reads the terms, weights and constants of any Keras model by name, and sets weights."""

from typing import Any

import keras

from keras_physreg._utils.backend import synchronise
from keras_physreg._utils.errors import boolean, did_you_mean, received
from keras_physreg._utils.names import check_unique
from keras_physreg.constants.constant import Constant, find_constants
from keras_physreg.layers.physics_regularization import PhysicsRegularization, physics_layers
from keras_physreg.terms.weights import check_weight

__all__ = [
    "find_terms",
    "get_constants",
    "get_term_weights",
    "physics_layers",
    "set_term_weights",
]


def find_terms(model: keras.Model) -> dict[str, PhysicsRegularization]:
    """Returns the layer that holds each physics term of a model, by term name.

    Args:
        model: Any Keras model: functional, sequential or subclassed, at any depth of nesting.

    Returns:
        A dict from term name to `PhysicsRegularization`, in the model's order; empty if the model
        has no physics.

    Raises:
        TypeError: If `model` is not a Keras model or layer.
        ValueError: If two terms or two constants of the model share a name.
    """
    _check_model(model)
    layers = physics_layers(model)
    names = [name for layer in layers for name in layer.term_names]
    check_unique("physics terms", names, f"model '{model.name}'")
    _constants_by_name(model)
    return {name: layer for layer in layers for name in layer.term_names}


def weight_variable(model: keras.Model, name: str) -> keras.Variable:
    """Returns the variable that holds a term's weight.

    Args:
        model: Any Keras model with physics terms.
        name: Name of a term.

    Returns:
        A float32 scalar variable.

    Raises:
        ValueError: If the model has no such term; the message lists its terms.
    """
    terms = find_terms(model)
    check_known(model, name, list(terms))
    return terms[name].weight_variable(name)


def get_term_weights(model: keras.Model) -> dict[str, float]:
    """Returns the weights of all physics terms of a model.

    Args:
        model: Any Keras model, at any depth of nesting.

    Returns:
        A dict from term name to weight; empty if the model has no physics.

    Raises:
        TypeError: If `model` is not a Keras model or layer.
        ValueError: If two terms or two constants of the model share a name.

    Example:
    >>> import keras, keras_physreg as kp
    >>> z = keras.Input((2,))
    >>> x = keras.layers.Dense(2)(z)
    >>> balance = kp.PhysicsRegularization(lambda z, x: x - z, {"balance": 0.5})
    >>> model = kp.PhysicsModel(z, balance(z, x))
    >>> kp.get_term_weights(model)
    {'balance': 0.5}
    """
    return {
        # The shortest decimal of the float32 value: 1e-10, not 1.00000001335e-10.
        name: float(str(layer.weight_variable(name).numpy()))
        for name, layer in find_terms(model).items()
    }


def set_term_weights(model: keras.Model, weights: dict[str, float]) -> None:
    """Sets the weights of physics terms; a compiled model uses them from its next step on.

    Args:
        model: Any Keras model, at any depth of nesting.
        weights: Dict from term name to a finite weight >= 0. Other terms keep their weights.

    Raises:
        TypeError: If a weight is not a number.
        ValueError: If a name is unknown, or a weight is negative or not finite. Then no weight is
            set.

    Example:
    >>> import keras, keras_physreg as kp
    >>> z = keras.Input((2,))
    >>> x = keras.layers.Dense(2)(z)
    >>> balance = kp.PhysicsRegularization(lambda z, x: x - z, {"balance": 0.5})
    >>> model = kp.PhysicsModel(z, balance(z, x))
    >>> kp.set_term_weights(model, {"balance": 0.0})
    >>> kp.get_term_weights(model)
    {'balance': 0.0}
    """
    if not isinstance(weights, dict):
        raise TypeError(
            f"`weights` must be a dict from term names to weights. {received('weights', weights)}"
        )
    terms = find_terms(model)
    checked: dict[str, Any] = {}
    for name, weight in weights.items():
        check_known(model, name, list(terms))
        checked[name] = check_weight(name, weight)
    for name, weight in checked.items():
        terms[name].weight_variable(name).assign(weight)


def get_constants(model: keras.Model, units: bool = False) -> dict[str, Any]:
    """Returns the present values of all `Constant`s of a model.

    Args:
        model: Any Keras model, at any depth of nesting, or a layer.
        units: Whether to return the units, too.

    Returns:
        A dict from the name of a constant to its value in its unit, a float or (for a vector) a
        NumPy array; with `units` to `(value, unit)`. Empty if the model has no constants.

    Raises:
        TypeError: If `model` is not a Keras model or layer, or `units` not a bool.
        ValueError: If two constants of the model share a name.

    Example:
    >>> import keras, keras_physreg as kp
    >>> class Shift(keras.layers.Layer):
    ...     def __init__(self, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.shift = kp.Constant(0.5, unit="mm", name="shift")
    ...     def call(self, z, x):
    ...         return x + self.shift() - z
    >>> kp.get_constants(Shift(), units=True)
    {'shift': (0.5, 'mm')}
    """
    _check_model(model)
    units = boolean("units", units)
    constants = _constants_by_name(model)
    return {name: (c.value, c.unit) if units else c.value for name, c in constants.items()}


def check_known(model: keras.Model, name: Any, known: list[str]) -> None:
    """Raises unless a name is among a model's terms; the message suggests a similar one."""
    if name in known:
        return
    if not known:
        raise ValueError(
            f"Model '{model.name}' has no physics terms. Received: name={name!r}. Call a "
            "`keras_physreg.PhysicsRegularization` layer in it, or use `keras_physreg.regularize`."
        )
    raise ValueError(
        f"Model '{model.name}' has no physics term named {name!r}. Its terms: {known}."
        + did_you_mean(name, known)
    )


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Layer):
        raise TypeError(f"`model` must be a Keras model. {received('model', model)}")
    synchronise(model)


def _constants_by_name(model: keras.Layer) -> dict[str, Constant]:
    """Returns the constants of a model by name; raises if two share a name."""
    constants = find_constants(model)
    check_unique("constants", [constant.name for constant in constants], f"model '{model.name}'")
    return {constant.name: constant for constant in constants}
