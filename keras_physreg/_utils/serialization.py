"""Serialises user callables, or says how to register those that could not be loaded again."""

import contextlib
import math
import types
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.user_errors import unwrapped

_BY_VALUE: ContextVar[tuple[Any, ...]] = ContextVar("_BY_VALUE", default=())


@contextlib.contextmanager
def by_value(objects: Iterable[Any]) -> Iterator[None]:
    """Lets functions and classes be serialised by name in the block, as they travel beside it.

    Args:
        objects: The functions and classes, for which the reader has `custom_objects`.
    """
    token = _BY_VALUE.set(tuple(objects))
    try:
        yield
    finally:
        _BY_VALUE.reset(token)


def display_name(function: Any) -> str:
    """Returns the name of a callable for messages."""
    function = unwrapped(function)
    for attribute in ("__name__", "name"):
        if isinstance(getattr(function, attribute, None), str):
            return getattr(function, attribute)
    return type(function).__name__


def serialize(value: Any, what: str) -> Any:
    """Serialises a Keras object or a registered callable; raises if it could not be loaded again.

    Args:
        value: String, Keras object, function or other callable.
        what: What the value is, for the message: `"the loss of physics term 'x'"`.

    Returns:
        The string itself, or a configuration for `keras.saving.deserialize_keras_object`.

    Raises:
        ValueError: If a function or class is not registered with Keras.
    """
    if isinstance(value, str):
        return value
    if not _loads_again(value):
        is_layer = isinstance(value, keras.Layer)
        name = type(value).__name__ if is_layer else display_name(value)
        definition = f"def {name if name.isidentifier() else 'my_physics'}(...):"
        raise ValueError(
            f"`{name}`, {what}, cannot be saved: Keras must be able to find it by name. Define it "
            "at the top level of a module (not as a lambda) and register it:\n\n"
            '    @keras.saving.register_keras_serializable(package="my_project")\n'
            f"    {f'class {name}(keras.layers.Layer):' if is_layer else definition}\n"
        )
    config = keras.saving.serialize_keras_object(value)
    if isinstance(value, keras.losses.Loss):
        _check_same_loss(value, keras.losses.deserialize(config), what)
    return config


def _check_same_loss(loss: keras.losses.Loss, reloaded: keras.losses.Loss, what: str) -> None:
    """Raises if Keras does not save all arguments of a loss: `Huber(delta=2)` loads with 1.

    This affects Keras up to 3.15 (https://github.com/keras-team/keras/pull/23286).
    """
    probe = np.geomspace(1e-3, 1e3, 12).reshape(4, 3).astype("float32")
    try:
        before, after = (np.asarray(each.call(probe[::-1], probe)) for each in (loss, reloaded))
    except Exception:  # A loss that takes other shapes, such as class indices, is not compared.
        return
    if not np.array_equal(before, after, equal_nan=True):
        raise ValueError(
            f"`{loss.name}`, {what}, would give other values once it is loaded: this version of "
            "Keras does not save all arguments of this loss. Use a registered function that calls "
            "the loss with its arguments."
        )


def _loads_again(value: Any) -> bool:
    if any(known is value or known is type(value) for known in _BY_VALUE.get()):
        return True
    if isinstance(value, types.FunctionType):
        return _is_registered(value) or getattr(keras.losses, value.__name__, None) is value
    if isinstance(value, keras.Layer):
        return _is_registered(type(value)) or type(value).__module__.split(".")[0] == "keras"
    return hasattr(value, "get_config")


def _is_registered(value: Any) -> bool:
    return keras.saving.get_registered_object(keras.saving.get_registered_name(value)) is value


def as_json(value: Any) -> Any:
    """Returns a value that JSON can hold: NumPy becomes Python, NaN and infinity become `None`.

    Example:
    >>> as_json({"loss": (1.5, float("nan"))})
    {'loss': [1.5, None]}
    """
    if isinstance(value, dict):
        return {str(key): as_json(part) for key, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
