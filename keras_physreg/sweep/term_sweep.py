"""TermSweep: the measurements of one term, baseline first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_physreg._utils.serialization import as_json

OPTIONAL = ("scored_epochs", "row_scores")


@dataclass(frozen=True)
class TermSweep:
    """The measurements of one term, with weights along the first axis, 0 (the baseline) first.

    Args:
        weights: The weights, ascending from 0, in units of 1 / loss; shape `(weights,)`.
        measured: The values at the scored epoch, of shape `(weights, splits, seeds)`, or with
            validation data `(weights, seeds)`: `"score"` (the monitor on held-out rows),
            `"train_score"` (the same on training rows), `"term_loss"` and `"val_term_loss"`. NaN
            where a training was not finished.
        diverged: Whether a training diverged, of the same shape.
        floor: The term's loss at the true labels of the training rows; `None` where there is none.
        val_floor: The same on held-out rows.
        others: The weights of the other terms.
        epochs: Epochs after which the trainings are compared: all, unless Ctrl-C ended them.
        scored_epochs: The epoch at which all trainings of a weight are scored, counted from 1; 0
            where there is none. `None` where each training was scored at an epoch of its own, as in
            files of version 0.1.
        row_scores: With validation data, the loss of each of its rows at the scored epoch, averaged
            over seeds, of shape `(weights, rows)`. It is a multiple of the mean over rows, or of
            the baseline's where scores are not above 0. `None` where unknown.
    """

    weights: np.ndarray
    measured: dict[str, np.ndarray]
    diverged: np.ndarray
    floor: float | None
    val_floor: float | None
    others: dict[str, float]
    epochs: int
    scored_epochs: np.ndarray | None = None
    row_scores: np.ndarray | None = None

    @property
    def cross_validated(self) -> bool:
        """Whether there are splits."""
        return self.diverged.ndim == 3

    @property
    def usable(self) -> np.ndarray:
        """Which trainings can be compared: those whose baseline was finished and is finite.

        Of shape `(seeds,)`, or with splits `(splits, seeds)`, where a split is left out as a whole.
        """
        good = np.isfinite(self.measured["score"][0]) & ~self.diverged[0]
        if not self.cross_validated:
            return good
        return np.broadcast_to(good.all(axis=1, keepdims=True), good.shape)

    def mean(self, quantity: str) -> np.ndarray:
        """Returns a quantity's mean over the comparable trainings; NaN if there are none."""
        values = self.measured[quantity][:, self.usable]
        return values.sum(axis=1) / (values.shape[1] or np.nan)

    @property
    def unfinished(self) -> np.ndarray:
        """Which trainings Ctrl-C ended before they could be compared."""
        return np.isnan(self.measured["score"]) & ~self.diverged

    @property
    def best_is_last(self) -> bool:
        """Whether the largest weight has the best mean score, and did not diverge."""
        scores = self.measured["score"][:, self.usable]
        if (scores[np.isfinite(scores)] > 0).all():
            scores = np.log(scores)  # As in the verdict, where gains are geometric means.
        unfit = np.isnan(scores) | self.diverged[:, self.usable]
        scores = np.where(unfit, np.inf, scores).sum(axis=1)
        return bool(np.isfinite(scores[-1]) and np.argmin(scores) == len(scores) - 1)

    @property
    def next_weight(self) -> float:
        """The weight that follows the last one at the ratio of the last two, rounded to 10 digits.

        Where the ratios of the weights differ, as in a linear grid, the ratio is at least 2.
        """
        ratios = self.weights[2:] / self.weights[1:-1] if len(self.weights) > 2 else [10.0]
        ratio = ratios[-1] if np.allclose(ratios, ratios[-1]) else max(ratios[-1], 2.0)
        return float(f"{self.weights[-1] * ratio:.10g}")

    def epoch_of(self, weight: float) -> int | None:
        """Returns the epoch at which a weight is scored, counted from 1, if there is one."""
        if self.scored_epochs is None:
            return None
        return int(self.scored_epochs[self.weights.tolist().index(weight)]) or None

    def extended(self, further: TermSweep) -> TermSweep:
        """Returns the sweep with further weights."""

        def joined(name: str) -> Any:
            parts = [getattr(sweep, name) for sweep in (self, further)]
            return None if any(part is None for part in parts) else np.concatenate(parts)

        measured = {k: np.concatenate([v, further.measured[k]]) for k, v in self.measured.items()}
        arrays = {name: joined(name) for name in ("weights", "diverged", *OPTIONAL)}
        return replace(self, measured=measured, **arrays)

    def to_dict(self) -> dict[str, Any]:
        """Returns the measurements as JSON holds them; NaN and infinity as `None`."""
        return as_json({name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TermSweep:
        """Rebuilds what `to_dict` returned, in this version or an earlier one."""
        optional = {k: None if values.get(k) is None else np.array(values[k]) for k in OPTIONAL}
        return cls(
            np.array(values["weights"], float),
            {k: np.array(v, float) for k, v in values["measured"].items()},
            np.array(values["diverged"], bool),
            values["floor"],
            values["val_floor"],
            values["others"],
            values["epochs"],
            **optional,
        )
