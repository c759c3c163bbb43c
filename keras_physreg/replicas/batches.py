"""Batches of data in memory, given by row numbers."""

from dataclasses import dataclass
from typing import Any

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.unlabelled import arrays


@dataclass(frozen=True)
class Cut:
    """The division of a number of rows into batches; the last batch has the remaining rows.

    Args:
        size: The number of rows.
        batch_size: Rows per batch.
    """

    size: int
    batch_size: int

    @property
    def full(self) -> int:
        """The number of full batches."""
        return self.size // self.batch_size

    @property
    def rest(self) -> int:
        """The number of remaining rows in the last batch; 0 if all batches are full."""
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
    """Rows of `x`, `y` and `sample_weight`, and their batch size.

    Args:
        data: `(x, y, sample_weight)`, each a tensor, a structure of tensors or `None`.
        batch_size: Rows per batch; the last batch has the remaining rows.
    """

    data: Any
    batch_size: int

    @property
    def size(self) -> int:
        """The number of rows."""
        return arrays.size(self.data)

    @property
    def cut(self) -> Cut:
        """The division of all rows into batches."""
        return Cut(self.size, self.batch_size)

    def take(self, rows: Any) -> Any:
        """Returns the batch `(x, y, sample_weight)` of these rows."""
        return arrays.gather(self.data, rows)


def rows_of_step(order: Any, step: Any, count: int) -> Any:
    """Returns the row numbers of a step, from an order of shape `([replicas,] rows)`."""
    begin = [0] * (len(order.shape) - 1) + [step * count]
    return tf.slice(order, begin, [*order.shape[:-1], count])
