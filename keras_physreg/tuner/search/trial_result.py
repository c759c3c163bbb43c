"""What came of a trial, and its files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from keras_tuner.engine.trial import TrialStatus

from keras_physreg.sweep import ReplicaHistory
from keras_physreg.tuner.search.atomic_files import read_json, replacing, write_json

HISTORY = "history.csv"
RESULT = "result.json"


@dataclass(frozen=True)
class TrialResult:
    """What came of a trial.

    Args:
        status: `"COMPLETED"`, `"FAILED"` or, where another attempt may help, `"INVALID"`.
        message: Why it did not complete.
        metrics: Every log at the best epoch, a mean over executions.
        step: The best epoch, a mean over executions.
        best_execution: The execution with the best objective.
    """

    status: str
    message: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    step: int = 0
    best_execution: int = 0

    def save(self, folder: Path) -> None:
        """Writes the result: from now on the trial is done."""
        write_json(folder / RESULT, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> TrialResult | None:
        """Returns the result in a trial's folder, if there is one."""
        state = read_json(folder / RESULT)
        return None if state is None else cls(**state)


def result_of(history: ReplicaHistory, replicas: Sequence[int], objective: Any) -> TrialResult:
    """Returns the result of a trial from its executions.

    Each execution counts at the epoch that is best by the objective, and the trial is their mean:
    as KerasTuner has it for the histories of `fit`.

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


def scalars(history: ReplicaHistory) -> list[str]:
    """Returns the keys of the logs that are one number an epoch."""
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
