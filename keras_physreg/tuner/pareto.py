"""pareto_front: the trials of a search that trade the data loss off against a term's loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras_tuner
import numpy as np

from keras_physreg._utils.errors import received
from keras_physreg.tuner import pareto_picture, pareto_text
from keras_physreg.tuner.pareto_rows import ParetoRow, ParetoRows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_TERMS = ("val_loss", "val_data_loss", "val_physics_loss")


@dataclass(frozen=True)
class ParetoFront(ParetoRows):
    """The data loss and a term's loss of each trial of a search; `print(front)` shows the front.

    Args:
        term: Name of the term.
        data_loss: Name of the log that is the data loss.
        rows: The completed trials, ordered by data loss, the smallest first.
    """

    def summary(self) -> str:
        """Returns a table of the front and the chosen trial, and sentences about them."""
        return pareto_text.report(self)

    def __str__(self) -> str:
        return self.summary()

    def plot(self) -> Figure:
        """Draws all trials, the front and the chosen trial; see `plot_pareto`.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        return pareto_picture.plot_pareto(self)


def pareto_front(
    tuner: keras_tuner.Tuner, term: str, data_loss: str = "val_data_loss"
) -> ParetoFront:
    """Finds the trials that trade the data loss off against a term's loss.

    A trial is on the front unless another trial is as good in both losses and better in one. Both
    losses are unweighted, and taken at the epoch at which the trial's objective was best.

    Args:
        tuner: Any KerasTuner tuner, after its search, or created again on its project folder.
        term: Name of the term whose validation loss is the second objective.
        data_loss: Name of the log that is the data loss. For a model other than a `PhysicsModel`,
            give `val_<metric>` of a compiled metric for which smaller is better.

    Returns:
        A `ParetoFront`.

    Raises:
        TypeError: If `tuner` is not a KerasTuner tuner.
        ValueError: If no trial was completed, or no trial logged the losses.

    Example:
    ```python
    front = kp.pareto_front(tuner, "z")
    print(front.summary())
    front.plot()
    model = tuner.hypermodel.build(tuner.oracle.get_trial(front.front[-1].trial_id).hyperparameters)
    ```
    """
    trials = _completed_trials(tuner)
    _check_logged(trials, term, data_loss)
    names = [data_loss, f"val_{term}_loss"]
    losses = np.array([[_value(trial, name) for name in names] for trial in trials])
    on_front = _on_front(losses)
    chosen = tuner.oracle.get_best_trials(1)[0].trial_id
    rows = [
        ParetoRow(
            trial_id=trial.trial_id,
            data_loss=float(data),
            term_loss=float(of_term),
            hyperparameters=dict(trial.hyperparameters.values),
            on_front=bool(front),
            chosen=trial.trial_id == chosen,
        )
        for trial, (data, of_term), front in zip(trials, losses, on_front, strict=True)
    ]
    return ParetoFront(term, data_loss, tuple(sorted(rows, key=_sort_key)))


def _sort_key(row: ParetoRow) -> tuple[float, float, str]:
    # NaN cannot be ordered: it goes last.
    data, term = np.nan_to_num([row.data_loss, row.term_loss], nan=np.inf).tolist()
    return data, term, row.trial_id


def _completed_trials(tuner: Any) -> list[Any]:
    if not isinstance(tuner, keras_tuner.Tuner):
        raise TypeError("`tuner` must be a `keras_tuner.Tuner`. " + received("tuner", tuner))
    if not isinstance(tuner.oracle, keras_tuner.Oracle):
        raise ValueError(
            "A worker of a distributed search does not have all trials: call `pareto_front` in the "
            f"process of the chief, after its `search`. {received('tuner.oracle', tuner.oracle)}"
        )
    trials = list(tuner.oracle.trials.values())
    completed = [trial for trial in trials if trial.status == "COMPLETED"]
    if not completed:
        statuses = {trial.trial_id: trial.status for trial in trials}
        raise ValueError(
            "No trial was completed, so there is no front. For the reasons see "
            f"`tuner.oracle.trials[trial_id].message`. Received trials: {statuses}"
        )
    return completed


def _check_logged(trials: list[Any], term: str, data_loss: str) -> None:
    logs = sorted({name for trial in trials for name in trial.metrics.metrics})
    terms = [
        name.removeprefix("val_").removesuffix("_loss")
        for name in logs
        if name.startswith("val_") and name.endswith("_loss") and name not in NO_TERMS
    ]
    if term not in terms:
        raise ValueError(
            f"No completed trial logged the validation loss of a term {term!r}. Give one of these "
            f"terms as `term`: {terms}. {received('term', term)}"
        )
    if data_loss not in logs:
        raise ValueError(
            f"No completed trial logged {data_loss!r}, the data loss. Give one of these logs of "
            f"validation rows as `data_loss`: {logs}. {received('data_loss', data_loss)}"
        )


def _value(trial: Any, name: str) -> float:
    """Returns a log at the trial's best step; NaN where the trial has none there."""
    if not trial.metrics.exists(name):
        return np.nan
    observations = trial.metrics.get_history(name)
    return next((float(o.mean()) for o in observations if o.step == trial.best_step), np.nan)


def _on_front(losses: np.ndarray) -> np.ndarray:
    """Returns which rows no other row dominates; rows that are not finite are never on the front.

    Args:
        losses: Both losses of each row, of shape `(rows, 2)`.
    """
    as_good = (losses[:, None] <= losses[None]).all(axis=-1)
    better = (losses[:, None] < losses[None]).any(axis=-1)
    finite = np.isfinite(losses).all(axis=-1)
    return finite & ~(as_good & better & finite[:, None]).any(axis=0)
