"""Trains groups of trials as replicas, and keeps the compiled programs for the next group."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import keras_tuner

from keras_physreg._utils.variables import unchanged
from keras_physreg.replicas import ReplicaHistory, ReplicaTrainer
from keras_physreg.replicas.plan import Plan
from keras_physreg.tuner.search import checkpoints, execution_results, trial_logs
from keras_physreg.tuner.search.data_checks import check_data
from keras_physreg.tuner.search.grouping import baseline_name
from keras_physreg.tuner.search.project import Project
from keras_physreg.tuner.search.recipe import Recipe
from keras_physreg.tuner.search.trial_result import TrialResult

MAX_STRUCTURES = 4  # Compiled programs that are kept: they hold memory.


class CannotTrainError(Exception):
    """A model cannot be built or trained, for the reason that is its `__cause__`."""


class GroupTrainer:
    """Trains trials of one structure together.

    In cross-validation the first group of each structure has a baseline besides: the same model
    with all searched terms off, on the same splits with the same seeds.

    Args:
        hypermodel: The `PhysicsHyperModel`.
        recipe: How.
        project: Has the folders of trials and baselines.
    """

    def __init__(self, hypermodel: Any, recipe: Recipe, project: Project) -> None:
        self.hypermodel, self.recipe, self.project = hypermodel, recipe, project
        self._data_are_checked = False
        self._known: OrderedDict[str, tuple[ReplicaTrainer, Any]] = OrderedDict()

    def results(self, trials: list[Any]) -> dict[str, TrialResult]:
        """Returns what is in the folders of those trials that were trained before, by id."""
        name, folder = self.recipe.objective.name, self.project.trial_folder
        found = {t.trial_id: TrialResult.load(folder(t.trial_id), name) for t in trials}
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
        baseline = None if self.recipe.splits is None else baseline_name(structure)
        try:
            plan = self._plan(trials, baseline)
            trainer, history = self._trained(structure, trials, plan)
        except (keras_tuner.errors.FatalError, OSError):
            raise
        except Exception as error:
            raise CannotTrainError from error
        if baseline is not None and len(plan.settings) > len(trials):
            self._save_baseline(baseline, history, plan)
        done: dict[str, TrialResult] = {}
        with unchanged(trainer.model.variables):
            for setting, trial in enumerate(trials):
                if self._is_finished(history, plan, setting):
                    result = replace(self._result(history, plan, setting), baseline=baseline)
                    self._save(trainer, history, trial, plan.of_setting(setting), result)
                    done[trial.trial_id] = result
        return history.interrupted, done

    def _plan(self, trials: list[Any], baseline: str | None) -> Plan:
        """Returns the replicas of the trials, and last of the baseline where it is needed."""
        settings = [self.hypermodel.schedules(trial.hyperparameters) for trial in trials]
        if baseline is not None and self.load_baseline(baseline) is None:
            settings.append(dict.fromkeys(settings[0], 0.0))
        return self.recipe.plan(settings)

    def load_baseline(self, name: str) -> TrialResult | None:
        """Returns the result of a baseline that was trained before."""
        folder = self.project.baseline_folder(name)
        return TrialResult.load(folder, self.recipe.objective.name)

    def _trained(
        self, structure: str, trials: list[Any], plan: Plan
    ) -> tuple[ReplicaTrainer, ReplicaHistory]:
        rows: dict[str, Any] = {}
        if plan.splits:
            rows = {"rows": plan.rows, "validation_rows": plan.validation_rows}
        known = self._known.pop(structure, None)
        if known is None:
            hp = trials[0].hyperparameters
            objective = self.recipe.objective
            trainer = ReplicaTrainer(
                self.hypermodel.build(hp),
                plan.weights,
                plan.replica_seeds,
                engine=self.recipe.engine,
                replicas_per_program=self.recipe.replicas_per_program,
            )
            monitor = {"monitor": objective.name, "mode": objective.direction}
            history = trainer.fit(**self.recipe.fit, **monitor, **rows)
        else:
            trainer, hp = known
            verbose = self.recipe.fit["verbose"]
            history = trainer.refit(plan.weights, plan.replica_seeds, verbose=verbose, **rows)
        for trial in trials:  # What only `build` declares is declared for all.
            trial.hyperparameters.merge(hp, overwrite=False)
        self._keep(structure, trainer, hp)
        return trainer, history

    def _keep(self, structure: str, trainer: ReplicaTrainer, hp: Any) -> None:
        self._known[structure] = trainer, hp
        while len(self._known) > MAX_STRUCTURES:
            self._known.popitem(last=False)

    def _is_finished(self, history: ReplicaHistory, plan: Plan, setting: int) -> bool:
        done = history.epochs_done[plan.of_setting(setting)]
        return bool((done == self.recipe.fit["epochs"]).all())

    def _result(self, history: ReplicaHistory, plan: Plan, setting: int) -> TrialResult:
        objective = self.recipe.objective
        if plan.splits:
            return execution_results.result_of_splits(history, plan, setting, objective)
        return execution_results.result_of(history, plan.of_setting(setting), objective)

    def _save_baseline(self, name: str, history: ReplicaHistory, plan: Plan) -> None:
        setting = len(plan.settings) - 1
        if not self._is_finished(history, plan, setting):
            return
        folder = self.project.baseline_folder(name)
        path = folder / execution_results.HISTORY
        execution_results.write_history(path, history, plan.of_setting(setting))
        self._result(history, plan, setting).save(folder)

    def _save(
        self,
        trainer: ReplicaTrainer,
        history: ReplicaHistory,
        trial: Any,
        replicas: list[int],
        result: TrialResult,
    ) -> None:
        folder = self.project.trial_folder(trial.trial_id)
        path = folder / execution_results.HISTORY
        execution_results.write_history(path, history, replicas)
        trainer.load_replica(replicas[result.best_execution])
        trial_logs.write(self.recipe.callbacks, trainer.model, history, trial, replicas)
        if result.metrics:
            checkpoints.save(trainer.model, self.recipe.fit["x"], folder)
        result.save(folder)  # Last: it marks the trial as done.
