"""MeasuredSearch: what a search by cross-validation measured, and whether its winner is better."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from keras_physreg._utils.serialization import as_json
from keras_physreg.sweep.judgement import Scores, judge
from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.sweep.verdict import TermVerdict


@dataclass(frozen=True)
class Scored:
    """A trial or a baseline, scored at one epoch for all its splits and seeds.

    Args:
        trial_id: Id of the trial; `None` for a baseline.
        hyperparameters: The values of its hyperparameters; empty for a baseline.
        terms: The weight or ramp of each searched term.
        score: The geometric mean of its losses over splits and seeds; the plain mean where some
            are not above 0, or larger is better.
        epoch: The epoch at which it is scored, counted from 1.
        values: Its losses, of shape `(splits, seeds)`; NaN where a training diverged.
    """

    trial_id: str | None
    hyperparameters: dict[str, Any]
    terms: dict[str, Any]
    score: float
    epoch: int
    values: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON holds it; NaN becomes `None`."""
        terms = {name: as_json(w) if _is_number(w) else repr(w) for name, w in self.terms.items()}
        return as_json({**vars(self), "terms": terms})


@dataclass(frozen=True)
class MeasuredSearch:
    """What a search by cross-validation measured; for the arguments see `SearchReport`."""

    settings: SweepSettings
    direction: str
    completed: int
    winner: Scored
    runner_up: Scored | None
    baseline: Scored | None

    @cached_property
    def against_baseline(self) -> TermVerdict | None:
        """The verdict on the winner against all searched terms off."""
        return self._judge(self.baseline)

    @cached_property
    def against_runner_up(self) -> TermVerdict | None:
        """The verdict on the winner against the second best trial."""
        return self._judge(self.runner_up)

    @property
    def helps(self) -> bool:
        """Whether the winner is surely or probably better than all searched terms off."""
        verdict = self.against_baseline
        return verdict is not None and verdict.helps

    @property
    def recommended(self) -> Scored:
        """The setting to train with: the winner, or the baseline if the winner does not help."""
        if self.helps or self.baseline is None or not self.baseline.epoch:
            return self.winner
        return self.baseline

    @property
    def recommended_epochs(self) -> int:
        """The number of epochs to train on all labelled rows with the recommended setting.

        In the search, trainings have fewer rows, and so fewer steps per epoch. This number of
        epochs makes as many steps as the epoch at which the trial is scored.
        """
        return self.settings.epochs_on_all_rows(self.recommended.epoch)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON holds it; numbers that are not finite as `None`."""
        parts = {"winner": self.winner, "runner_up": self.runner_up, "baseline": self.baseline}
        verdicts = {
            "against_baseline": self.against_baseline,
            "against_runner_up": self.against_runner_up,
        }
        return {
            "settings": self.settings.to_dict(),
            "direction": self.direction,
            "completed": self.completed,
            **{name: part and part.to_dict() for name, part in parts.items()},
            **{name: verdict and verdict.to_dict() for name, verdict in verdicts.items()},
            "recommended_epochs": self.recommended_epochs,
        }

    def _judge(self, other: Scored | None) -> TermVerdict | None:
        """Returns the verdict on the winner against another trial; `None` if it is impossible."""
        splits = self.settings.splits
        if other is None or splits is None or other.values.shape != self.winner.values.shape:
            return None
        sign = 1 if self.direction == "min" else -1
        values = sign * np.stack([other.values, self.winner.values])
        scores = Scores(values, np.isnan(values), splits.mean_ratio)
        return judge(str(self.winner.trial_id), np.ones(1), scores, self.settings.rules)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
