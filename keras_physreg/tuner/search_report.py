"""SearchReport: how sure it is that the winner of a search by cross-validation is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras_tuner.engine.trial import TrialStatus

from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.tuner import report_text
from keras_physreg.tuner.measured import MeasuredSearch, Scored
from keras_physreg.tuner.search.trial_result import TrialResult


@dataclass(frozen=True)
class SearchReport(MeasuredSearch):
    """How sure it is that the winner of a search by cross-validation is better; print it.

    The verdicts are `against_baseline` and `against_runner_up`; `recommended` is the trial or the
    baseline to train, for `recommended_epochs` on all rows.

    Args:
        settings: Rows, splits, seeds and epochs.
        direction: `"min"` or `"max"`: whether a small or a large objective is better.
        completed: The number of trials that completed.
        winner: The best trial.
        runner_up: The second best trial, or `None` where only one completed.
        baseline: The winner's model with all searched terms off, or `None` if it was not trained.
    """

    def summary(self) -> str:
        """Returns the report as text, with the code to train on all labelled rows."""
        return report_text.report(self)

    def __str__(self) -> str:
        return self.summary()


def search_report(
    oracle: Any,
    settings: SweepSettings,
    schedules: Callable[[Any], dict[str, Any]],
    result: Callable[[str], TrialResult | None],
    baseline: Callable[[str], TrialResult | None],
) -> SearchReport:
    """Returns the report on a search.

    Args:
        oracle: The oracle, with its trials.
        settings: Rows, splits, seeds and epochs.
        schedules: Function from the hyperparameters of a trial to the weight or ramp of each term.
        result: Function from the id of a trial to its result.
        baseline: Function from the name of a baseline to its result.

    Raises:
        ValueError: If no trial has completed.
    """
    trials = oracle.get_best_trials(len(oracle.trials))
    completed = [trial for trial in trials if trial.status == TrialStatus.COMPLETED]
    if not completed:
        statuses = {trial.trial_id: trial.status for trial in trials}
        raise ValueError(
            "No trial has completed, so there is nothing to report: call `search` first. Received "
            f"trials: {statuses}"
        )
    found = [_scored(trial, result(trial.trial_id), schedules) for trial in completed[:2]]
    winner = result(completed[0].trial_id)
    off = None if winner is None or winner.baseline is None else baseline(winner.baseline)
    return SearchReport(
        settings=settings,
        direction=oracle.objective.direction,
        completed=len(completed),
        winner=found[0],
        runner_up=found[1] if len(found) > 1 else None,
        baseline=None if off is None else _baseline(off, found[0], oracle.objective.name),
    )


def _scored(
    trial: Any, result: TrialResult | None, schedules: Callable[[Any], dict[str, Any]]
) -> Scored:
    return Scored(
        trial_id=trial.trial_id,
        hyperparameters=dict(trial.hyperparameters.values),
        terms=schedules(trial.hyperparameters),
        score=float(trial.score),
        epoch=int(trial.best_step) + 1,
        values=np.zeros((0, 0)) if result is None else result.values,
    )


def _baseline(result: TrialResult, winner: Scored, objective: str) -> Scored:
    values = result.values
    known = values[np.isfinite(values)]  # Trainings that diverged have NaN.
    plain = float(known.mean()) if known.size else float("nan")
    geometric = float(np.exp(np.log(known).mean())) if (known > 0).all() else plain
    return Scored(
        trial_id=None,
        hyperparameters={},
        terms=dict.fromkeys(winner.terms, 0.0),
        score=result.metrics.get(objective, geometric),
        epoch=result.step + 1 if known.size else 0,
        values=values,
    )
