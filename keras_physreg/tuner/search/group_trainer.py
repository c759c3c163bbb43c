"""GroupTrainer: trains groups of trials as replicas, and keeps the compiled programs."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras_tuner

from keras_physreg._utils.variables import unchanged
from keras_physreg.executors.trainer import DistributedTrainer, LostReplicasError
from keras_physreg.replicas import ReplicaHistory, ReplicaTrainer
from keras_physreg.replicas.plan import Plan
from keras_physreg.tuner.search import checkpoints, execution_results, trial_logs
from keras_physreg.tuner.search.data_checks import check_data
from keras_physreg.tuner.search.grouping import baseline_name
from keras_physreg.tuner.search.project import Project
from keras_physreg.tuner.search.trial_result import TrialResult
from keras_physreg.tuner.search.trial_training import TrialTraining

MAX_TRAINERS = 4  # kept with their compiled programs, which hold memory


class CannotTrainError(Exception):
    """A model cannot be built or trained; `__cause__` is the reason.

    Args:
        done: The results of the trials of the model that were finished nevertheless, by id.
    """

    def __init__(self, done: dict[str, TrialResult] | None = None) -> None:
        super().__init__()
        self.done = done or {}


class GroupTrainer:
    """Trains trials of one structure together.

    In cross-validation, the first group of each structure also trains a baseline: the same model
    with all searched terms off, on the same splits with the same seeds.

    Args:
        hypermodel: The `PhysicsHyperModel`.
        training: How every trial is trained.
        project: The project, with the folders of trials and baselines.
    """

    def __init__(self, hypermodel: Any, training: TrialTraining, project: Project) -> None:
        self.hypermodel, self.training, self.project = hypermodel, training, project
        self._data_are_checked = False
        self._trainers: OrderedDict[str, tuple[ReplicaTrainer, Any]] = OrderedDict()

    def results(self, trials: list[Any]) -> dict[str, TrialResult]:
        """Returns the saved results of those trials that were trained before, by id."""
        name, folder = self.training.objective.name, self.project.trial_folder
        found = {t.trial_id: TrialResult.load(folder(t.trial_id), name) for t in trials}
        return {trial_id: result for trial_id, result in found.items() if result is not None}

    def train(self, structure: str, trials: list[Any]) -> tuple[bool, dict[str, Any]]:
        """Trains the trials, and saves the result of each.

        Args:
            structure: The hyperparameters that all these trials share, as text.
            trials: The trials.

        Returns:
            Whether Ctrl-C was pressed, and the results of the trials that were finished, by id.

        Raises:
            CannotTrainError: If the model cannot be built or trained, or its workers died.
            LostReplicasError: If workers died, and the executor is of no use after that.
            TypeError, ValueError: If no model can be trained on the data.
        """
        if not self._data_are_checked:
            check_data(self.hypermodel.build(keras_tuner.HyperParameters()), self.training.fit)
            self._data_are_checked = True
        baseline = None if self.training.splits is None else baseline_name(structure)
        try:
            plan = self._plan(trials, baseline)
            trainer, history, lost = self._trained(structure, trials, plan)
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
        if lost is not None:
            raise lost if lost.is_final else CannotTrainError(done) from lost
        return history.interrupted, done

    def _plan(self, trials: list[Any], baseline: str | None) -> Plan:
        """Returns the plan of the trials, with the baseline last if it is still needed."""
        settings = [self.hypermodel.schedules(trial.hyperparameters) for trial in trials]
        if baseline is not None and self.load_baseline(baseline) is None:
            settings.append(dict.fromkeys(settings[0], 0.0))
        return self.training.plan(settings)

    def load_baseline(self, name: str) -> TrialResult | None:
        """Returns the result of a baseline that was trained before."""
        folder = self.project.baseline_folder(name)
        return TrialResult.load(folder, self.training.objective.name)

    def _trained(
        self, structure: str, trials: list[Any], plan: Plan
    ) -> tuple[ReplicaTrainer, ReplicaHistory, LostReplicasError | None]:
        """Trains replicas; returns the trainer, the logs, and why some of them have none."""
        rows: dict[str, Any] = {}
        if plan.splits:
            rows = {"rows": plan.rows, "validation_rows": plan.validation_rows}
        known, lost = self._trainers.pop(structure, None), None
        trainer, hp = known or self._new_trainer(trials[0].hyperparameters, plan)
        try:
            if known is None:
                objective = self.training.objective
                monitor = {"monitor": objective.name, "mode": objective.direction}
                history = trainer.fit(**self.training.fit, **monitor, **rows)
            else:
                verbose = self.training.fit["verbose"]
                history = trainer.refit(plan.weights, plan.replica_seeds, verbose=verbose, **rows)
        except LostReplicasError as error:
            history, lost = error.history, error
        for trial in trials:  # `build` may have declared more hyperparameters, for all of them.
            trial.hyperparameters.merge(hp, overwrite=False)
        self._keep_trainer(structure, trainer, hp)
        return trainer, history, lost

    def _new_trainer(self, hp: Any, plan: Plan) -> tuple[ReplicaTrainer, Any]:
        """Returns a trainer for trials of one structure, and their hyperparameters."""
        make: Callable[..., ReplicaTrainer] = ReplicaTrainer
        model = self.hypermodel.build(hp)
        if self.training.pool is not None:
            build = functools.partial(self.hypermodel.build, hp.copy())
            make = functools.partial(DistributedTrainer, self.training.pool, build)
        trainer = make(
            model,
            plan.weights,
            plan.replica_seeds,
            engine=self.training.engine,
            replicas_per_program=self.training.replicas_per_program,
        )
        return trainer, hp

    def _keep_trainer(self, structure: str, trainer: ReplicaTrainer, hp: Any) -> None:
        self._trainers[structure] = trainer, hp
        while len(self._trainers) > MAX_TRAINERS:
            self._trainers.popitem(last=False)

    def _is_finished(self, history: ReplicaHistory, plan: Plan, setting: int) -> bool:
        done = history.epochs_done[plan.of_setting(setting)]
        return bool((done == self.training.fit["epochs"]).all())

    def _result(self, history: ReplicaHistory, plan: Plan, setting: int) -> TrialResult:
        objective = self.training.objective
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
        trial_logs.write(self.training.callbacks, trainer.model, history, trial, replicas)
        if result.metrics:
            checkpoints.save(trainer.model, self.training.inputs, folder)
        result.save(folder)  # This comes last, as it marks the trial as done.
