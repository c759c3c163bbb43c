"""Variables that something may move, and that stand again where they stood afterwards."""

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
    """Puts the variables back at the end of the block, whatever happens in it."""
    kept = list(variables)
    values = values_of(kept)
    try:
        yield
    finally:
        assign(kept, values)
