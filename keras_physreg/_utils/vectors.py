"""Checks of arguments that are a number or a vector of numbers."""

import numbers
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg._utils.errors import received

MIN_MAGNITUDE, MAX_MAGNITUDE = 1e-37, 1e37  # Within float32.


def vector(owner: str, name: str, value: Any) -> np.ndarray:
    """Returns a finite number, or vector of numbers, as a float64 array, or raises.

    Args:
        owner: What the argument belongs to, for the message: "constant 'gain'".
        name: Name of the argument.
        value: Value of the argument.

    Raises:
        TypeError: If `value` is neither a number nor a vector of numbers.
        ValueError: If it has another shape, or is not finite.
    """
    given = received(name, value)
    try:
        array = np.asarray(keras.tree.map_structure(_as_number, value))
        if array.dtype.kind not in "iuf":
            raise TypeError
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`{name}` of {owner} must be a number or a vector of numbers. {given}"
        ) from error
    if array.ndim > 1 or not array.size:
        raise ValueError(
            f"`{name}` of {owner} must be a number or a vector, not of shape {array.shape}. {given}"
        )
    wrong = np.flatnonzero(~np.isfinite(array))
    if wrong.size:
        which = f", but component {wrong[0]} is {array[wrong[0]]}" if array.ndim else ""
        raise ValueError(f"`{name}` of {owner} must be finite{which}. {given}")
    return array.astype("float64")


def beyond_float32(array: np.ndarray) -> np.ndarray:
    """Returns which numbers are not 0 and too small or too large for float32."""
    sizes = np.abs(array)
    return (sizes != 0) & ((sizes < MIN_MAGNITUDE) | (sizes > MAX_MAGNITUDE))


def _as_number(value: Any) -> Any:
    """Returns a number in a form that NumPy takes; raises `TypeError` for a boolean."""
    if isinstance(value, bool | np.bool_):
        raise TypeError
    if isinstance(value, numbers.Real):
        try:
            return float(value)
        except OverflowError:
            return np.inf
    if isinstance(value, keras.Variable) or ops.is_tensor(value):
        return ops.convert_to_numpy(ops.convert_to_tensor(value))
    return value
