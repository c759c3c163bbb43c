"""Outcome: the weights and logs of all replicas after a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Trained:
    """The weights and logs of some replicas after a training.

    Args:
        replicas: Positions of the replicas.
        logs: Arrays of shape `(epochs done, replicas, ...)`.
        last: Their weights at the end, replicas first.
        best: Their weights at their best epochs, replicas first.
        best_epoch: Their best epochs, counted from 0; -1 for a replica without one.
    """

    replicas: np.ndarray
    logs: dict[str, np.ndarray] = field(default_factory=dict)
    last: list[np.ndarray] = field(default_factory=list)
    best: list[np.ndarray] = field(default_factory=list)
    best_epoch: np.ndarray = field(default_factory=lambda: np.zeros(0, int))

    @property
    def epochs(self) -> int:
        """The number of epochs done."""
        return len(next(iter(self.logs.values()), ()))

    def append(self, logs: dict[str, np.ndarray]) -> None:
        """Adds the logs of further epochs."""
        for key, value in logs.items():
            known = [self.logs[key]] if key in self.logs else []
            self.logs[key] = np.concatenate([*known, value])


@dataclass(frozen=True)
class Outcome:
    """All replicas after a training; weights have the replicas first, logs the epochs."""

    variables: list[Any]
    initial: list[np.ndarray]
    last: list[np.ndarray]
    best: list[np.ndarray]
    logs: dict[str, np.ndarray]
    best_epoch: np.ndarray
    epochs_done: np.ndarray
    interrupted: bool
    engine: str
    compile_seconds: float

    @classmethod
    def of(
        cls,
        variables: list[Any],
        log_names: Sequence[str],
        initial: list[np.ndarray],
        groups: list[Trained],
        **described: Any,
    ) -> Outcome:
        """Joins groups of replicas; logs of epochs that were not reached are NaN.

        Args:
            variables: The variables that make up a replica.
            log_names: The keys that `fit` logs.
            initial: The initial weights of all replicas.
            groups: The groups, which together have all replicas.
            **described: The further fields.
        """
        replicas = len(initial[0])
        last, best = [value.copy() for value in initial], [value.copy() for value in initial]
        best_epoch = np.full(replicas, -1)
        epochs_done = np.zeros(replicas, int)
        epochs = max(group.epochs for group in groups)
        nothing = np.full((epochs, replicas), np.nan, "float32")
        logs = {} if epochs else dict.fromkeys(log_names, nothing)
        for group in groups:
            epochs_done[group.replicas] = group.epochs
            if not group.epochs:
                continue
            best_epoch[group.replicas] = group.best_epoch
            for many, some in [
                *zip(last, group.last, strict=True),
                *zip(best, group.best, strict=True),
            ]:
                many[group.replicas] = some
            for key, value in group.logs.items():
                shape = (epochs, replicas, *value.shape[2:])
                array = logs.setdefault(key, np.full(shape, np.nan, "float32"))
                array[: group.epochs, group.replicas] = value
        return cls(variables, initial, last, best, logs, best_epoch, epochs_done, **described)
