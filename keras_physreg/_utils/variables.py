"""Copies, assigns and restores the values of variables."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf


def values_of(variables: Iterable[keras.Variable]) -> list[np.ndarray]:
    """Returns copies of the values of variables."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: Sequence[keras.Variable], values: Sequence[Any]) -> None:
    """Assigns one value to each variable."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


@contextlib.contextmanager
def unchanged(variables: Iterable[keras.Variable]) -> Iterator[None]:
    """Restores the values of the variables at the end of the block, also after an error."""
    restored = list(variables)
    values = values_of(restored)
    try:
        yield
    finally:
        assign(restored, values)


def assign_number(variable: keras.Variable, number: float) -> None:
    """Assigns a number to a scalar variable, on TensorFlow in a fraction of the time of `assign`.

    Args:
        variable: Scalar variable.
        number: Its new value, which is valid for it.
    """
    if keras.backend.backend() == "tensorflow":
        value = variable.value
        value.assign(tf.constant(number, value.dtype), read_value=False)
    else:
        variable.assign(number)


def whole_number_of(variable: Any) -> int:
    """Returns the value of a scalar variable or tensor of integers."""
    if keras.backend.backend() == "tensorflow" and isinstance(variable, keras.Variable):
        return int(variable.value.value())  # `numpy` takes three times as long.
    return int(keras.ops.convert_to_numpy(variable))
