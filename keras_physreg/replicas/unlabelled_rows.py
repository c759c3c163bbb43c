"""UnlabelledRows: unlabelled rows of replicas, in memory, with an order per seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.errors import received
from keras_physreg.models.physics_model import PhysicsModel
from keras_physreg.replicas.batches import Batches
from keras_physreg.unlabelled import arrays
from keras_physreg.unlabelled.checks import (
    check_batch_size,
    check_label_free_terms,
    check_no_options,
    check_share,
)
from keras_physreg.unlabelled.input_rows import beside, check_alike
from keras_physreg.unlabelled.row_order import RowStream, unlabelled_order


@dataclass(frozen=True)
class UnlabelledRows:
    """Inputs without labels, and the number of them in each step.

    Args:
        tensors: Tensor, or structure of tensors, of shape `(rows, ...)`.
        batch_size: Rows per step.
    """

    tensors: Any
    batch_size: int

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

    def beside(self, batch: Any, rows: Any) -> Any:
        """Returns a batch `(x, y, sample_weight)` with these unlabelled rows beside `x`."""
        return (beside(batch[0], arrays.gather(self.tensors, rows)), *batch[1:])

    def _stream(self, seed: int, shuffle: bool) -> RowStream:
        size = arrays.size(self.tensors)
        return RowStream(size, (lambda n: unlabelled_order(seed, n, size)) if shuffle else None)


def unlabelled_rows(
    model: Any, unlabelled: Any, batch_size: int | None, share: float | None, train: Batches
) -> UnlabelledRows | None:
    """Returns the checked unlabelled rows, by default as many per step as labelled ones."""
    if unlabelled is None:
        check_no_options(unlabelled_batch_size=batch_size, unlabelled_share=share)
        return None
    if not isinstance(model, PhysicsModel):
        raise TypeError(
            "`unlabelled` needs a `keras_physreg.PhysicsModel`. Received: a model of type "
            f"{type(model)}"
        )
    check_label_free_terms(model)
    check_batch_size(batch_size)
    check_share(share)
    if isinstance(unlabelled, tf.data.Dataset) or callable(unlabelled):
        raise TypeError(
            "`unlabelled` must be arrays, as replicas are trained on data in memory. From a "
            "sampler, draw points beforehand: `sampler(0, 1000)`. "
            f"{received('unlabelled', unlabelled)}"
        )
    tensors = arrays.as_tensors(unlabelled, "unlabelled")
    check_alike(train.data[0], tensors)
    return UnlabelledRows(tensors, min(batch_size or train.batch_size, arrays.size(tensors)))
