"""Checks of the arguments of `ReplicaTuner` and its `search`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import keras_tuner

from keras_physreg._utils.errors import boolean, received, whole_number
from keras_physreg.replicas.replica_points import steps_without_rows
from keras_physreg.tuner.hypermodel import PhysicsHyperModel
from keras_physreg.tuner.setup_checks import NO_OBJECTIVE, has_own_fit
from keras_physreg.tuner.space import TermSpace
from keras_physreg.unlabelled.checks import check_batch_size, check_no_options, check_share

ENVIRONMENT = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")

OVERRIDES = {
    "optimizer": "compile the model in `build(hp)`: compiled again it would lose the terms' logs",
    "loss": "compile the model in `build(hp)`: compiled again it would lose the terms' logs",
    "metrics": "compile the model in `build(hp)`: compiled again it would lose the terms' logs",
    "distribution_strategy": "the replicas of a program share one device",
    "max_model_size": "raise `keras_tuner.errors.FailedTrialError` in `build(hp)` instead",
    "logger": "KerasTuner itself does not use it; leave it out",
    "objective": "give it to the oracle, which else gets `hypermodel.objective`",
    "max_trials": "give it to the oracle",
}

FIT_ARGUMENTS = {
    "validation_split": "split the data yourself, and give `validation_data`",
    "class_weight": "give `sample_weight`, one number per row",
    "validation_freq": "the objective is needed in every epoch; leave it out",
    "validation_steps": "all validation rows are used; leave it out",
    "initial_epoch": "every trial begins at epoch 0; leave it out",
    "unlabelled_repeat": "it is for datasets, and replicas are trained on arrays; leave it out",
}


def check_alone() -> None:
    """Raises if environment variables ask KerasTuner to share the search."""
    if found := [name for name in ENVIRONMENT if name in os.environ]:
        raise RuntimeError(
            f"`ReplicaTuner` cannot be a chief or a worker, but {', '.join(found)} is set. It asks "
            "for many trials at once, each under another tuner id, and a chief waits for each id. "
            "Unset the variables. Or share the search between the workers of a KerasTuner tuner, "
            "such as `keras_tuner.RandomSearch(hypermodel, ...)`."
        )


def check_hypermodel(hypermodel: Any) -> None:
    """Raises unless it is a `PhysicsHyperModel` whose `fit` is not overridden."""
    if not isinstance(hypermodel, PhysicsHyperModel):
        raise TypeError(
            "`hypermodel` must be a `PhysicsHyperModel`, which declares the weights of terms, such "
            "as `PhysicsHyperModel(build, weights={'x': (1e-3, 10.0)})`. "
            + received("hypermodel", hypermodel)
        )
    own = type(hypermodel).fit is not PhysicsHyperModel.fit
    if own or has_own_fit(hypermodel.inner):
        raise ValueError(
            "The hypermodel has a `fit` of its own, which replicas in one program cannot run. Use "
            "a KerasTuner tuner, such as `keras_tuner.RandomSearch(hypermodel, ...)`. "
            + received("hypermodel", hypermodel if own else hypermodel.inner)
        )


def objective_of(oracle: Any, hypermodel: PhysicsHyperModel) -> Any:
    """Returns the objective of a search; raises if `ReplicaTuner` does not support the oracle."""
    if not isinstance(oracle, keras_tuner.Oracle):
        raise TypeError(
            "`oracle` must be a KerasTuner oracle, such as "
            "`keras_tuner.oracles.RandomSearchOracle(max_trials=64)`. " + received("oracle", oracle)
        )
    if isinstance(oracle, keras_tuner.oracles.HyperbandOracle):
        raise ValueError(
            "`ReplicaTuner` does not take a `HyperbandOracle`: its trials continue from the model "
            "weights of other trials, for other numbers of epochs. Use "
            "`keras_tuner.Hyperband(hypermodel, ...)`, or the oracle of a random search, a grid "
            f"search or Bayesian optimization. {received('oracle', oracle)}"
        )
    if oracle.objective.name == NO_OBJECTIVE:
        return hypermodel.objective
    if hasattr(oracle.objective, "objectives"):
        raise ValueError(
            "`ReplicaTuner` takes one objective; `keras_physreg.pareto_front` shows the trade-off "
            f"between it and the terms. Received: objective={oracle.objective}"
        )
    hypermodel.check_objective(oracle.objective)
    return oracle.objective


def check_nothing_else(name: str, given: dict[str, Any], known: dict[str, str]) -> None:
    """Raises if there are further arguments, with advice on those of KerasTuner or `fit`.

    Args:
        name: Name of the class or method.
        given: The further arguments.
        known: Advice by name of the argument.
    """
    for argument, value in given.items():
        advice = known.get(argument)
        raise TypeError(
            f"`{name}` has no argument `{argument}`"
            + (f": {advice}. " if advice else ". ")
            + received(argument, value)
        )


def data(
    x: Any, y: Any, validation_data: Any, sample_weight: Any, unlabelled: Any
) -> dict[str, Any]:
    """Returns the data of the trials, by the names of the arguments of `fit`."""
    return {
        "x": x,
        "y": y,
        "validation_data": validation_data,
        "sample_weight": sample_weight,
        "unlabelled": unlabelled,
    }


def points(**given: Any) -> dict[str, Any]:
    """Returns the point sets that are given; raises if they are no dicts."""
    found = {name: value for name, value in given.items() if value is not None}
    for name, value in found.items():
        if not isinstance(value, Mapping) or not value:
            raise TypeError(f"`{name}` must be a dict of points by term. {received(name, value)}")
    return found


def check_rows(data: dict[str, Any], objective: Any, spaces: Iterable[TermSpace]) -> None:
    """Raises if there are no rows to train on, or points alone that cannot score a trial.

    Args:
        data: The data of the trials, by the names of the arguments of `fit`.
        objective: The objective of the search.
        spaces: The searched weights.
    """
    if data["x"] is not None:
        return
    if "points" not in data:
        raise ValueError(
            "`ReplicaTuner` needs rows to train on: labelled ones (`x` and `y`), or `points` for "
            "every term. Received: x=None, points=None"
        )
    searched = [space.term for space in spaces if space.weights is not None]
    if term_at_points(data, objective) in (None, *searched):
        raise ValueError(
            "On points alone (x=None) a search needs `validation_points` of a term that it does "
            "not search, with its 'val_<term>_loss' as the objective: the loss of a searched term "
            "falls as the weights of the others fall. Or compare weights by `sanity_sweep(model, "
            "points=..., validation_points=...)`, whose score is the sum over all terms. Received: "
            f"objective={objective}"
        )


def term_at_points(data: dict[str, Any], objective: Any) -> str | None:
    """Returns the term whose loss at its `validation_points` is the objective, or `None`."""
    held_out = data.get("validation_points", {})
    return next((term for term in held_out if objective.name == f"val_{term}_loss"), None)


def points_options(points: Any, batch_size: Any, x: Any, steps: Any) -> dict[str, Any]:
    """Returns the options of points that are given, or raises if they do not apply."""
    if points is None:
        check_no_options("points", points_batch_size=batch_size)
    steps_without_rows(x, steps)
    size = dict(batch_size) if isinstance(batch_size, Mapping) else batch_size
    found = {"points_batch_size": size, "steps_per_epoch": steps}
    return {name: value for name, value in found.items() if value is not None}


def training_arguments(
    epochs: Any, batch_size: Any, validation_batch_size: Any, shuffle: Any
) -> dict[str, Any]:
    """Returns the plain arguments of `fit`, or raises."""
    return {
        "epochs": whole_number("epochs", epochs),
        "batch_size": whole_number("batch_size", batch_size, optional=True),
        "validation_batch_size": whole_number(
            "validation_batch_size", validation_batch_size, optional=True
        ),
        "shuffle": boolean("shuffle", shuffle),
    }


def check_unlabelled(unlabelled: Any, batch_size: Any, share: Any) -> dict[str, Any]:
    """Returns the options of unlabelled rows that are given, or raises."""
    options = {"unlabelled_batch_size": batch_size, "unlabelled_share": share}
    if unlabelled is None:
        check_no_options(**options)
    check_batch_size(batch_size)
    check_share(share)
    return {name: value for name, value in options.items() if value is not None}


def execution_seeds(seed: Any, executions: Any) -> list[int] | None:
    """Returns one seed per execution, or `None`."""
    executions = whole_number("executions_per_trial", executions)
    if seed is not None:
        return [whole_number("seed", seed, minimum=0) + e for e in range(executions)]
    if executions > 1:
        raise ValueError(
            "With `seed=None` all executions of a trial would be equal: they start from the "
            "weights that `build` gives. Give a seed. "
            + received("executions_per_trial", executions)
        )
    return None
