"""ArrayRows: rows of arrays, of which each step takes some."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_physreg.unlabelled import arrays
from keras_physreg.unlabelled.row_order import RowStream, unlabelled_order


@dataclass(frozen=True)
class ArrayRows:
    """Rows of arrays, of which each step takes some, in an order per seed.

    Args:
        tensors: Tensor, or structure of tensors, of shape `(rows, ...)`.
        batch_size: Rows per step.
        shift: Number to add to a seed: sets of rows have different orders, as in `fit`.
    """

    tensors: Any
    batch_size: int
    shift: int = 0

    @property
    def spec(self) -> Any:
        """Structure of `tf.TensorSpec` of the rows of a step."""
        return arrays.specs(self.tensors, self.batch_size)

    def orders(
        self, seeds: Sequence[int], first: int, epochs: int, steps: int, shuffle: bool
    ) -> np.ndarray:
        """Returns the row numbers of some epochs.

        Args:
            seeds: The seed of each order.
            first: Number of steps before these epochs.
            epochs: Number of epochs.
            steps: Steps per epoch.
            shuffle: Whether to shuffle the rows, in each pass anew.

        Returns:
            Integers of shape `(epochs, seeds, rows)`.
        """
        unique, inverse = np.unique(np.asarray(seeds), return_inverse=True)
        if not shuffle:
            unique, inverse = unique[:1], np.zeros(len(seeds), int)
        each = steps * self.batch_size
        taken = [
            self._stream(seed, shuffle).take(first * self.batch_size, epochs * each)
            for seed in unique
        ]
        rows = np.array(taken, "int32").reshape(len(unique), epochs, each)
        return rows[inverse].swapaxes(0, 1)

    def _stream(self, seed: int, shuffle: bool) -> RowStream:
        size, own = arrays.size(self.tensors), int(seed) + self.shift
        return RowStream(size, (lambda n: unlabelled_order(own, n, size)) if shuffle else None)
