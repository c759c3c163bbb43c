"""The result of a trial, computed from the logs of its executions."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras_tuner.engine.trial import TrialStatus

from keras_physreg.replicas.plan import Plan
from keras_physreg.sweep import ReplicaHistory
from keras_physreg.sweep.scoring import scored_epoch
from keras_physreg.tuner.search.atomic_files import replacing
from keras_physreg.tuner.search.trial_result import TrialResult

HISTORY = "history.csv"
NOT_ABOVE_0 = (
    "Scored by the plain mean of its losses, as some are not above 0. Trials whose losses are all "
    "above 0 are scored by the geometric mean."
)


def result_of(history: ReplicaHistory, replicas: Sequence[int], objective: Any) -> TrialResult:
    """Returns the result of a trial from its executions.

    Each execution counts at the epoch with its best objective, and the result is the mean over
    executions. KerasTuner treats the histories of `fit` in the same way.

    Args:
        history: Logs of all replicas.
        replicas: Positions of the trial's executions.
        objective: The objective, with `name` and `direction`.
    """
    diverged = history.diverged_at[replicas]
    if (diverged >= 0).any():
        return TrialResult(TrialStatus.FAILED, _diverged(history, replicas, diverged))
    best = history.best_epoch[replicas]
    if (best < 0).any():
        text = f"Diverged: '{objective.name}' is not finite in any epoch."
        return TrialResult(TrialStatus.FAILED, text)
    logs = {key: history.at_best(key)[replicas] for key in scalars(history)}
    metrics = {key: float(np.mean(v)) for key, v in logs.items() if np.isfinite(v).all()}
    scores = logs[objective.name] * (1 if objective.direction == "min" else -1)
    return TrialResult(
        TrialStatus.COMPLETED,
        metrics=metrics,
        step=int(np.mean(best)),
        best_execution=int(np.argmin(scores)),
    )


def result_of_splits(history: ReplicaHistory, plan: Plan, setting: int, objective: Any) -> Any:
    """Returns the result of a trial whose executions are splits of the rows, times seeds.

    All executions count at one epoch, the one with the smallest mean logarithm of the objective.
    The score is the exponential of that mean. For an objective that is maximised or not above 0 it
    is the plain mean.

    Args:
        history: Logs of all replicas.
        plan: The layout of the replicas.
        setting: Position of the trial among the settings.
        objective: The objective, with `name` and `direction`.
    """
    replicas = plan.of_setting(setting)
    diverged = history.diverged_at[replicas]
    good = diverged < 0
    sign = 1 if objective.direction == "min" else -1
    curves = sign * np.asarray(history.history[objective.name], "float64")[:, replicas].T
    epoch = scored_epoch(curves, good) - 1
    if epoch < 0:
        text = f"Diverged: '{objective.name}' is not finite in any epoch."
        return TrialResult(TrialStatus.FAILED, text)
    scores = np.where(good, sign * curves[:, epoch], np.nan)
    table = scores.reshape(plan.shape[1:]).tolist()
    if not good.all():
        text = _diverged(history, replicas, diverged)
        return TrialResult(TrialStatus.FAILED, text, step=epoch, scores=table)
    logs = {key: np.asarray(history.history[key][epoch, replicas]) for key in scalars(history)}
    metrics = {key: float(np.mean(v)) for key, v in logs.items() if np.isfinite(v).all()}
    above_0 = (scores > 0).all()
    if sign == 1 and above_0:
        metrics[objective.name] = float(np.exp(np.log(scores).mean()))
    return TrialResult(
        TrialStatus.COMPLETED,
        message=NOT_ABOVE_0 if sign == 1 and not above_0 else None,
        metrics=metrics,
        step=epoch,
        best_execution=int(np.argmin(sign * scores)),
        scores=table,
    )


def scalars(history: ReplicaHistory) -> list[str]:
    """Returns the keys of the logs with one number per epoch and replica."""
    return [key for key, values in history.history.items() if values.ndim == 2]


def write_history(path: Path, history: ReplicaHistory, replicas: Sequence[int]) -> None:
    """Writes all logs of a trial's executions as CSV."""
    keys = scalars(history)
    with replacing(path) as new, new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["execution", "epoch", *keys])
        for execution, replica in enumerate(replicas):
            for epoch in range(history.epochs_done[replica]):
                values = [float(history.history[key][epoch, replica]) for key in keys]
                writer.writerow([execution, epoch, *values])


def _diverged(history: ReplicaHistory, replicas: Sequence[int], epochs: np.ndarray) -> str:
    execution = int(np.argmax(epochs >= 0))
    seed = "" if history.seeds is None else f" (seed {history.seeds[replicas[execution]]})"
    return (
        f"Diverged: the loss of execution {execution}{seed} is not finite in epoch "
        f"{epochs[execution] + 1} of {len(history.epoch)}."
    )
