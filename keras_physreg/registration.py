"""Serialises user callables, and says how to register those that would not load again."""

import types
from typing import Any

import keras


def display_name(function: Any) -> str:
    """Returns the name under which messages speak of a callable."""
    return getattr(function, "__name__", None) or getattr(function, "name", type(function).__name__)


def serialize(value: Any, what: str) -> Any:
    """Serialises a Keras object or a registered callable; raises where it would not load again.

    Args:
        value: String, Keras object, function or other callable.
        what: What the value is, in words, for the message.

    Returns:
        The string itself, or a configuration for `keras.saving.deserialize_keras_object`.

    Raises:
        ValueError: If a function or class is not registered with Keras.
    """
    if isinstance(value, str):
        return value
    if not _loads_again(value):
        name = display_name(value)
        raise ValueError(
            f"`{name}`, {what}, can be saved only once Keras can find it again by name: define it "
            "at the top level of a module (not as a lambda) and register it:\n\n"
            '    @keras.saving.register_keras_serializable(package="my_project")\n'
            f"    def {name if name.isidentifier() else 'my_physics'}(...):\n"
        )
    return keras.saving.serialize_keras_object(value)


def _loads_again(value: Any) -> bool:
    if isinstance(value, types.FunctionType):
        name = keras.saving.get_registered_name(value)
        return keras.saving.get_registered_object(name) is value or _is_builtin_loss(value)
    if isinstance(value, keras.Layer):
        return True  # Keras says itself what it cannot load.
    return hasattr(value, "get_config")


def _is_builtin_loss(function: types.FunctionType) -> bool:
    return getattr(keras.losses, function.__name__, None) is function
