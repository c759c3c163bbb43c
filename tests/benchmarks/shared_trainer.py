"""ReplicaTrainer for many labelled sets: programs are compiled once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_physreg.replicas import ReplicaHistory, ReplicaTrainer


class SharedTrainer:
    """Trains on labelled sets of one table, each set a choice of its rows.

    It stands in for the class `ReplicaTrainer` within `sanity_sweep`, which is given the rows of a
    set as `x` and `y`. The whole table is the data of the programs; row numbers of the set become
    row numbers of the table. So the trainings are those of `ReplicaTrainer` on the set, and only
    the first set compiles.

    Args:
        x: Inputs of the table, `(rows, ...)`.
        y: Labels of the table.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y
        self.labelled = np.arange(len(x))
        self._trainer: ReplicaTrainer | None = None

    def __call__(
        self, model: Any, weights: dict[str, Any], seeds: Sequence[int], **arguments: Any
    ) -> _OnOneSet:
        """Returns what serves as a `ReplicaTrainer` on the labelled rows of now."""
        return _OnOneSet(self, weights, seeds, {"model": model, **arguments})

    def train(
        self,
        weights: dict[str, Any],
        seeds: Sequence[int],
        rows: Sequence[np.ndarray],
        validation_rows: Sequence[np.ndarray],
        created: dict[str, Any],
        fit: dict[str, Any],
        refit: dict[str, Any] | None = None,
    ) -> ReplicaHistory:
        """Trains replicas on rows of the table.

        Args:
            weights: As of `ReplicaTrainer`.
            seeds: Likewise.
            rows: The training rows of each replica.
            validation_rows: The held-out rows of each replica.
            created: Further arguments of `ReplicaTrainer`, for the first time.
            fit: Further arguments of its `fit`, for the first time.
            refit: Further arguments of its `refit`, later.
        """
        at = {"rows": rows, "validation_rows": validation_rows}
        if self._trainer is None:
            self._trainer = ReplicaTrainer(weights=weights, seeds=seeds, **created)
            return self._trainer.fit(self.x, self.y, **fit, **at)
        return self._trainer.refit(weights, seeds, **{"verbose": 0, **(refit or {})}, **at)


class _OnOneSet:
    """What `sanity_sweep` calls."""

    def __init__(
        self,
        shared: SharedTrainer,
        weights: dict[str, Any],
        seeds: Sequence[int],
        created: dict[str, Any],
    ) -> None:
        self._shared, self._weights, self._seeds = shared, weights, seeds
        self._created = created

    def fit(self, x: Any, y: Any, rows: Any, validation_rows: Any, **fit: Any) -> ReplicaHistory:
        assert np.array_equal(x, self._shared.x[self._shared.labelled])
        at = self._of_table(rows), self._of_table(validation_rows)
        return self._shared.train(self._weights, self._seeds, *at, self._created, fit)

    def refit(
        self, weights: Any, seeds: Any, rows: Any, validation_rows: Any, **refit: Any
    ) -> ReplicaHistory:
        at = self._of_table(rows), self._of_table(validation_rows)
        return self._shared.train(weights, seeds, *at, self._created, {}, refit)

    def _of_table(self, rows: Any) -> list[np.ndarray]:
        return [self._shared.labelled[r] for r in rows]
