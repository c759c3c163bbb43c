"""Counts the batches of a training, by which unlabelled rows continue in the next epoch."""

from typing import Any

import keras
from keras.ops import convert_to_numpy


class BatchCounter(keras.callbacks.Callback):
    """Callback that counts the batches that the optimizer had seen when the epoch began.

    It reads the count between two steps, because the optimizer may count a step while it runs. It
    first reads it when the first epoch begins, because a callback may resume an earlier training
    before that.

    Args:
        trained: The model that trains.
    """

    def __init__(self, trained: keras.Model) -> None:
        super().__init__()
        self._trained = trained
        self.count = 0
        self.on_epoch_begin(0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Reads the count from the optimizer."""
        self.count = _batches_seen(self._trained.optimizer)


def _batches_seen(optimizer: keras.optimizers.Optimizer) -> int:
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    accumulated = getattr(inner, "gradient_accumulation_steps", None) or 1
    if accumulated > 1:
        # Fragile: `optimizer.iterations` counts updates, and Keras has no public count of batches
        # between updates. The variable named "iteration" has it. If Keras renames this variable,
        # the rows continue from the last update, by the last line of this function.
        for variable in inner.variables:
            if variable.name == "iteration":
                return int(convert_to_numpy(variable))
    return int(convert_to_numpy(optimizer.iterations)) * accumulated
