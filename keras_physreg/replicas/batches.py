"""Data in memory, cut into batches by row numbers."""

from dataclasses import dataclass
from typing import Any

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.unlabelled import arrays


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
        return arrays.size(self.data)

    @property
    def cut(self) -> Cut:
        """How all rows are cut into batches."""
        return Cut(self.size, self.batch_size)

    def take(self, rows: Any) -> Any:
        """Returns the batch `(x, y, sample_weight)` of these rows."""
        return arrays.gather(self.data, rows)


def rows_of_step(order: Any, step: Any, count: int) -> Any:
    """Returns the row numbers of a step, from an order of shape `([replicas,] rows)`."""
    begin = [0] * (len(order.shape) - 1) + [step * count]
    return tf.slice(order, begin, [*order.shape[:-1], count])
