"""WeightScheduler: moves the weights of physics terms while the model trains."""

import weakref
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.errors import received
from keras_physreg.inspection import get_term_weights, weight_variable
from keras_physreg.schedules.schedule import Schedule
from keras_physreg.schedules.values import as_schedule, weight_at

UNITS = ("epoch", "step")

# By the id of a weight's variable, the scheduler that was the last to steer it.
_schedulers: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


class WeightScheduler(keras.callbacks.Callback):
    """Callback that sets the weights of physics terms by schedules, and logs `<term>_weight`.

    A weight is set before it is used: the schedule's value at epoch (or step) `t` holds during
    epoch (or step) `t`, counted from 0. Afterwards the last weight stays in the model.

    With `unit="epoch"` the time is the epoch of `fit`, as for
    `keras.callbacks.LearningRateScheduler`: `initial_epoch` is respected, a second `fit` starts
    again at its own first epoch, and validation runs at the weights of its epoch. With
    `unit="step"` the time is `optimizer.iterations`: it goes on over a second `fit` of the same
    compiled model, and with `steps_per_execution=n` a weight holds for the n steps of an
    execution. Either way a run that `keras.callbacks.BackupAndRestore` resumes at the end of an
    epoch, its default, goes on as if it had never stopped. Give it `double_checkpoint=True`: a
    process that dies while the weights are written then resumes one epoch earlier. Keras leaves
    two short gaps: a process that dies between weights and `training_metadata.json` repeats the
    epoch it has just finished, without a word; and one that dies within that file leaves it empty,
    a `JSONDecodeError` at the next start (delete the backup, or write `{"epoch": n, "batch": 0}`
    with the number of finished epochs into the file).

    The weights join the logs at the end of an epoch; with `unit="step"` it is the weight of the
    epoch's last step. Callbacks that come before this one in the list of a plain `keras.Model`,
    such as a `CSVLogger`, do not see them: put this one first. `PhysicsModel.fit` does so itself.

    While a weight moves, `loss` and `val_loss` of different epochs are losses of different
    problems. Let `EarlyStopping`, `ModelCheckpoint` and `ReduceLROnPlateau` monitor
    `val_data_loss` with `mode="min"`; `EarlyStopping(start_from_epoch=...)` waits for the end of
    a ramp.

    Args:
        schedules: Dict from term names to schedules: schedules of this package, Keras
            `LearningRateSchedule`s, any callable `time -> weight`, or lists or 1-D arrays with one
            weight per epoch (or step), the last of which stays.
        unit: `"epoch"` or `"step"`: what the schedules count. Moving weights at every step costs
            some tenths of a millisecond each time; `steps_per_execution` makes that rarer.
        verbose: 0: quiet, 1: print the weights at the beginning of each epoch.

    Raises:
        TypeError: If `schedules` is no dict, or holds something that cannot serve as a schedule.
        ValueError: If `schedules` is empty or the unit unknown; in `fit`, if the model has no such
            term, another scheduler steers it, or a schedule returns what cannot be a weight.

    Example:
    >>> import keras, keras_physreg as kp
    >>> z = keras.Input((2,))
    >>> x = keras.layers.Dense(2)(z)
    >>> balance = kp.PhysicsRegularization(lambda z, x: x - z, {"balance": 0.0})
    >>> model = kp.PhysicsModel(z, balance(z, x))
    >>> model.compile("sgd", "mse")
    >>> ramp = kp.WeightScheduler({"balance": kp.GeometricRamp(1e-2, 1.0, duration=2)})
    >>> ones = keras.ops.ones((4, 2))
    >>> history = model.fit(ones, ones, epochs=4, callbacks=[ramp], verbose=0)
    >>> history.history["balance_weight"]
    [0.01, 0.1, 1.0, 1.0]
    """

    adds_logs = True

    def __init__(self, schedules: Mapping[str, Any], unit: str = "epoch", verbose: int = 0) -> None:
        super().__init__()
        if not isinstance(schedules, Mapping):
            raise TypeError(
                "`schedules` must be a dict from term names to schedules. "
                + received("schedules", schedules)
            )
        if not schedules:
            raise ValueError("`schedules` names no term. Received: schedules={}")
        if unit not in UNITS:
            raise ValueError(f"`unit` must be one of {UNITS}. Received: unit={unit!r}")
        self.schedules = {name: as_schedule(name, given) for name, given in schedules.items()}
        self.unit = unit
        self.verbose = verbose
        # Only while training: a copy of the callback must not steer a copy of a variable.
        self._variables: dict[str, keras.Variable] = {}
        self._training: Any = None
        self._held: dict[str, float] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the terms on the model that trains, and refuses those that another steers."""
        variables = {name: weight_variable(self.model, name) for name in self.schedules}
        for name, variable in variables.items():
            other = _schedulers.get(id(variable))
            if other is not None and other._steers(variable, self.params):
                raise ValueError(
                    f"Two WeightSchedulers steer physics term '{name}' of model "
                    f"'{self.model.name}' in one training: {list(other.schedules)} and "
                    f"{list(self.schedules)}. Leave '{name}' out of one of them; a "
                    "`keras_physreg.Chain` joins two schedules into one."
                )
        self._variables, self._training = variables, self.params
        _schedulers.update({id(variable): self for variable in variables.values()})

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the weights for the epoch, or for its first step."""
        self._held = {}  # Something else may have set them since.
        weights = self._set_weights(epoch if self.unit == "epoch" else self._step())
        if self.verbose:
            told = ", ".join(f"{name} {weight:.4g}" for name, weight in weights.items())
            print(f"\nEpoch {epoch + 1}: WeightScheduler setting term weights to {told}.")

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the weights for the step, where steps are counted."""
        if self.unit == "step":
            self._set_weights(self._step())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the weights to the logs."""
        if logs is None:
            return
        weights = get_term_weights(self.model)
        added = {f"{name}_weight": weights[name] for name in self.schedules}
        if taken := sorted(added.keys() & logs.keys()):
            raise ValueError(
                f"The logs hold {taken} already: a metric or another callback logs under the name "
                "of a term's weight. Rename it, or the term."
            )
        logs.update(added)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Lets go of the model's variables."""
        self._variables, self._training = {}, None

    def moves_between(self, first_epoch: int, end_epoch: int) -> bool:
        """Returns whether a weight may change between the epochs of a range.

        Args:
            first_epoch: First epoch of the range.
            end_epoch: Epoch after the last one.

        Returns:
            False where all weights are known to stand still: by epochs, and by schedules of this
            package or lists.
        """
        epochs = np.arange(first_epoch, end_epoch)
        known = all(isinstance(schedule, Schedule) for schedule in self.schedules.values())
        if self.unit == "step" or not known:
            return len(epochs) > 0
        return any(len(np.unique(schedule(epochs))) > 1 for schedule in self.schedules.values())

    def _steers(self, variable: keras.Variable, params: Any) -> bool:
        """Returns whether it steers a variable in the training that these `params` are of."""
        # All callbacks of one `fit` share the dict; a `fit` that broke off had another one.
        in_it = params is not None and self._training is params
        return in_it and any(own is variable for own in self._variables.values())

    def _step(self) -> int:
        return int(self.model.optimizer.iterations.numpy())

    def _set_weights(self, time: int) -> dict[str, float]:
        weights = {name: weight_at(name, given, time) for name, given in self.schedules.items()}
        for name, weight in weights.items():
            if weight != self._held.get(name):
                self._variables[name].assign(weight)
        self._held = weights
        return weights
