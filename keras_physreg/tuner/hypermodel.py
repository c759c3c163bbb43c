"""PhysicsHyperModel: term weights and ramps as hyperparameters of any KerasTuner search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import keras_tuner

from keras_physreg.callbacks import WeightScheduler
from keras_physreg.inspection import set_term_weights
from keras_physreg.schedules import GeometricRamp
from keras_physreg.sweep import SweepResult
from keras_physreg.tuner import checks
from keras_physreg.tuner.space import term_spaces


class PhysicsHyperModel(keras_tuner.HyperModel):
    """Adds term weights and ramps to the hyperparameters of a model.

    Args:
        build: Function `hp -> compiled model`, or a `keras_tuner.HyperModel`.
        weights: Dict from term name to `(low, high)`, or a `SweepResult`.
        ramps: Dict from term name to `(shortest, longest)` durations in epochs.
        include_zero: Whether trials may switch a term off.
    """

    def __init__(
        self,
        build: Callable[[keras_tuner.HyperParameters], keras.Model] | keras_tuner.HyperModel,
        weights: Mapping[str, tuple[float, float] | None] | SweepResult,
        ramps: Mapping[str, Any] | None = None,
        include_zero: bool = True,
    ) -> None:
        self.inner = checks.as_hypermodel(build)
        self.spaces = term_spaces(weights, ramps, include_zero)
        super().__init__(name=self.inner.name, tunable=self.inner.tunable)

    @property
    def objective(self) -> keras_tuner.Objective:
        """What a search minimises: the unweighted validation data loss."""
        return keras_tuner.Objective("val_data_loss", "min")

    @property
    def hyperparameter_names(self) -> set[str]:
        """The names of the hyperparameters that this hypermodel adds."""
        return {name for space in self.spaces for name in space.names}

    def check_objective(self, objective: Any) -> None:
        """Raises a `FatalValueError` for an objective that the weights themselves decide."""
        checks.check_objective(objective)

    def schedules(self, hp: keras_tuner.HyperParameters) -> dict[str, float | GeometricRamp]:
        """Returns the weight of each term in a trial: a number, 0.0 for off, or a ramp."""
        return {space.term: space.declare(hp) for space in self.spaces}

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        """Declares what the wrapped hypermodel declares; see `keras_tuner.HyperModel`."""
        self.inner.declare_hyperparameters(hp)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Builds the model of a trial, with its term weights set.

        Args:
            hp: The hyperparameters.

        Returns:
            The compiled model; a ramped term has the weight at the end of its ramp.
        """
        model = self.inner.build(hp)
        checks.check_model(model, [space.term for space in self.spaces])
        set_term_weights(model, _final_weights(self.schedules(hp)))
        return model

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: keras.Model,
        *args: Any,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Trains the model of a trial, and moves the weights of ramped terms.

        Args:
            hp: The hyperparameters.
            model: What `build` returned.
            *args: Handed over to `model.fit`, or to the `fit` of the wrapped hypermodel.
            callbacks: Likewise, as a list.
            **kwargs: Likewise.

        Returns:
            What that `fit` returned.
        """
        schedules = self.schedules(hp)
        set_term_weights(model, _final_weights(schedules))
        ramps = {name: s for name, s in schedules.items() if isinstance(s, GeometricRamp)}
        added = [WeightScheduler(ramps)] if ramps else []
        callbacks = [*added, *(callbacks or [])]
        return self.inner.fit(hp, model, *args, callbacks=callbacks, **kwargs)


def _final_weights(schedules: dict[str, float | GeometricRamp]) -> dict[str, float]:
    return {name: s.end if isinstance(s, GeometricRamp) else s for name, s in schedules.items()}
