"""TermSweep: what was measured of one term, baseline first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_physreg.replicas import ReplicaHistory

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
        epochs: Epochs after which the trainings are compared: all, unless Ctrl-C ended them.
    """

    weights: np.ndarray
    measured: dict[str, np.ndarray]
    diverged: np.ndarray
    floor: float | None
    val_floor: float | None
    others: dict[str, float]
    epochs: int

    @property
    def usable(self) -> np.ndarray:
        """Whether a seed's baseline was finished, so that it can be compared with."""
        return np.isfinite(self.measured["score"][0]) & ~self.diverged[0]

    def mean(self, quantity: str) -> np.ndarray:
        """Returns a quantity's mean over the seeds with a baseline; NaN without any."""
        values = self.measured[quantity][:, self.usable]
        return values.sum(axis=1) / (values.shape[1] or np.nan)

    @property
    def unfinished(self) -> np.ndarray:
        """Whether a training was ended by Ctrl-C before it could be compared."""
        return np.isnan(self.measured["score"]) & ~self.diverged

    @property
    def best_is_last(self) -> bool:
        """Whether the largest weight has the best mean score, and did not diverge."""
        scores = self.measured["score"][:, self.usable]
        if (scores[np.isfinite(scores)] > 0).all():
            scores = np.log(scores)  # As in the verdict: gains are means of ratios.
        unfit = np.isnan(scores) | self.diverged[:, self.usable]
        scores = np.where(unfit, np.inf, scores).sum(axis=1)
        return bool(np.isfinite(scores[-1]) and np.argmin(scores) == len(scores) - 1)

    @property
    def next_weight(self) -> float:
        """The weight after the last one, by the ratio of the last two, rounded as in a decimal.

        In a grid of other than equal ratios, such as a linear one, the ratio is 2 at least.
        """
        ratios = self.weights[2:] / self.weights[1:-1] if len(self.weights) > 2 else [10.0]
        ratio = ratios[-1] if np.allclose(ratios, ratios[-1]) else max(ratios[-1], 2.0)
        return float(f"{self.weights[-1] * ratio:.10g}")

    def extended(self, further: TermSweep) -> TermSweep:
        """Returns the sweep with further weights, whose own baseline is left out."""
        measured = {k: np.concatenate([v, further.measured[k]]) for k, v in self.measured.items()}
        return replace(
            self,
            weights=np.concatenate([self.weights, further.weights]),
            measured=measured,
            diverged=np.concatenate([self.diverged, further.diverged]),
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
            "epochs": self.epochs,
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
            values["epochs"],
        )


def compared_epochs(epochs_done: np.ndarray) -> int:
    """Returns after how many epochs trainings are compared.

    After Ctrl-C some are ahead of others, and all must be compared after equally many: those at
    which most epochs of trainings count. Whoever has done fewer is left out, and so are those
    whose baseline has.

    Args:
        epochs_done: The epochs of each setting (baseline first) and seed.
    """

    def counted(epochs: int) -> int:
        return epochs * int(np.sum((epochs_done >= epochs) & (epochs_done[0] >= epochs)))

    return int(max(epochs_done.ravel(), key=counted))


def measure(
    history: ReplicaHistory, term: str, monitor: str, score: str, epochs: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Reads the scored epoch of each replica from the logs.

    Args:
        history: What `ReplicaTrainer.fit` returned.
        term: Name of the term.
        monitor: The log that is the score.
        score: `"best"`: at each replica's best epoch; `"last"`: at the last.
        epochs: Epochs to look at; a replica that did not get so far has NaN.

    Returns:
        The quantities by name, and whether each replica diverged: arrays of shape `(replicas,)`.
        Diverged is what was trained: where the physics is finite on training rows, and NaN on
        held-out ones, only the term's loss on these is NaN.
    """
    logs = {
        "score": monitor,
        "train_score": monitor.removeprefix("val_"),
        "term_loss": f"{term}_loss",
        "val_term_loss": f"val_{term}_loss",
    }
    finished = (history.epochs_done >= epochs) & (epochs > 0)
    if not finished.any():
        return {key: np.full(history.replicas, np.nan) for key in logs}, finished
    scores = np.asarray(history.history[monitor], "float64")[:epochs]
    usable = np.where(np.isfinite(scores), scores, np.inf)
    at = usable.argmin(axis=0) if score == "best" else np.full(history.replicas, epochs - 1)
    read = {k: np.asarray(history.history[log], "float64") for k, log in logs.items()}
    values = {k: v[at, np.arange(history.replicas)] for k, v in read.items()}
    bad = ~np.isfinite(scores) | ~np.isfinite(history.history["loss"][:epochs])
    measured = {k: np.where(finished & np.isfinite(v), v, np.nan) for k, v in values.items()}
    return measured, finished & bad.any(axis=0)


def _finite(values: np.ndarray) -> list:
    return [[v if np.isfinite(v) else None for v in row] for row in values.tolist()]
