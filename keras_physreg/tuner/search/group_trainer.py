"""Trains groups of trials as replicas, and keeps the compiled programs for the next group."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from keras_physreg._utils.variables import unchanged
from keras_physreg.sweep import ReplicaHistory, ReplicaTrainer
from keras_physreg.tuner.search import checkpoints, trial_logs, trial_result
from keras_physreg.tuner.search.data_checks import check_data
from keras_physreg.tuner.search.trial_result import TrialResult

MAX_STRUCTURES = 4  # Compiled programs that are kept: they hold memory.


class CannotTrainError(Exception):
    """A model cannot be built or trained, for the reason that is its `__cause__`."""


@dataclass(frozen=True)
class Recipe:
    """How every trial of a search is trained.

    Args:
        fit: Arguments of `ReplicaTrainer.fit`.
        objective: The objective.
        seeds: One seed per execution, or `None`: one execution, from the weights of `build`.
        engine: See `ReplicaTrainer`.
        replicas_per_program: See `ReplicaTrainer`.
        callbacks: Callbacks that write logs.
    """

    fit: dict[str, Any]
    objective: Any
    seeds: list[int] | None
    engine: str
    replicas_per_program: int | None
    callbacks: list[Any]

    @property
    def executions(self) -> int:
        """Executions of each trial."""
        return 1 if self.seeds is None else len(self.seeds)


class GroupTrainer:
    """Trains trials of one structure together.

    Args:
        hypermodel: The `PhysicsHyperModel`.
        recipe: How.
        folder: Function from trial id to the trial's folder.
    """

    def __init__(self, hypermodel: Any, recipe: Recipe, folder: Callable[[str], Path]) -> None:
        self.hypermodel, self.recipe, self.folder = hypermodel, recipe, folder
        self._data_are_checked = False
        self._known: OrderedDict[str, tuple[ReplicaTrainer, Any]] = OrderedDict()

    def results(self, trials: list[Any]) -> dict[str, TrialResult]:
        """Returns what is in the folders of those trials that were trained before, by id."""
        name = self.recipe.objective.name
        found = {t.trial_id: TrialResult.load(self.folder(t.trial_id), name) for t in trials}
        return {trial_id: result for trial_id, result in found.items() if result is not None}

    def train(self, structure: str, trials: list[Any]) -> tuple[bool, dict[str, Any]]:
        """Trains the trials, and saves the result of each.

        Args:
            structure: What the trials have in common.
            trials: The trials.

        Returns:
            Whether Ctrl-C was pressed, and the results of the trials that were finished, by id.

        Raises:
            CannotTrainError: If the model cannot be built or trained.
            TypeError, ValueError: If no model could be trained on the data.
        """
        if not self._data_are_checked:
            check_data(self.hypermodel.build(keras_tuner.HyperParameters()), self.recipe.fit)
            self._data_are_checked = True
        try:
            trainer, history = self._trained(structure, trials)
        except (keras_tuner.errors.FatalError, OSError):
            raise
        except Exception as error:
            raise CannotTrainError from error
        count = self.recipe.executions
        done: dict[str, TrialResult] = {}
        with unchanged(trainer.model.variables):
            for position, trial in enumerate(trials):
                replicas = list(range(position * count, (position + 1) * count))
                if (history.epochs_done[replicas] == self.recipe.fit["epochs"]).all():
                    done[trial.trial_id] = self._save(trainer, history, trial, replicas)
        return history.interrupted, done

    def _trained(self, structure: str, trials: list[Any]) -> tuple[ReplicaTrainer, ReplicaHistory]:
        seeds = None if self.recipe.seeds is None else self.recipe.seeds * len(trials)
        known = self._known.pop(structure, None)
        if known is None:
            hp = trials[0].hyperparameters
            trainer, history = self._first_trained(self.hypermodel.build(hp), trials, seeds)
        else:
            trainer, hp = known
            verbose = self.recipe.fit["verbose"]
            history = trainer.refit(self._weights(trials), seeds, verbose=verbose)
        for trial in trials:  # What only `build` declares is declared for all.
            trial.hyperparameters.merge(hp, overwrite=False)
        self._keep(structure, trainer, hp)
        return trainer, history

    def _first_trained(
        self, model: keras.Model, trials: list[Any], seeds: list[int] | None
    ) -> tuple[ReplicaTrainer, ReplicaHistory]:
        recipe = self.recipe
        trainer = ReplicaTrainer(
            model,
            self._weights(trials),
            seeds,
            engine=recipe.engine,
            replicas_per_program=recipe.replicas_per_program,
        )
        monitor = {"monitor": recipe.objective.name, "mode": recipe.objective.direction}
        return trainer, trainer.fit(**recipe.fit, **monitor)

    def _weights(self, trials: list[Any]) -> dict[str, list[Any]]:
        """Returns the weights of all replicas: the executions of a trial side by side."""
        schedules = [self.hypermodel.schedules(trial.hyperparameters) for trial in trials]
        return {
            term: [trial[term] for trial in schedules for _ in range(self.recipe.executions)]
            for term in schedules[0]
        }

    def _keep(self, structure: str, trainer: ReplicaTrainer, hp: Any) -> None:
        self._known[structure] = trainer, hp
        while len(self._known) > MAX_STRUCTURES:
            self._known.popitem(last=False)

    def _save(
        self, trainer: ReplicaTrainer, history: ReplicaHistory, trial: Any, replicas: list[int]
    ) -> TrialResult:
        folder = self.folder(trial.trial_id)
        result = trial_result.result_of(history, replicas, self.recipe.objective)
        trial_result.write_history(folder / trial_result.HISTORY, history, replicas)
        trainer.load_replica(replicas[result.best_execution])
        trial_logs.write(self.recipe.callbacks, trainer.model, history, trial, replicas)
        if result.metrics:
            checkpoints.save(trainer.model, self.recipe.fit["x"], folder)
        result.save(folder)  # Last: it marks the trial as done.
        return result
