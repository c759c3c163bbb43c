"""The callback that runs the ramps of a trial, and the check that it ran."""

from __future__ import annotations

from typing import Any

import keras
from keras.ops import convert_to_numpy
from keras_tuner.errors import FatalValueError

from keras_physreg.callbacks import WeightScheduler
from keras_physreg.schedules import GeometricRamp


class SearchedRamps(WeightScheduler):
    """WeightScheduler that records whether a training began with it or with a copy of it.

    Args:
        ramps: Dict from term name to ramp.
    """

    def __init__(self, ramps: dict[str, GeometricRamp]) -> None:
        super().__init__(ramps)
        self._begun = _SharedFlag()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the terms on the model that trains, and records that training began."""
        super().on_train_begin(logs)
        self._begun.is_set = True

    def check_ran(self, model: keras.Model, steps_before: int, result: Any) -> None:
        """Raises if the model was trained without this callback.

        Args:
            model: The model of the trial.
            steps_before: Steps of its optimizer before the training.
            result: The return value of the training.

        Raises:
            FatalValueError: If there was a training without this callback.
        """
        trained = isinstance(result, keras.callbacks.History) or steps_done(model) > steps_before
        if trained and not self._begun.is_set:
            raise FatalValueError(
                f"The `fit` of the wrapped hypermodel trained without its `callbacks` argument: "
                f"the ramps of {sorted(self.schedules)} never ran, and the trial would be recorded "
                "with hyperparameters that it did not use. Pass the callbacks on: "
                "`model.fit(..., callbacks=callbacks)`, or, in a loop of your own, call "
                "`keras.callbacks.CallbackList(callbacks, model=model)`."
            )


def steps_done(model: keras.Model) -> int:
    """Returns the number of steps that the optimizer of a model has made."""
    return 0 if model.optimizer is None else int(convert_to_numpy(model.optimizer.iterations))


class _SharedFlag:
    """A flag that all copies of a callback share."""

    is_set = False

    def __deepcopy__(self, memo: dict[int, Any]) -> _SharedFlag:
        return self
