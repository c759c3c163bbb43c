"""Checks of a search, with the error types that KerasTuner does not swallow."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import keras
import keras_tuner
from keras_tuner.errors import FatalTypeError, FatalValueError

from keras_physreg._utils.errors import received, whole_number
from keras_physreg.callbacks import WeightScheduler
from keras_physreg.inspection import check_known, find_terms
from keras_physreg.tuner.search.data_checks import check_numbers

UNFIT_OBJECTIVES = {
    "loss": "contains the weighted terms: the smallest weights would win",
    "val_loss": "contains the weighted terms: the smallest weights would win",
    "physics_loss": "is the sum of the weighted terms: the smallest weights would win",
    "val_physics_loss": "is the sum of the weighted terms: the smallest weights would win",
    "data_loss": "is the loss on training rows: with the smallest weights they are memorised best",
}
NO_OBJECTIVE = "default_objective"
COUNTS = ("epochs", "batch_size", "validation_batch_size", "unlabelled_batch_size")


def has_own_fit(hypermodel: keras_tuner.HyperModel) -> bool:
    """Returns whether a hypermodel overrides `fit`."""
    return type(hypermodel).fit is not keras_tuner.HyperModel.fit


def check_objective(objective: Any) -> None:
    """Raises for an objective that improves with smaller weights even if the model gets worse.

    Args:
        objective: As `keras_tuner.Oracle` takes it: a name, an `Objective` or a list of them.
    """
    several = isinstance(objective, (list, tuple))
    for part in objective if several else getattr(objective, "objectives", [objective]):
        name = part if isinstance(part, str) else getattr(part, "name", None)
        if name in (None, NO_OBJECTIVE):
            raise FatalValueError(
                "The search has no objective: give the tuner `objective=hypermodel.objective`, the "
                f"unweighted validation data loss. Received: objective={objective}"
            )
        if name in UNFIT_OBJECTIVES:
            raise FatalValueError(
                f"The objective '{name}' {UNFIT_OBJECTIVES[name]}, even with a worse model. "
                "Give the tuner `objective=hypermodel.objective`, the unweighted validation data "
                "loss, or `keras_tuner.Objective('val_<metric>', direction)` of a compiled metric. "
                f"Received: objective={objective}"
            )
        if name == "val_data_loss" and getattr(part, "direction", "min") != "min":
            raise FatalValueError(
                f"The objective '{name}' must have direction 'min', as a loss is minimised. "
                f"Received: objective={objective}"
            )


def check_names(hypermodel: keras_tuner.HyperModel, names: set[str]) -> None:
    """Raises if a hypermodel declares a hyperparameter with one of the names."""
    own = keras_tuner.HyperParameters()
    hypermodel.declare_hyperparameters(own)
    hypermodel.build(own)
    if taken := sorted(names & {hyperparameter.name for hyperparameter in own.space}):
        raise FatalValueError(
            f"The build function declares {taken}, which `PhysicsHyperModel` declares itself: both "
            "would share one value. Rename the hyperparameter, or remove it."
        )


def check_space(hp: keras_tuner.HyperParameters, declared: keras_tuner.HyperParameters) -> None:
    """Raises if the space holds a declared hyperparameter twice, or with another range."""
    for own in declared.space:
        held = [other for other in hp.space if other.name == own.name]
        if len(held) != 1 or _search_range(held[0]) != _search_range(own):
            raise FatalValueError(
                f"The search space holds {held}, but `PhysicsHyperModel` declares [{own}]. Either "
                "the project folder was left by another search: give the tuner another "
                "`project_name`, or `overwrite=True` to delete the old search. Or "
                "`Tuner(hyperparameters=...)` declares it, too: give the range to "
                "`PhysicsHyperModel` only."
            )


def check_whole_space(space: keras_tuner.HyperParameters, names: set[str]) -> None:
    """Raises if the oracle does not search over a hyperparameter."""
    if lacking := sorted(names - {hyperparameter.name for hyperparameter in space.space}):
        raise FatalValueError(
            f"The tuner does not search over {lacking}. Either the project folder was left by "
            "another search: give the tuner another `project_name`, or `overwrite=True` to delete "
            "the old search. Or it was made with `tune_new_entries=False`: leave that out."
        )


def _search_range(hyperparameter: Any) -> tuple:
    limits = ("min_value", "max_value", "step", "sampling", "conditions")
    values = tuple(getattr(hyperparameter, name, None) for name in limits)
    return type(hyperparameter), *values


def check_model(model: Any, terms: list[str]) -> None:
    """Raises unless the build function returned a compiled model that has the terms."""
    if not isinstance(model, keras.Model):
        raise FatalTypeError(
            "The build function of a `PhysicsHyperModel` must return a compiled Keras model. "
            + received("model", model)
        )
    if not model.compiled:
        raise FatalValueError(
            f"The build function returned model '{model.name}' uncompiled: call `model.compile` "
            "in it. (`Tuner(optimizer=..., loss=...)` breaks the logs of the terms.)"
        )
    try:
        for term in terms:
            check_known(model, term, list(find_terms(model)))
    except ValueError as error:
        raise FatalValueError(f"`weights` of the `PhysicsHyperModel`: {error}") from error


def running_tuner(callbacks: Iterable[Any]) -> keras_tuner.Tuner | None:
    """Returns the tuner that runs the trial, from the callback that it adds."""
    tuners = (getattr(callback, "tuner", None) for callback in callbacks)
    return next((tuner for tuner in tuners if isinstance(tuner, keras_tuner.Tuner)), None)


def check_tuner(tuner: keras_tuner.Tuner) -> None:
    """Raises if the tuner compiled the model again."""
    given = {name: getattr(tuner, name) for name in ("optimizer", "loss", "metrics")}
    if named := {name: value for name, value in given.items() if value}:
        raise FatalValueError(
            f"The tuner has the arguments {list(named)}, with which it compiles each model again. "
            "That breaks the metrics of the physics layers. Compile the model in the build "
            f"function, and remove these arguments. Received: {named}"
        )


def check_callbacks(callbacks: Iterable[Any], terms: Iterable[str]) -> None:
    """Raises if a callback of the search changes a weight that is a hyperparameter."""
    schedulers = [c for c in callbacks if isinstance(c, WeightScheduler)]
    moved = {name for scheduler in schedulers for name in scheduler.schedules}
    if both := sorted(moved & set(terms)):
        raise FatalValueError(
            f"A WeightScheduler among the callbacks changes the weights of {both}, which are "
            "hyperparameters of the search and would have no effect. Leave these terms out of the "
            "scheduler. To search over ramps, use `PhysicsHyperModel(ramps=...)`."
        )


def check_arguments(model: keras.Model, args: tuple, kwargs: dict[str, Any]) -> None:
    """Raises unless `model.fit` takes these arguments, and validates after each epoch."""
    try:
        given = inspect.signature(model.fit).bind(*args, **kwargs).arguments
    except TypeError as error:
        raise FatalTypeError(f"`search` passes its arguments to `model.fit`: {error}") from error
    try:
        for name in COUNTS:
            whole_number(name, given.get(name), optional=True)
        for name in ("y", "sample_weight"):
            check_numbers(name, given.get(name))
    except ValueError as error:
        raise FatalValueError(str(error)) from error
    except TypeError as error:
        raise FatalTypeError(str(error)) from error
    held_out = (given.get(name) for name in ("validation_data", "validation_points"))
    if all(each is None for each in held_out) and not given.get("validation_split"):
        raise FatalValueError(
            "The search needs `validation_data=(x, y)` or `validation_split`: on training rows, a "
            "term that keeps the model from memorising them would seem to hurt. For an objective "
            "'val_<term>_loss' give `validation_points` of that term. "
            f"{received('validation_data', None)}"
        )
    if given.get("validation_freq", 1) != 1:
        raise FatalValueError(
            "The search needs `validation_freq=1`: KerasTuner takes the number of a validation for "
            "the number of its epoch. "
            f"{received('validation_freq', given['validation_freq'])}"
        )


def check_logged(objective: keras_tuner.Objective, logs: dict[str, Any]) -> None:
    """Raises if the objective is not among the logs."""
    if objective.name != NO_OBJECTIVE and not objective.has_value(logs):
        raise FatalValueError(
            f"The training does not log {objective}. A `PhysicsModel` with a compiled loss logs "
            "`val_data_loss`; for another model, make a compiled metric the objective: "
            "`keras_tuner.Objective('val_<metric>', direction)`. "
            f"Received logs: {sorted(logs)}"
        )


class ObjectiveIsLogged(keras.callbacks.Callback):
    """Callback that ends the search at the first epoch without a log of the objective."""

    def __init__(self, objective: keras_tuner.Objective) -> None:
        super().__init__()
        self.objective = objective

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Raises if the objective is not among the logs."""
        check_logged(self.objective, logs or {})
