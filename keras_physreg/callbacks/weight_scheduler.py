"""WeightScheduler: sets the weights of physics terms by schedules while the model trains."""

import weakref
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.errors import received
from keras_physreg._utils.variables import assign_number, whole_number_of
from keras_physreg.inspection import get_term_weights, weight_variable
from keras_physreg.models.weight_moves import STEPS_PER_TABLE
from keras_physreg.schedules.schedule import Schedule
from keras_physreg.schedules.tabulated import Tabulated, is_known
from keras_physreg.schedules.values import as_schedule

UNITS = ("epoch", "step")

# The last scheduler that set a weight, by the id of the weight's variable.
_schedulers: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


class WeightScheduler(keras.callbacks.Callback):
    """Callback that sets the weights of physics terms by schedules, and logs `<term>_weight`.

    A weight is set before it is used: the schedule's value at epoch (or step) `t` holds during
    epoch (or step) `t`, counted from 0. After the training the model keeps the last weight.

    With `unit="epoch"` the time is the epoch of `fit`, as for
    `keras.callbacks.LearningRateScheduler`: a second `fit` starts again at its `initial_epoch`, and
    validation uses the weights of its epoch. With `unit="step"` the time is
    `optimizer.iterations`: it continues in a second `fit` of the same compiled model, and with
    `steps_per_execution=n` a weight holds for the n steps of an execution.

    With `keras.callbacks.BackupAndRestore`, which by default saves at the end of each epoch, a
    resumed run continues as if it had never stopped. Use its `double_checkpoint=True`: a process
    that dies while Keras writes the weights then resumes one epoch earlier. Two short gaps remain
    in Keras. A process that dies between the weights and `training_metadata.json` repeats its last
    epoch without a warning. One that dies while Keras writes this file leaves it empty, and the
    next start raises `JSONDecodeError`: delete the backup, or write `{"epoch": n, "batch": 0}`
    into the file, where `n` is the number of finished epochs.

    The logs get the weights at the end of an epoch; with `unit="step"`, those of its last step. In
    a plain `keras.Model`, put this callback before others that read the logs, such as `CSVLogger`;
    `PhysicsModel.fit` does this itself.

    While a weight changes, `loss` and `val_loss` of different epochs cannot be compared. Let
    `EarlyStopping`, `ModelCheckpoint` and `ReduceLROnPlateau` monitor `val_data_loss` with
    `mode="min"`. `EarlyStopping(start_from_epoch=...)` waits for the end of a ramp.

    Args:
        schedules: Dict from term names to schedules: schedules of this package, Keras
            `LearningRateSchedule`s, any callable `time -> weight`, or lists or 1-D arrays with one
            weight per epoch (or step), the last of which stays.
        unit: Unit of the time: `"epoch"` or `"step"`. Schedules of this package then move inside
            the training step of a `PhysicsModel`, at some percent of a small step; before a step,
            callbacks still see the weights of the step before. Elsewhere a call from Python sets
            the weights (other callables, a plain `keras.Model`, a `train_step` of your own, several
            devices, JAX, eagerly): a tenth of a millisecond per step, which `steps_per_execution`
            reduces.
        verbose: 0: quiet, 1: print the weights at the beginning of each epoch.

    Raises:
        TypeError: If `schedules` is not a dict, or holds something that is not a schedule.
        ValueError: If `schedules` is empty or `unit` is unknown. In `fit`: if the model has no such
            term, another scheduler sets it, or a schedule returns something that is not a weight.

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
            raise ValueError(
                f"`schedules` must name at least one term. {received('schedules', schedules)}"
            )
        if unit not in UNITS:
            raise ValueError(f"`unit` must be one of {UNITS}. {received('unit', unit)}")
        self.schedules = {name: as_schedule(name, given) for name, given in schedules.items()}
        self.unit = unit
        self.verbose = verbose
        # Set only while training: a copy of the callback must not hold copies of the variables.
        self._variables: dict[str, keras.Variable] = {}
        self._weights: dict[str, Tabulated] = {}
        # The table from which the training steps read the weights, and its first batch.
        self._table: Any = None
        self._batch = 0
        self._training: Any = None
        self._last_set: dict[str, float] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the terms of the model; raises if another scheduler sets one of them."""
        variables = {name: weight_variable(self.model, name) for name in self.schedules}
        for name, variable in variables.items():
            other = _schedulers.get(id(variable))
            if other is not None and other._sets(variable, self.params):
                raise ValueError(
                    f"Two WeightSchedulers set the weight of physics term '{name}' of model "
                    f"'{self.model.name}' in one training. Leave '{name}' out of one of them; a "
                    "`keras_physreg.Chain` joins two schedules into one. Received: schedules for "
                    f"{list(other.schedules)} and for {list(self.schedules)}"
                )
        self._variables, self._training = variables, self.params
        self._weights = {name: Tabulated(name, given) for name, given in self.schedules.items()}
        _schedulers.update({id(variable): self for variable in variables.values()})
        moves = getattr(self.model, "_moves", None)
        if (
            self.unit == "step"
            and moves is not None
            and all(map(is_known, self.schedules.values()))
        ):
            self._table = moves.begin(self.model, list(variables.values()))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the weights for the epoch, or for its first step."""
        self._last_set = {}  # Something else may have set the weights in the meantime.
        time = epoch if self.unit == "epoch" else self._step()
        weights = self._set_weights(time)
        if self._table is not None:
            self._fill_table(time, batch=0)
        if self.verbose:
            shown = ", ".join(f"{name} {weight:.4g}" for name, weight in weights.items())
            print(f"\nEpoch {epoch + 1}: WeightScheduler setting term weights to {shown}.")

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the weights for the step if `unit="step"`."""
        if self._table is not None:
            if batch - self._batch >= STEPS_PER_TABLE:
                self._fill_table(self._step(), batch)
        elif self.unit == "step":
            self._set_weights(self._step())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the weights to the logs."""
        if logs is None:
            return
        weights = get_term_weights(self.model)
        added = {f"{name}_weight": weights[name] for name in self.schedules}
        if taken := sorted(added.keys() & logs.keys()):
            raise ValueError(
                f"The logs already hold {taken}: a metric or another callback uses the name of a "
                "term's weight. Rename the metric or the term."
            )
        logs.update(added)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Releases the model's variables."""
        self._variables, self._weights, self._table, self._training = {}, {}, None, None

    def moves_between(self, first_epoch: int, end_epoch: int) -> bool:
        """Returns whether a weight may change within a range of epochs.

        Args:
            first_epoch: First epoch of the range.
            end_epoch: Epoch after the last one.

        Returns:
            False if all weights are known to be constant, which is known only with `unit="epoch"`
            and for lists and schedules of this package.
        """
        epochs = np.arange(first_epoch, end_epoch)
        known = all(isinstance(schedule, Schedule) for schedule in self.schedules.values())
        if self.unit == "step" or not known:
            return len(epochs) > 0
        return any(len(np.unique(schedule(epochs))) > 1 for schedule in self.schedules.values())

    def _sets(self, variable: keras.Variable, params: Any) -> bool:
        """Returns whether this scheduler sets a variable in the training with these `params`."""
        # The callbacks of one `fit` share the dict; an interrupted `fit` had another dict.
        in_it = params is not None and self._training is params
        return in_it and any(own is variable for own in self._variables.values())

    def _step(self) -> int:
        return whole_number_of(self.model.optimizer.iterations)

    def _fill_table(self, time: int, batch: int) -> None:
        """Gives the training steps their weights from a batch on: each takes a step or none."""
        times = range(time, time + STEPS_PER_TABLE)
        columns = [[given.at(t) for t in times] for given in self._weights.values()]
        self._table.fill(time, np.transpose(columns))
        self._batch = batch

    def _set_weights(self, time: int) -> dict[str, float]:
        weights = {name: given.at(time) for name, given in self._weights.items()}
        for name, weight in weights.items():
            if weight != self._last_set.get(name):
                assign_number(self._variables[name], weight)
        self._last_set = weights
        return weights
