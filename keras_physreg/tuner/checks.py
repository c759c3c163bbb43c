"""Checks of a search; their errors are those that KerasTuner does not swallow."""

from __future__ import annotations

from typing import Any

import keras
import keras_tuner
from keras_tuner.errors import FatalTypeError, FatalValueError

from keras_physreg.inspection import check_known, find_terms
from keras_physreg.schedules.checks import received

WEIGHTED = ("loss", "physics_loss")


def as_hypermodel(build: Any) -> keras_tuner.HyperModel:
    """Returns a hypermodel from a build function, or the one given."""
    if isinstance(build, keras_tuner.HyperModel):
        return build
    if not callable(build):
        raise TypeError(
            "`build` must be a function `hp -> compiled model` or a `keras_tuner.HyperModel`. "
            + received("build", build)
        )
    hypermodel = keras_tuner.HyperModel()
    hypermodel.build = build
    return hypermodel


def check_objective(objective: Any) -> None:
    """Raises for an objective that the weights themselves decide."""
    for part in getattr(objective, "objectives", [objective]):
        name = part if isinstance(part, str) else part.name
        if name.removeprefix("val_") in WEIGHTED:
            raise FatalValueError(
                f"The objective '{name}' contains the weighted terms: the trial with the smallest "
                "weights would win, whatever they do to the model. Search with "
                "`objective=hypermodel.objective`, the unweighted `val_data_loss`, or with a "
                f"compiled metric. Received: objective={objective}"
            )


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
            "in it. (`Tuner(optimizer=..., loss=...)` would break the logs of the terms.)"
        )
    try:
        for term in terms:
            check_known(model, term, list(find_terms(model)))
    except ValueError as error:
        raise FatalValueError(f"`weights` of the `PhysicsHyperModel`: {error}") from error
