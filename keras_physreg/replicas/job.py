"""Job: one training of all replicas."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np

from keras_physreg.inspection import weight_variable
from keras_physreg.replicas.batches import Batches, Cut
from keras_physreg.replicas.replica_points import ReplicaPoints
from keras_physreg.replicas.replica_step import ReplicaStep
from keras_physreg.replicas.row_orders import RowOrders
from keras_physreg.replicas.row_sets import RowSets
from keras_physreg.replicas.start_weights import StartWeights
from keras_physreg.replicas.step_counter import StepCounter
from keras_physreg.replicas.streamed_rows import Streamed, StreamedRows
from keras_physreg.replicas.weight_table import WeightTable


@dataclass(frozen=True)
class Job:
    """One training of all replicas; see `ReplicaTrainer.fit`.

    Args:
        step: The step of one replica.
        starts: Makes the initial weights of the replicas.
        table: The term weights of all replicas.
        seeds: One seed per replica, or `None`.
        train: The training data; without `rows` every replica trains on all of it.
        validation: Held-out data on which all replicas are scored, or `None`.
        epochs: Number of epochs.
        shuffle: Whether to shuffle the rows before each epoch.
        log_names: The keys that `fit` logs.
        monitor: Log by which each replica's best epoch is found.
        sign: 1 if a smaller monitor is better, -1 if a larger one is.
        progress: Called with the number of epochs times replicas done.
        begin: Number of batches that the optimizer had seen before.
        streamed: Rows that join the training steps, and are not the same in each of them.
        points: Point sets, or `None`.
        rows: The training rows and held-out rows of each replica, or `None`.
        validation_batch_size: Rows per batch of held-out rows.
        orders: Draws the orders of the rows.
    """

    step: ReplicaStep
    starts: StartWeights
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
    streamed: StreamedRows = field(default_factory=StreamedRows)
    points: ReplicaPoints | None = None
    rows: RowSets | None = None
    validation_batch_size: int = 32
    orders: RowOrders = field(default_factory=RowOrders)

    @property
    def replicas(self) -> int:
        """The number of replicas."""
        return self.table.replicas

    def points_in_use(self) -> AbstractContextManager:
        """Gives the model the point sets of the training."""
        model = self.step.model
        return contextlib.nullcontext() if self.points is None else self.points.in_use(model)

    @property
    def own_orders(self) -> tuple[bool, bool]:
        """Whether each replica has its own order of labelled, and of other, rows."""
        by_seed = self.shuffle and self.seeds is not None
        return by_seed or self.rows is not None, by_seed

    @property
    def is_scored(self) -> bool:
        """Whether there is held-out data."""
        own = self.rows is not None and self.rows.held_out is not None
        return own or self.validation is not None

    @property
    def term_positions(self) -> list[int]:
        """The positions of the swept term weights among the state variables."""
        variables = [weight_variable(self.step.model, name) for name in self.table.terms]
        positions = {id(variable): i for i, variable in enumerate(self.step.variables.state)}
        return [positions[id(variable)] for variable in variables]

    @property
    def step_counter(self) -> StepCounter:
        """The optimizer's step at each batch, for schedules that count steps."""
        return StepCounter.of(self.step.model, self.begin)

    def cut(self, replica: int) -> Cut:
        """Returns the division of a replica's training rows into batches."""
        size = self.train.size if self.rows is None else len(self.rows.train[replica])
        return Cut(size, self.train.batch_size)

    def held_out(self, replica: int) -> Batches | None:
        """Returns the data on which a replica is scored, or `None`."""
        if self.rows is None or self.rows.held_out is None:
            return self.validation
        rows = self.rows.held_out[replica]
        return Batches(self.train.take(rows), self.validation_batch_size)

    def starting_weights(self) -> list[np.ndarray]:
        """Returns the initial weights and state of all replicas, replicas first."""
        variables = self.step.variables
        values = self.starts.of(self.replicas, self.seeds)
        first = self.table.steps(0, 1, 1, self.step_counter)[0, 0]
        for column, position in enumerate(self.term_positions):
            values[len(variables.trainable) + position] = first[:, column]
        return values

    def inputs(
        self, replicas: np.ndarray, first: int, epochs: int
    ) -> tuple[np.ndarray, Streamed, np.ndarray]:
        """Returns the orders and weights of some replicas, with equally many rows, in some epochs.

        Args:
            replicas: Positions of the replicas.
            first: The first of these epochs, counted from 0.
            epochs: Number of epochs.

        Returns:
            The orders of the labelled rows, of shape `(epochs, rows)` or, where each replica has
            its own, `(epochs, replicas, rows)`; the rows beside them; and the term weights of shape
            `(epochs, steps, replicas, terms)`.
        """
        cut = self.cut(replicas[0])
        seeds = [0 if self.seeds is None else self.seeds[k] for k in replicas]
        own, own_streamed = self.own_orders
        some = seeds if own else seeds[:1]
        orders = self.orders.of(some, first, epochs, cut.size, self.shuffle)
        if self.rows is not None:
            rows = np.stack([self.rows.train[k] for k in replicas])
            orders = np.take_along_axis(rows[np.newaxis], orders, axis=2)
        before = self.begin + first * cut.steps
        more = self.streamed.of(seeds, before, epochs, cut.steps, self.shuffle, own_streamed)
        weights = self.table.steps(first, epochs, cut.steps, self.step_counter, replicas)
        return orders if own else orders[:, 0], more, weights
