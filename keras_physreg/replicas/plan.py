"""Plan: the layout of replicas, every setting on every split with every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Plan:
    """The layout of replicas: settings x splits x seeds.

    Replicas are ordered by setting, then by split, then by seed: the position of a replica is
    `(setting * splits + split) * seeds + seed`.

    Args:
        settings: The settings to train: each a dict from term name to weight or schedule, all with
            the same terms.
        seeds: One sequence of seeds per split, of equal lengths; the same for every setting.
            `None`: one training per setting and split, from the model's present weights.
        splits: Pairs `(training rows, held-out rows)` of row numbers. If empty, all replicas train
            on all rows.

    Raises:
        ValueError: If there are no settings, their terms differ, or the sequences of seeds differ
            in length or are not one per split.

    Example:
    >>> plan = Plan.of([{"mass": 0.0}, {"mass": 1.0}], seeds=[7, 8, 9])
    >>> plan.shape, plan.replicas
    ((2, 1, 3), 6)
    >>> plan.weights
    {'mass': [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]}
    >>> plan.replica_seeds
    [7, 8, 9, 7, 8, 9]
    >>> plan.position(4), plan.index(1, 0, 1)
    ((1, 0, 1), 4)
    """

    settings: tuple[Mapping[str, Any], ...]
    seeds: tuple[tuple[int, ...], ...] | None = None
    splits: tuple[tuple[np.ndarray, np.ndarray], ...] = ()

    def __post_init__(self) -> None:
        if not self.settings:
            raise ValueError(
                "A plan needs at least one setting: a dict from term name to weight. Received: "
                "settings=()"
            )
        terms = [tuple(setting) for setting in self.settings]
        if len(set(terms)) > 1:
            raise ValueError(
                "All settings must have the same terms in the same order. Received settings with "
                f"the terms {[list(names) for names in dict.fromkeys(terms)]}"
            )
        if self.seeds is not None:
            counts = [len(seeds) for seeds in self.seeds]
            if len(counts) != self.shape[1] or len(set(counts)) != 1 or not counts[0]:
                raise ValueError(
                    f"`seeds` must have one sequence per split ({self.shape[1]}), all of the same "
                    f"length, at least 1. Received: sequences of lengths {counts}"
                )

    @classmethod
    def of(
        cls,
        settings: Sequence[Mapping[str, Any]],
        seeds: Sequence[int] | Sequence[Sequence[int]] | None = None,
        splits: Sequence[tuple[Any, Any]] = (),
    ) -> Plan:
        """Makes a plan from lists and arrays.

        Args:
            settings: See `Plan`.
            seeds: One sequence of seeds per split, or one sequence for all splits.
            splits: See `Plan`.
        """
        pairs = tuple((np.asarray(train), np.asarray(test)) for train, test in splits)
        if seeds is None:
            return cls(tuple(settings), None, pairs)
        shared = not any(np.ndim(row) for row in seeds)
        rows: Any = [seeds] * max(len(pairs), 1) if shared else seeds
        return cls(tuple(settings), tuple(tuple(map(int, row)) for row in rows), pairs)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The numbers of settings, splits and seeds, each at least 1."""
        seeds = 1 if self.seeds is None else len(self.seeds[0])
        return len(self.settings), max(len(self.splits), 1), seeds

    @property
    def replicas(self) -> int:
        """The number of replicas."""
        return int(np.prod(self.shape))

    def index(self, setting: int, split: int = 0, seed: int = 0) -> int:
        """Returns the replica of a setting, a split and a seed, by their positions."""
        return int(np.ravel_multi_index((setting, split, seed), self.shape))

    def position(self, replica: int) -> tuple[int, int, int]:
        """Returns the positions of a replica's setting, split and seed."""
        setting, split, seed = np.unravel_index(replica, self.shape)
        return int(setting), int(split), int(seed)

    def of_setting(self, setting: int) -> list[int]:
        """Returns the replicas of a setting, ordered by split, then by seed."""
        count = self.shape[1] * self.shape[2]
        return list(range(setting * count, (setting + 1) * count))

    def reshape(self, values: Any) -> np.ndarray:
        """Returns one value per replica, `(replicas, ...)`, as `(settings, splits, seeds, ...)`."""
        values = np.asarray(values)
        return values.reshape(*self.shape, *values.shape[1:])

    def curves(self, log: Any) -> np.ndarray:
        """Returns a log `(epochs, replicas, ...)` as `(settings, splits, seeds, epochs, ...)`."""
        return self.reshape(np.moveaxis(np.asarray(log), 0, 1))

    @property
    def weights(self) -> dict[str, list[Any]]:
        """The weights of all replicas, for `ReplicaTrainer(weights=)`."""
        each = self.shape[1] * self.shape[2]
        return {
            term: [setting[term] for setting in self.settings for _ in range(each)]
            for term in self.settings[0]
        }

    @property
    def replica_seeds(self) -> list[int] | None:
        """The seeds of all replicas, for `ReplicaTrainer(seeds=)`."""
        if self.seeds is None:
            return None
        return [seed for _ in self.settings for seeds in self.seeds for seed in seeds]

    @property
    def rows(self) -> list[np.ndarray] | None:
        """The training rows of all replicas, for `ReplicaTrainer.fit(rows=)`, or `None`."""
        return self._of_splits(0)

    @property
    def validation_rows(self) -> list[np.ndarray] | None:
        """The held-out rows of all replicas, for `ReplicaTrainer.fit(validation_rows=)`."""
        return self._of_splits(1)

    def _of_splits(self, part: int) -> list[np.ndarray] | None:
        if not self.splits:
            return None
        settings, _, seeds = self.shape
        return [pair[part] for _ in range(settings) for pair in self.splits for _ in range(seeds)]
