"""How far a training is: where the unlabelled rows go on."""

from typing import Any

import keras
from keras.ops import convert_to_numpy


class StepsDone(keras.callbacks.Callback):
    """The number of batches that the optimizer had seen when the present epoch began.

    It is read between two steps, for while one runs the optimizer may count it already; and not
    before the first epoch, for a callback may resume an earlier training.

    Args:
        trained: The model that trains.
    """

    def __init__(self, trained: keras.Model) -> None:
        super().__init__()
        self._trained = trained
        self.count = 0
        self.on_epoch_begin(0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Reads the number from the optimizer."""
        self.count = _batches_seen(self._trained.optimizer)


def _batches_seen(optimizer: keras.optimizers.Optimizer) -> int:
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    accumulated = getattr(inner, "gradient_accumulation_steps", None) or 1
    if accumulated > 1:
        # Fragile: `optimizer.iterations` counts updates, and Keras has no public count of batches
        # between two of them. The variable behind it has one, and is found by its name; under
        # another name the rows would go on at the last update, as the next line has it.
        for variable in inner.variables:
            if variable.name == "iteration":
                return int(convert_to_numpy(variable))
    return int(convert_to_numpy(optimizer.iterations)) * accumulated
