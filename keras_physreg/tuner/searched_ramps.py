"""The ramps of a trial, and whether its training ran them."""

from __future__ import annotations

from typing import Any

import keras
from keras.ops import convert_to_numpy
from keras_tuner.errors import FatalValueError

from keras_physreg.callbacks import WeightScheduler
from keras_physreg.schedules import GeometricRamp


class SearchedRamps(WeightScheduler):
    """WeightScheduler that notes whether a training began with it, in whichever copy.

    Args:
        ramps: Dict from term name to ramp.
    """

    def __init__(self, ramps: dict[str, GeometricRamp]) -> None:
        super().__init__(ramps)
        self._note = _Note()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the terms on the model that trains, and notes it."""
        super().on_train_begin(logs)
        self._note.begun = True

    def check_ran(self, model: keras.Model, steps_before: int, result: Any) -> None:
        """Raises if the model was trained without this callback.

        Args:
            model: The model of the trial.
            steps_before: Steps of its optimizer before the training.
            result: What the training returned.

        Raises:
            FatalValueError: If there was a training, and this callback had no part in it.
        """
        trained = isinstance(result, keras.callbacks.History) or steps_done(model) > steps_before
        if trained and not self._note.begun:
            raise FatalValueError(
                f"The `fit` of the wrapped hypermodel trained without the callbacks that it was "
                f"given: the ramps of {sorted(self.schedules)} never ran, and the trial would be "
                "recorded with hyperparameters that it did not use. Hand them on: "
                "`model.fit(..., callbacks=callbacks)`, or, in a loop of your own, call "
                "`keras.callbacks.CallbackList(callbacks, model=model)`."
            )


def steps_done(model: keras.Model) -> int:
    """Returns how many steps the optimizer of a model has done."""
    return 0 if model.optimizer is None else int(convert_to_numpy(model.optimizer.iterations))


class _Note:
    """One for all copies of a callback."""

    begun = False

    def __deepcopy__(self, memo: dict[int, Any]) -> _Note:
        return self
