"""The loop of a search: it asks for many trials at once, trains them, and tells the results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from keras_physreg.tuner.search import failures, progress_lines
from keras_physreg.tuner.search.group_trainer import CannotTrainError, GroupTrainer
from keras_physreg.tuner.search.grouping import grouped
from keras_physreg.tuner.search.search_state import SearchState

MIN_RAISED_IN_A_ROW = 3  # Trials that raise in a row and end the search, as in KerasTuner.


@dataclass(frozen=True)
class Hooks:
    """The methods of a tuner that its subclasses may override; the loop calls them.

    Args:
        pre_create_trial: Called before the oracle is asked for a trial.
        on_trial_begin: Called with a trial before it is trained.
        on_trial_end: Called with a trial after it was trained; it calls `SearchState.end`.
        save: Called to save the search.
    """

    pre_create_trial: Callable[[], None]
    on_trial_begin: Callable[[Any], None]
    on_trial_end: Callable[[Any], None]
    save: Callable[[], None]


class AskAndTell:
    """Asks an oracle for trials, trains them, and tells it the results.

    A round consists of new trials or of repeated trials, never of both. So no trial is running when
    the oracle makes the first proposal of a round. The oracle therefore proposes the same trials
    whether the search was interrupted or not.

    Args:
        state: The state of the search.
        trainer: The trainer of groups of trials.
        names: Tuner ids under which the oracle is asked, one per trial of a round.
        physics: Names of the hyperparameters in which replicas of one model may differ.
        hooks: The methods of the tuner that the loop calls.
    """

    def __init__(
        self,
        state: SearchState,
        trainer: GroupTrainer,
        names: list[str],
        physics: set[str],
        hooks: Hooks,
    ) -> None:
        self.state, self.trainer, self.names = state, trainer, names
        self.physics, self.hooks = physics, hooks
        self._raised_in_a_row = 0

    def run_all(self, failure_limit: int | None, quiet: bool) -> None:
        """Runs all remaining trials, round by round.

        Args:
            failure_limit: Failures in a row that end the search; `None` for no limit.
            quiet: Whether to print nothing.
        """
        oracle = self.state.oracle
        trials = self.ask()
        if not trials and not quiet:
            print(progress_lines.nothing_left(oracle, self.state.project.folder))
        while trials:
            begin, ended = time.perf_counter(), len(oracle.end_order)
            self.run(trials)
            self.hooks.save()
            if not quiet:
                print(progress_lines.round_done(oracle, trials, time.perf_counter() - begin))
            failures.check_run(oracle, failure_limit, ended)
            trials = self.ask()

    def ask(self) -> list[Any]:
        """Returns the next trials, after saving them; an empty list at the end of the search."""
        trials = self.state.begun
        if not trials:
            to_repeat = self.state.to_repeat
            for name in self.names[: to_repeat or None]:
                trial = self._ask_one(name, waiting=not trials)
                if trial is None:
                    break
                trials.append(trial)
        if trials:
            self.hooks.save()
        return trials

    def _ask_one(self, name: str, waiting: bool) -> Any:
        """Returns a trial; `None` at the end, or if the oracle has none now and `waiting` is off.

        Args:
            name: Tuner id under which the oracle is asked.
            waiting: Whether to wait while the oracle is idle.
        """
        while True:
            self.hooks.pre_create_trial()
            trial = self.state.ask(name)
            if trial.status == TrialStatus.RUNNING:
                return trial
            if trial.status == TrialStatus.STOPPED or not waiting:
                return None
            time.sleep(0.1)

    def run(self, trials: list[Any]) -> None:
        """Trains the trials that have no result yet, and tells the oracle about all."""
        errors: list[tuple[Any, Any]] = []
        for trial in trials:
            self.hooks.on_trial_begin(trial)
        for structure, group in grouped(trials, self.physics).items():
            known = self.trainer.results(group)
            todo = [trial for trial in group if trial.trial_id not in known]
            self._tell(group, known)
            try:
                interrupted, done = self.trainer.train(structure, todo) if todo else (False, {})
            except CannotTrainError as error:
                self._tell(todo, error.done)
                lost = [trial for trial in todo if trial.trial_id not in error.done]
                errors += [(trial, error.__cause__) for trial in lost]
                continue
            self._tell(todo, done)
            if interrupted:
                self.hooks.save()
                raise KeyboardInterrupt
        self._tell_errors(errors, trials)

    def _tell(self, trials: list[Any], results: dict[str, Any]) -> None:
        """Tells the oracle the results of those trials that have one."""
        for trial in trials:
            result = results.get(trial.trial_id)
            if result is None:
                continue
            if result.metrics:
                self.state.oracle.update_trial(trial.trial_id, result.metrics, step=result.step)
            trial.status, trial.message = result.status, result.message
            self.hooks.on_trial_end(trial)

    def _tell_errors(self, errors: list[tuple[Any, Any]], trials: list[Any]) -> None:
        """Tells the oracle of trials that raised, or raises if the cause is not in the trials.

        The cause is elsewhere if all trials of a round raise, and no trial has completed yet or at
        least three raised in a row.
        """
        intended = any(isinstance(e, keras_tuner.errors.FailedTrialError) for _, e in errors)
        new = not all(self.state.was_told(trial) for trial in trials)  # Else second attempts.
        all_raised = len(errors) == len(trials) and new and not intended
        self._raised_in_a_row = self._raised_in_a_row + len(errors) if all_raised else 0
        few = self._raised_in_a_row < MIN_RAISED_IN_A_ROW and self._any_completed()
        if all_raised and not few:
            raise errors[0][1]
        for trial, error in errors:
            self._tell([trial], {trial.trial_id: failures.raised(error)})

    def _any_completed(self) -> bool:
        trials = self.state.oracle.trials.values()
        return any(trial.status == TrialStatus.COMPLETED for trial in trials)
