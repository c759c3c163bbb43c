"""TrialTraining: the settings with which every trial of a search is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_physreg.executors.pool import Pool
from keras_physreg.replicas.plan import Plan
from keras_physreg.replicas.replica_points import rows_to_build_on
from keras_physreg.sweep.settings import SweepSettings


@dataclass(frozen=True)
class TrialTraining:
    """The settings with which every trial of a search is trained.

    Args:
        fit: Arguments of `ReplicaTrainer.fit`.
        objective: The objective of the search.
        seeds: One seed per execution, in cross-validation those of the first split. `None`: one
            execution, from the weights of `build`.
        engine: See `ReplicaTrainer`.
        replicas_per_program: See `ReplicaTrainer`.
        callbacks: Callbacks that write logs.
        splits: The settings of cross-validation with its splits, or `None`.
        pool: The workers of an executor that train the replicas, or `None`.
    """

    fit: dict[str, Any]
    objective: Any
    seeds: list[int] | None
    engine: str
    replicas_per_program: int | None
    callbacks: list[Any]
    splits: SweepSettings | None = None
    pool: Pool | None = None

    @property
    def inputs(self) -> Any:
        """Inputs of the model: those of the labelled rows, or else of the first points."""
        options = (self.fit.get("points"), self.fit.get("points_batch_size"))
        return rows_to_build_on(self.fit["x"], *options)

    def plan(self, settings: Sequence[Mapping[str, Any]]) -> Plan:
        """Returns the plan of the replicas for the executions of trials.

        Args:
            settings: The weight or schedule of each term, trial by trial.
        """
        if self.splits is None or self.splits.splits is None:
            return Plan.of(settings, self.seeds)
        splits = self.splits.splits
        seeds = None if self.seeds is None else self.splits.seeds_of_splits
        return Plan.of(settings, seeds, list(zip(splits.train, splits.held_out, strict=True)))
