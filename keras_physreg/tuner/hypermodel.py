"""PhysicsHyperModel: term weights and ramps as hyperparameters of any KerasTuner search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import keras_tuner

from keras_physreg._utils.errors import received
from keras_physreg.inspection import set_term_weights
from keras_physreg.schedules import GeometricRamp
from keras_physreg.sweep import SweepResult
from keras_physreg.tuner import setup_checks
from keras_physreg.tuner.searched_ramps import SearchedRamps, steps_done
from keras_physreg.tuner.space import term_spaces


class PhysicsHyperModel(keras_tuner.HyperModel):
    """HyperModel that adds term weights and ramps to the hyperparameters of a model.

    It declares these hyperparameters for each term when a model is built, so that every tuner sees
    the whole search space from its first trial on:

    | hyperparameter | meaning |
    | --- | --- |
    | `<term>_on` | Boolean, with `include_zero`: whether the term is on |
    | `<term>_weight` | Float between low and high, sampled in equal ratios, where the term is on |
    | `<term>_ramp` | Int, with `ramps`: epochs in which the weight rises from low to its value |

    `keras_tuner.GridSearch` tries eleven weights per term: the lowest, and ten in equal ratios.
    A ramp counts the epochs of `fit`, from 0. In every rung of `keras_tuner.Hyperband` it has the
    same length, and it continues where an earlier rung ended, as the optimizer does.

    Give the tuner `objective=hypermodel.objective`. KerasTuner records most errors as failures of
    a trial, and continues. A set-up that makes the search meaningless ends it with a
    `FatalValueError`, in the first trial at the latest: an objective that depends directly on the
    weights, such as `val_loss`, or one that is not logged; no validation data;
    `Tuner(optimizer=..., loss=..., metrics=...)`, which breaks the logs of the terms; a `fit` of
    your own that drops the callbacks, which run the ramps; a project folder of a search over other
    ranges.

    With few labelled rows use it with `ReplicaTuner(..., cv=5)`. KerasTuner's own tuners measure a
    trial on one validation set, with `executions_per_trial` seeds. With 20 to 200 rows, the best of
    many trials is then one that happens to fit these held-out rows. Give such tuners
    `validation_data` of a thousand rows, or write a `fit` that returns the loss of a
    cross-validation.

    A chief and workers can share a search: set `KERASTUNER_TUNER_ID`, `KERASTUNER_ORACLE_IP` and
    `KERASTUNER_ORACLE_PORT`, as KerasTuner describes. Their traffic is neither authenticated nor
    encrypted: use it within a network of trusted machines only. If a worker dies, start it again
    with the same id, or the chief waits for ever.

    Args:
        build: Function `hp -> compiled model`, or a `keras_tuner.HyperModel`, whose `fit` and
            `declare_hyperparameters` are used. A `fit` of your own must pass on its `callbacks`.
        weights: Dict from term name to `(low, high)`, in units of 1 / loss, or to `None`, which
            keeps the term off. Or the result of `sanity_sweep`, for its search ranges; terms
            without a range are off. Terms of the model that are left out keep their weight.
        ramps: Dict from term name to `(shortest, longest)` or `(shortest, longest, step)` in
            epochs, or to one number of epochs for every trial. 0 epochs mean no ramp; terms that
            are left out have none. The ramp is geometric and begins at `low`.
        include_zero: Whether trials may switch a term off; half of the random trials do.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If a range is empty, not above 0 or not finite, or `ramps` names a term that
            `weights` does not name. A search raises it as `keras_tuner.errors.FatalValueError`, if
            the model lacks a term or is not compiled, or for a set-up as described above.

    Example:
    >>> import keras, keras_tuner, keras_physreg as kp
    >>> def build(hp):
    ...     z = keras.Input((2,))
    ...     x = keras.layers.Dense(2)(z)
    ...     balance = kp.PhysicsRegularization(lambda z, x: x - z, {"balance": 0.0})
    ...     model = kp.PhysicsModel(z, balance(z, x))
    ...     model.compile(keras.optimizers.Adam(hp.Choice("rate", [1e-3, 1e-2])), "mse")
    ...     return model
    >>> weights, ramps = {"balance": (1e-3, 10.0)}, {"balance": (0, 20)}
    >>> hypermodel = kp.PhysicsHyperModel(build, weights, ramps)
    >>> hp = keras_tuner.HyperParameters()
    >>> model = hypermodel.build(hp)
    >>> hp.values
    {'rate': 0.001, 'balance_on': True, 'balance_weight': 0.001, 'balance_ramp': 0}
    >>> hp.values.update(balance_weight=0.1, balance_ramp=5)
    >>> hypermodel.schedules(hp)
    {'balance': GeometricRamp(start=0.001, end=0.1, duration=5, begin=0)}
    """

    def __init__(
        self,
        build: Callable[[keras_tuner.HyperParameters], keras.Model] | keras_tuner.HyperModel,
        weights: Mapping[str, tuple[float, float] | None] | SweepResult,
        ramps: Mapping[str, Any] | None = None,
        include_zero: bool = True,
    ) -> None:
        self.inner = _as_hypermodel(build)
        self.spaces = term_spaces(weights, ramps, include_zero)
        super().__init__(name=self.inner.name)

    @property
    def objective(self) -> keras_tuner.Objective:
        """The objective of a search: the smallest unweighted validation data loss."""
        return keras_tuner.Objective("val_data_loss", "min")

    @property
    def hyperparameter_names(self) -> set[str]:
        """The names of the hyperparameters that this hypermodel adds."""
        return {name for space in self.spaces for name in space.names}

    def check_objective(self, objective: Any) -> None:
        """Raises for an objective that improves with smaller weights even if the model gets worse.

        Args:
            objective: A name, a `keras_tuner.Objective`, or a list of them.

        Raises:
            keras_tuner.errors.FatalValueError: If the objective is missing, a weighted loss, the
                training data loss, or a loss with direction "max".
        """
        setup_checks.check_objective(objective)

    def schedules(self, hp: keras_tuner.HyperParameters) -> dict[str, float | GeometricRamp]:
        """Returns the weight or ramp of each term in a trial.

        Args:
            hp: The hyperparameters of the trial.

        Returns:
            A dict from term name to a weight (0.0 if the term is off) or to a ramp in epochs.
        """
        schedules = {space.term: space.declare(hp) for space in self.spaces}
        declared = keras_tuner.HyperParameters()
        for space in self.spaces:
            space.declare(declared)
        setup_checks.check_space(hp, declared)
        return schedules

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        """Declares the hyperparameters of the wrapped hypermodel, and checks their names.

        Args:
            hp: The hyperparameters.
        """
        setup_checks.check_names(self.inner, self.hyperparameter_names)
        self.inner.declare_hyperparameters(hp)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Builds the model of a trial, with its term weights set.

        Args:
            hp: The hyperparameters of the trial.

        Returns:
            The compiled model; a term with a ramp has the weight at the end of the ramp.
        """
        model = self.inner.build(hp)
        setup_checks.check_model(model, [space.term for space in self.spaces])
        set_term_weights(model, _final_weights(self.schedules(hp)))
        if model.built:
            # A checkpoint that is loaded next then restores the optimizer, too.
            model.optimizer.build(model.trainable_variables)
        return model

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: keras.Model,
        *args: Any,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Trains the model of a trial, and changes the weights of terms with a ramp.

        Call it outside of a search, too, to train a model with the hyperparameters that were found.

        Args:
            hp: The hyperparameters of the trial.
            model: The model that `build` returned.
            *args: Passed to `model.fit`, or to the `fit` of the wrapped hypermodel.
            callbacks: Likewise, after a `WeightScheduler` if the trial has a ramp.
            **kwargs: Likewise.

        Returns:
            The return value of that `fit`.

        Raises:
            keras_tuner.errors.FatalValueError: If a `fit` of your own trained without the
                callbacks, so that the ramps of the trial did not run; for more cases see the class.
        """
        schedules = self.schedules(hp)
        callbacks = keras.tree.flatten(callbacks or [])
        setup_checks.check_callbacks(callbacks, schedules)
        # A rung of Hyperband has loaded a checkpoint, with a weight from within a ramp.
        set_term_weights(model, _final_weights(schedules))
        ramps = {name: s for name, s in schedules.items() if isinstance(s, GeometricRamp)}
        if not ramps:
            return self._fit(hp, model, args, {**kwargs, "callbacks": callbacks})
        scheduler = SearchedRamps(ramps)
        steps_before = steps_done(model)
        result = self._fit(hp, model, args, {**kwargs, "callbacks": [scheduler, *callbacks]})
        scheduler.check_ran(model, steps_before, result)
        return result

    def _fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, args: tuple, kwargs: dict
    ) -> Any:
        """Trains, in a search or outside of one."""
        tuner = setup_checks.running_tuner(kwargs["callbacks"])
        if tuner is None:
            return self.inner.fit(hp, model, *args, **kwargs)
        return self._fit_in_search(tuner, hp, model, args, kwargs)

    def _fit_in_search(
        self,
        tuner: keras_tuner.Tuner,
        hp: keras_tuner.HyperParameters,
        model: keras.Model,
        args: tuple,
        kwargs: dict[str, Any],
    ) -> Any:
        """Trains; raises a fatal error if the set-up makes the search meaningless."""
        setup_checks.check_tuner(tuner)
        setup_checks.check_whole_space(tuner.oracle.get_space(), self.hyperparameter_names)
        objective = tuner.oracle.objective
        own_fit = setup_checks.has_own_fit(self.inner)
        if not (own_fit and objective.name == setup_checks.NO_OBJECTIVE):
            setup_checks.check_objective(objective)
        if not own_fit:
            setup_checks.check_arguments(model, args, kwargs)
            kwargs["callbacks"].append(setup_checks.ObjectiveIsLogged(objective))
        result = self.inner.fit(hp, model, *args, **kwargs)
        if isinstance(result, keras.callbacks.History):
            setup_checks.check_logged(objective, result.history)
        return result


def _as_hypermodel(build: Any) -> keras_tuner.HyperModel:
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


def _final_weights(schedules: dict[str, float | GeometricRamp]) -> dict[str, float]:
    return {name: s.end if isinstance(s, GeometricRamp) else s for name, s in schedules.items()}
