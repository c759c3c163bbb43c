"""TermSweep: what was measured of one term, baseline first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_physreg.sweep.replicas import ReplicaHistory

QUANTITIES = ("score", "train_score", "term_loss", "val_term_loss")


@dataclass(frozen=True)
class TermSweep:
    """The trainings of one term: weights along the first axis, 0 (the baseline) first.

    Args:
        weights: The weights, ascending from 0, in units of 1 / loss; shape `(weights,)`.
        measured: `"score"` (the monitor, on validation data), `"train_score"` (its counterpart on
            training data), `"term_loss"` and `"val_term_loss"`: arrays of shape
            `(weights, seeds)`, at the scored epoch; NaN where a training was not finished.
        diverged: Whether a training diverged, of the same shape.
        floor: The term's loss at the true labels of the training data; `None` where there is none.
        val_floor: The same on validation data.
        others: The other terms' weights meanwhile.
    """

    weights: np.ndarray
    measured: dict[str, np.ndarray]
    diverged: np.ndarray
    floor: float | None
    val_floor: float | None
    others: dict[str, float]

    @property
    def best_is_last(self) -> bool:
        """Whether the largest weight has the best mean score, and did not diverge."""
        scores = np.where(self.diverged, np.inf, self.measured["score"]).mean(axis=1)
        scores = np.where(np.isnan(scores), np.inf, scores)
        return bool(np.isfinite(scores[-1]) and np.argmin(scores) == len(scores) - 1)

    @property
    def next_weight(self) -> float:
        """The weight after the last one, by the ratio of the last two; rounded as in a decimal."""
        ratio = self.weights[-1] / self.weights[-2] if len(self.weights) > 2 else 10.0
        return float(f"{self.weights[-1] * ratio:.10g}")

    def extended(self, further: TermSweep) -> TermSweep:
        """Returns the sweep with further weights, whose own baseline is left out."""
        measured = {k: np.concatenate([v, further.measured[k]]) for k, v in self.measured.items()}
        return TermSweep(
            np.concatenate([self.weights, further.weights]),
            measured,
            np.concatenate([self.diverged, further.diverged]),
            self.floor,
            self.val_floor,
            self.others,
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns plain Python values; NaN and infinity, which JSON lacks, as `None`."""
        return {
            "weights": self.weights.tolist(),
            "measured": {k: _finite(v) for k, v in self.measured.items()},
            "diverged": self.diverged.tolist(),
            "floor": self.floor,
            "val_floor": self.val_floor,
            "others": self.others,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TermSweep:
        """Rebuilds what `to_dict` returned."""
        return cls(
            np.array(values["weights"], float),
            {k: np.array(v, float) for k, v in values["measured"].items()},
            np.array(values["diverged"], bool),
            values["floor"],
            values["val_floor"],
            values["others"],
        )


def measure(
    history: ReplicaHistory, term: str, monitor: str, score: str
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Reads the scored epoch of each replica from the logs.

    Args:
        history: What `ReplicaTrainer.fit` returned.
        term: Name of the term.
        monitor: The log that is the score.
        score: `"best"`: at each replica's best epoch; `"last"`: at the last.

    Returns:
        The quantities by name, and whether each replica diverged; arrays of shape `(replicas,)`.
    """
    logs = {
        "score": monitor,
        "train_score": monitor.removeprefix("val_"),
        "term_loss": f"{term}_loss",
        "val_term_loss": f"val_{term}_loss",
    }
    # After Ctrl-C some replicas are ahead: all are compared after equally many epochs.
    started = history.epochs_done[history.epochs_done > 0]
    epochs = int(started.min()) if len(started) else 0
    scores = np.asarray(history.history[monitor], "float64")[:epochs]
    usable = np.where(np.isfinite(scores), scores, np.inf)
    at = usable.argmin(axis=0) if score == "best" else np.full(history.replicas, epochs - 1)
    read = {k: np.asarray(history.history[log], "float64") for k, log in logs.items()}
    values = {k: v[at, np.arange(history.replicas)] for k, v in read.items()}
    return {k: np.where(np.isfinite(v), v, np.nan) for k, v in values.items()}, history.diverged


def _finite(values: np.ndarray) -> list:
    return [[v if np.isfinite(v) else None for v in row] for row in values.tolist()]
