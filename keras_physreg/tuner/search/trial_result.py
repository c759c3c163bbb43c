"""The result of a trial, and its files."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from keras_tuner.engine.trial import TrialStatus

from keras_physreg.sweep import ReplicaHistory
from keras_physreg.tuner.search.atomic_files import replacing, write_json
from keras_physreg.tuner.search.state_file import NotAStateError, read_object

HISTORY = "history.csv"
RESULT = "result.json"
STATUSES = (TrialStatus.COMPLETED, TrialStatus.FAILED, TrialStatus.INVALID)
TYPES = {"message": str | None, "metrics": dict, "step": int, "best_execution": int}


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

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
    def load(cls, folder: Path, objective: str) -> TrialResult | None:
        """Returns the result in a trial's folder, if there is one.

        Args:
            folder: The folder.
            objective: The log that a completed trial must have.

        Raises:
            ValueError: If the file holds no result.
        """
        path = folder / RESULT
        if not path.exists():
            return None
        try:
            return cls(**_checked(path, objective))
        except NotAStateError as error:
            raise ValueError(f"{error} Delete the file: the trial is trained again.") from error


def _checked(path: Path, objective: str) -> dict[str, Any]:
    """Returns the arguments of a result, or raises."""
    what = "result of a trial"
    state = read_object(path, what, {"status": str}, TYPES)
    wrong = None
    if state["status"] not in STATUSES:
        wrong = f"its status is {state['status']!r}, where one of {STATUSES} should be"
    elif not all(_is_finite(value) for value in state.get("metrics", {}).values()):
        wrong = f"`metrics` are finite numbers, but there are {state['metrics']}"
    elif state["status"] == TrialStatus.COMPLETED and objective not in state.get("metrics", {}):
        wrong = f"the trial is completed, but has no `{objective}`"
    if wrong:
        raise NotAStateError(f"{path} is no {what}: {wrong}.")
    return state


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


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
    """Returns the keys of the logs that are one number per epoch."""
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
