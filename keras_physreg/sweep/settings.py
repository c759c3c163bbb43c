"""SweepSettings: how a sweep was made."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from keras_physreg._utils.serialization import as_json
from keras_physreg.sweep.judgement import Rules
from keras_physreg.sweep.splits import Splits

# The score without labelled rows: the loss of one term may be small where others are violated.
ALL_TERMS = "sum of val_<term>_loss"


@dataclass(frozen=True)
class SweepSettings:
    """How a sweep was made.

    Args:
        monitor: The log that is the score, or `ALL_TERMS`; smaller is better.
        score: `"best"` or `"last"`: the epoch whose score counts.
        epochs: Epochs of every training, unless Ctrl-C ended it; see `TermSweep.epochs`.
        terms: The terms to sweep.
        seeds: The seeds; with splits those of the first split. Each other split has as many.
        min_effect: Smallest relative change of the score that matters.
        confidence: Probability that all intervals of a term hold together.
        engine: Name of the engine that trained the replicas.
        seconds: Duration of the sweep, in seconds.
        interrupted: Whether Ctrl-C ended the sweep.
        labelled: Number of rows of `x` and `y`; 0 if there are points alone; `None` where unknown,
            as in files of version 0.1.
        held_out: Number of rows of `validation_data`, or `None`.
        splits: The splits of cross-validation, or `None`.
        batch_size: Rows per batch; `None` where unknown.
        others: What the other terms do while one is swept: `"zero"`, `"best"`, `"keep"`, or
            `"given"` for weights that the user gave.
        others_weights: The weight of each term of the model while another one is swept; with
            `"best"`, before the first one was. Empty in files of earlier versions.
        constants_only: Names of the terms that train constants only.
        points: Points per training step, by term.
        points_batch_size: As `sanity_sweep` received it.
        held_out_points: Points on which the losses of terms are computed, by term.
        steps_per_epoch: Steps per epoch, where there are no labelled rows.
    """

    monitor: str
    score: str
    epochs: int
    terms: list[str]
    seeds: list[int]
    min_effect: float
    confidence: float
    engine: str
    seconds: float
    interrupted: bool
    labelled: int | None = None
    held_out: int | None = None
    splits: Splits | None = None
    batch_size: int | None = None
    others: str = "zero"
    others_weights: dict[str, float] = field(default_factory=dict)
    constants_only: list[str] = field(default_factory=list)
    points: dict[str, int] = field(default_factory=dict)
    points_batch_size: Any = None
    held_out_points: dict[str, int] = field(default_factory=dict)
    steps_per_epoch: int | None = None

    @property
    def has_rows(self) -> bool:
        """Whether there are labelled rows, and not points alone."""
        return self.labelled != 0

    @property
    def is_scored_at_points(self) -> bool:
        """Whether the score is a loss at held-out points, and not on held-out rows."""
        return self.scored_at is not None or not self.has_rows

    @property
    def scored_at(self) -> str | None:
        """The term whose loss at held-out points is the score; `None` if rows are scored."""
        found = (t for t in self.held_out_points if self.monitor == f"val_{t}_loss")
        return next(found, None)

    def is_held_out(self, term: str) -> bool:
        """Returns whether the loss of a term is computed on held-out rows or points."""
        own = term in self.points or not self.has_rows
        return term in self.held_out_points or not own

    @property
    def rules(self) -> Rules:
        """The thresholds of the verdicts."""
        return Rules(self.min_effect, self.confidence)

    @property
    def seeds_of_splits(self) -> list[list[int]]:
        """The seeds of each split, all different; without splits, one list with all seeds."""
        if self.splits is None:
            return [self.seeds]
        step = max(self.seeds) + 1
        return [[seed + split * step for seed in self.seeds] for split in range(self.splits.count)]

    @property
    def trained_on(self) -> list[int]:
        """The numbers of training rows per training, ascending; empty where unknown.

        Where the sizes of splits differ by one, all trainings have the smaller size.
        """
        if self.splits is None:
            return [] if self.labelled is None else [self.labelled]
        sizes = sorted({len(rows) for rows in self.splits.train})
        return sizes[:1] if sizes[-1] - sizes[0] <= 1 else sizes

    def epochs_on_all_rows(self, epochs: int) -> int:
        """Returns how many epochs on all labelled rows make as many steps as these of the sweep."""
        if self.splits is None or self.batch_size is None:
            return epochs
        least = self.trained_on[0]
        sizes = [least if len(rows) <= least + 1 else len(rows) for rows in self.splits.train]
        steps = float(np.mean([math.ceil(size / self.batch_size) for size in sizes]))
        return max(1, round(epochs * steps / math.ceil(self.splits.rows / self.batch_size)))

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as JSON holds them."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return as_json(values | {"splits": self.splits and self.splits.to_dict()})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SweepSettings:
        """Rebuilds what `to_dict` returned, in this version or an earlier one."""
        splits = values.get("splits")
        return cls(**{**values, "splits": None if splits is None else Splits.from_dict(splits)})
