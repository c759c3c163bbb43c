"""StepCounter: the optimizer's step at each batch, for schedules that count steps."""

from dataclasses import dataclass

import keras
import numpy as np


@dataclass(frozen=True)
class StepCounter:
    """Computes the steps that `WeightScheduler(unit="step")` reads from the optimizer in `fit`.

    Args:
        begin: Batches that the optimizer had seen before the training.
        accumulated: Batches per step of the optimizer (`gradient_accumulation_steps`).
        execution: Batches that `fit` runs between two calls of a callback
            (`steps_per_execution`).
    """

    begin: int = 0
    accumulated: int = 1
    execution: int = 1

    @classmethod
    def of(cls, model: keras.Model, begin: int) -> "StepCounter":
        """Returns the counter of a compiled model whose optimizer had seen `begin` batches."""
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        accumulated = getattr(optimizer, "gradient_accumulation_steps", None) or 1
        return cls(begin, accumulated, int(model.steps_per_execution or 1))

    def times(self, first_epoch: int, epochs: int, steps: int) -> np.ndarray:
        """Returns the step at each batch of some epochs.

        Args:
            first_epoch: The first of these epochs, counted from 0.
            epochs: Number of epochs.
            steps: Batches per epoch.

        Returns:
            Integers of shape `(epochs * steps,)`.
        """
        batch = np.arange(steps)
        seen = np.arange(first_epoch, first_epoch + epochs)[:, np.newaxis] * steps
        batches = self.begin + seen + batch - batch % self.execution
        return batches.ravel() // self.accumulated
