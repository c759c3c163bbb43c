"""How far a training is: where the unlabelled rows go on."""

from typing import Any

import keras
from keras.ops import convert_to_numpy


class Place(keras.callbacks.Callback):
    """The number of batches that the optimizer had seen when the present epoch began.

    It is read between two steps, for while one runs the optimizer may count it already; and not
    before the first epoch, for a callback may resume an earlier training.

    Args:
        trained: The model that trains.
    """

    def __init__(self, trained: keras.Model) -> None:
        super().__init__()
        self._trained = trained
        self.steps = 0
        self.on_epoch_begin(0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Reads the number from the optimizer."""
        optimizer = self._trained.optimizer
        accumulated = getattr(optimizer, "gradient_accumulation_steps", None) or 1
        self.steps = int(convert_to_numpy(optimizer.iterations)) * accumulated
