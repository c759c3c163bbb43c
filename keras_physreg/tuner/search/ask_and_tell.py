"""Rounds of a search: trials are asked for, trained and told of, many at a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from keras_physreg.tuner.search import failures
from keras_physreg.tuner.search.group_trainer import CannotTrainError, GroupTrainer
from keras_physreg.tuner.search.grouping import grouped
from keras_physreg.tuner.search.trial_result import TrialResult

SOME = 3  # As many failures in a row end a search of KerasTuner.


class Rounds:
    """Asks a tuner's oracle for trials, has them trained, and tells it what came of them.

    Args:
        tuner: The `ReplicaTuner`.
        trainer: Trains groups of trials.
    """

    def __init__(self, tuner: Any, trainer: GroupTrainer) -> None:
        self.tuner, self.trainer = tuner, trainer
        self._raised = 0  # Trials in a row.

    def ask(self) -> list[Any]:
        """Returns the next trials, saved before any of them is trained; none at the end."""
        ongoing = self.tuner.oracle.ongoing_trials  # After Ctrl-C in a notebook there are some.
        trials = list(ongoing.values())
        names = [f"{self.tuner.tuner_id}-{k}" for k in range(self.tuner.replicas)]
        for name in [name for name in names if name not in ongoing]:
            trial = self._ask_one(name, waiting=not trials)
            if trial is None:
                break
            self.tuner.events.append(["asked", trial.trial_id])
            trials.append(trial)
        if trials:
            self.tuner.save()
        return trials

    def _ask_one(self, name: str, waiting: bool) -> Any:
        """Returns a trial; `None` if there is none, or none now."""
        while True:
            self.tuner.pre_create_trial()
            trial = self.tuner.oracle.create_trial(name)
            if trial.status == TrialStatus.RUNNING:
                return trial
            if trial.status == TrialStatus.STOPPED or not waiting:
                return None
            time.sleep(0.1)

    def run(self, trials: list[Any]) -> None:
        """Trains trials that are not trained yet, and tells the oracle about all."""
        errors: list[tuple[Any, Any]] = []
        for trial in trials:
            self.tuner.on_trial_begin(trial)
        for structure, group in grouped(trials, self.tuner.hypermodel.hyperparameter_names).items():
            known = {
                t.trial_id: TrialResult.load(Path(self.tuner.get_trial_dir(t.trial_id)))
                for t in group
            }
            todo = [trial for trial in group if known[trial.trial_id] is None]
            self._tell([trial for trial in group if trial not in todo], known)
            try:
                interrupted, done = self.trainer.train(structure, todo) if todo else (False, {})
            except CannotTrainError as error:
                errors += [(trial, error.__cause__) for trial in todo]
                continue
            self._tell([trial for trial in todo if trial.trial_id in done], done)
            if interrupted:
                self.tuner.save()
                raise KeyboardInterrupt
        self._tell_errors(errors, trials)

    def _tell(self, trials: list[Any], results: dict[str, Any]) -> None:
        for trial in trials:
            result = results[trial.trial_id]
            if result.metrics:
                self.tuner.oracle.update_trial(trial.trial_id, result.metrics, step=result.step)
            trial.status, trial.message = result.status, result.message
            self.tuner.on_trial_end(trial)

    def _tell_errors(self, errors: list[tuple[Any, Any]], trials: list[Any]) -> None:
        """Tells of trials that raised; raises where the cause is none of the trials' own.

        So it is where all trials of a round raise, and there were some, or none has completed yet.
        """
        meant = any(isinstance(e, keras_tuner.errors.FailedTrialError) for _, e in errors)
        told = {trial_id for event, trial_id in self.tuner.events if event != "asked"}
        new = any(trial.trial_id not in told for trial in trials)  # No round of second attempts.
        all_raised = len(errors) == len(trials) and new and not meant
        self._raised = self._raised + len(errors) if all_raised else 0
        few = self._raised < SOME and self.tuner.get_best_hyperparameters()
        if all_raised and not few:
            raise errors[0][1]
        for trial, error in errors:
            self._tell([trial], {trial.trial_id: failures.raised(error)})
