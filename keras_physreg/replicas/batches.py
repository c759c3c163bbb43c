"""Data in memory, cut into batches by row numbers."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf


@dataclass(frozen=True)
class Cut:
    """How a number of rows is cut into batches; the last one has what is left over.

    Args:
        size: The number of rows.
        batch_size: Rows in a batch.
    """

    size: int
    batch_size: int

    @property
    def full(self) -> int:
        """The number of batches that are full."""
        return self.size // self.batch_size

    @property
    def rest(self) -> int:
        """The number of rows left over for the last batch."""
        return self.size % self.batch_size

    @property
    def steps(self) -> int:
        """The number of batches."""
        return self.full + (self.rest > 0)

    def rows(self, order: Any, step: Any) -> Any:
        """Returns the row numbers of a full batch, from an order of shape `([replicas,] rows)`."""
        return rows_of_step(order, step, self.batch_size)

    def rest_rows(self, order: Any) -> Any:
        """Returns the row numbers of the last batch."""
        return order[..., self.full * self.batch_size : self.size]


@dataclass(frozen=True)
class Batches:
    """Rows of `x`, `y` and `sample_weight`, and how many of them make a batch.

    Args:
        data: `(x, y, sample_weight)`, each a tensor, a structure of tensors or `None`.
        batch_size: Rows in a batch; the last one has what is left over.
    """

    data: Any
    batch_size: int

    @property
    def size(self) -> int:
        """The number of rows."""
        return int(keras.tree.flatten(self.data[0])[0].shape[0])

    @property
    def cut(self) -> Cut:
        """How all rows are cut into batches."""
        return Cut(self.size, self.batch_size)

    def take(self, rows: Any) -> Any:
        """Returns the batch `(x, y, sample_weight)` of these rows."""
        return gather(self.data, rows)


def rows_of_step(order: Any, step: Any, count: int) -> Any:
    """Returns the row numbers of a step, from an order of shape `([replicas,] rows)`."""
    begin = [0] * (len(order.shape) - 1) + [step * count]
    return tf.slice(order, begin, [*order.shape[:-1], count])


def gather(data: Any, rows: Any) -> Any:
    """Returns rows of a structure of tensors of shape `(rows, ...)`; `None` stays."""
    return tf.nest.map_structure(lambda t: None if t is None else tf.gather(t, rows), data)


def as_tensors(data: Any) -> Any:
    """Converts arrays as `fit` does: floating ones to Keras' float type, others as they are."""

    def convert(array: Any) -> Any:
        if array is None:
            return None
        given, array = array, np.asarray(array)
        if array.dtype.kind == "O":
            raise ValueError(
                "Replicas are trained on arrays in memory, or structures of them, not on datasets "
                f"and generators. Received: {given!r} (of type {type(given)})"
            )
        dtype = keras.config.floatx() if array.dtype.kind == "f" else None
        return tf.convert_to_tensor(array, dtype=dtype)

    return tf.nest.map_structure(convert, data)


def without_nones(data: Any) -> tuple[Any, ...]:
    """Returns `(x, y, sample_weight)` without what is not there, as Keras wants it."""
    x, y, sample_weight = data
    return (x,) if y is None else (x, y) if sample_weight is None else (x, y, sample_weight)
