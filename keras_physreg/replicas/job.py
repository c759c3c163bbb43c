"""What is to be trained, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_physreg.inspection import weight_variable
from keras_physreg.replicas.batches import Batches
from keras_physreg.replicas.replica_step import ReplicaStep
from keras_physreg.replicas.start_weights import starting_weights
from keras_physreg.replicas.unlabelled_rows import UnlabelledRows
from keras_physreg.replicas.weight_table import WeightTable, row_orders


@dataclass(frozen=True)
class Job:
    """One training of all replicas; see `ReplicaTrainer.fit`.

    `begin` is the number of steps that the optimizer takes over; it counts on while replicas train
    in turn.
    """

    step: ReplicaStep
    table: WeightTable
    seeds: list[int] | None
    train: Batches
    validation: Batches | None
    epochs: int
    shuffle: bool
    log_names: list[str]
    monitor: str
    sign: int
    progress: Callable[[int], None]
    begin: int = 0
    unlabelled: UnlabelledRows | None = None

    @property
    def replicas(self) -> int:
        """The number of replicas."""
        return self.table.replicas

    @property
    def term_positions(self) -> list[int]:
        """The positions of the swept term weights among the state variables."""
        variables = [weight_variable(self.step.model, name) for name in self.table.terms]
        positions = {id(variable): i for i, variable in enumerate(self.step.variables.state)}
        return [positions[id(variable)] for variable in variables]

    def starting_weights(self) -> list[np.ndarray]:
        """Returns the weights and state that the replicas start from, replicas first."""
        variables = self.step.variables
        values = starting_weights(self.step.model, variables, self.replicas, self.seeds)
        first = self.weights_of_steps(0, 1)[0, 0]
        for column, position in enumerate(self.term_positions):
            values[len(variables.trainable) + position] = first[:, column]
        return values

    def weights_of_steps(self, first: int, epochs: int) -> np.ndarray:
        """Returns the term weights, of shape `(epochs, steps, replicas, terms)`."""
        return self.table.steps(first, epochs, self.train.steps, self.begin)

    def inputs(self, replicas: np.ndarray, first: int, epochs: int) -> tuple[Any, Any, Any]:
        """Returns what some replicas need for some epochs.

        Returns:
            The orders of the labelled rows, those of the unlabelled ones, and the term weights.
        """
        seeds = [0 if self.seeds is None else self.seeds[k] for k in replicas]
        orders = row_orders(seeds, first, epochs, self.train.size, self.shuffle)
        more = np.zeros((epochs, 0), "int32")
        if self.unlabelled is not None:
            steps = self.train.steps
            before = self.begin + first * steps
            more = self.unlabelled.orders(seeds, before, epochs, steps, self.shuffle)
        weights = self.weights_of_steps(first, epochs)[:, :, replicas]
        return self._of_one_shape(orders, replicas), self._of_one_shape(more, replicas), weights

    def _of_one_shape(self, orders: np.ndarray, replicas: np.ndarray) -> np.ndarray:
        """Returns an order a replica where the seeds of all differ: a program takes one shape."""
        differ = self.shuffle and len(set(self.seeds or ())) > 1
        if not differ or orders.ndim == 3:
            return orders
        return np.repeat(orders[:, np.newaxis], len(replicas), axis=1)


@dataclass
class Trained:
    """What came of some replicas.

    Args:
        replicas: Their positions.
        logs: Arrays of shape `(epochs done, replicas, ...)`.
        last: Their weights at the end, replicas first.
        best: Their weights at their best epochs, replicas first.
        best_epoch: Their best epochs; -1 where there is none.
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
    """All replicas after the training; weights have the replicas first, logs the epochs."""

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
        cls, job: Job, initial: list[np.ndarray], groups: list[Trained], **described: Any
    ) -> "Outcome":
        """Puts groups of replicas together; what was not reached is NaN."""
        last, best = [value.copy() for value in initial], [value.copy() for value in initial]
        best_epoch = np.full(job.replicas, -1)
        epochs_done = np.zeros(job.replicas, int)
        epochs = max(group.epochs for group in groups)
        nothing = np.full((epochs, job.replicas), np.nan, "float32")
        logs = {} if epochs else dict.fromkeys(job.log_names, nothing)
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
                shape = (epochs, job.replicas, *value.shape[2:])
                array = logs.setdefault(key, np.full(shape, np.nan, "float32"))
                array[: group.epochs, group.replicas] = value
        variables = job.step.variables.weights
        return cls(variables, initial, last, best, logs, best_epoch, epochs_done, **described)
