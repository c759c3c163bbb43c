"""Copies, assigns and restores the values of variables."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np


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
