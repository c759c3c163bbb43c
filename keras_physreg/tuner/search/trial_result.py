"""TrialResult: the result of a trial, and its file."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from keras_tuner.engine.trial import TrialStatus

from keras_physreg._utils.serialization import as_json
from keras_physreg.tuner.search.atomic_files import write_json
from keras_physreg.tuner.search.grouping import is_baseline_name
from keras_physreg.tuner.search.state_file import NotAStateError, read_object

RESULT = "result.json"
STATUSES = (TrialStatus.COMPLETED, TrialStatus.FAILED, TrialStatus.INVALID)
TYPES = {
    "message": str | None,
    "metrics": dict,
    "step": int,
    "best_execution": int,
    "scores": list,
    "baseline": str | None,
}


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

    Args:
        status: `"COMPLETED"`, `"FAILED"`, or `"INVALID"` if another attempt may help.
        message: The reason why it did not complete, or a note on its score.
        metrics: Every log at the best epoch, the mean over executions. In cross-validation, logs
            are taken at one common epoch, and the mean of the objective is geometric.
        step: The best epoch, counted from 0; without cross-validation the mean over executions.
        best_execution: The execution with the best objective.
        scores: In cross-validation, the objective of each execution at `step`, of shape `(splits,
            seeds)`; `None` for executions that diverged.
        baseline: In cross-validation, the name of the baseline on the same splits and seeds.
    """

    status: str
    message: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    step: int = 0
    best_execution: int = 0
    scores: list[list[float | None]] = field(default_factory=list)
    baseline: str | None = None

    @property
    def values(self) -> np.ndarray:
        """The `scores` as an array of shape `(splits, seeds)`, NaN where they are `None`."""
        return np.array(self.scores, "float64")

    def save(self, folder: Path) -> None:
        """Writes the result to the trial's folder, which marks the trial as done."""
        write_json(folder / RESULT, as_json(asdict(self)))

    @classmethod
    def load(cls, folder: Path, objective: str) -> TrialResult | None:
        """Returns the result in a trial's folder, if there is one.

        Args:
            folder: The folder.
            objective: Key of the log that a completed trial must have.

        Raises:
            ValueError: If the file does not hold a result.
        """
        path = folder / RESULT
        if not path.exists():
            return None
        try:
            return cls(**_checked(path, objective))
        except NotAStateError as error:
            raise ValueError(f"{error} Delete the file to train the trial again.") from error


def _checked(path: Path, objective: str) -> dict[str, Any]:
    """Returns the arguments of a result, or raises."""
    what = "result of a trial"
    state = read_object(path, what, {"status": str}, TYPES)
    wrong = None
    if state["status"] not in STATUSES:
        wrong = f"its status must be one of {STATUSES}, but it is {state['status']!r}"
    elif not all(_is_finite(value) for value in state.get("metrics", {}).values()):
        wrong = f"`metrics` must be finite numbers, but there are {state['metrics']}"
    elif state["status"] == TrialStatus.COMPLETED and objective not in state.get("metrics", {}):
        wrong = f"the trial is completed, but has no `{objective}`"
    elif not _is_table(state.get("scores", [])):
        wrong = f"`scores` must be equally many numbers per split, but there are {state['scores']}"
    elif not (state.get("baseline") is None or is_baseline_name(state["baseline"])):
        wrong = f"`baseline` must be of hexadecimal digits, but there is {state['baseline']!r}"
    if wrong:
        raise NotAStateError(f"{path} is no {what}: {wrong}.")
    return state


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_table(rows: list[Any]) -> bool:
    if not all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows):
        return False
    return all(value is None or _is_finite(value) for row in rows for value in row)
