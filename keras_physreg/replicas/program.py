"""Trains some replicas in one compiled program: all their state is stacked, replicas first."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.ops import convert_to_numpy, convert_to_tensor

from keras_physreg.replicas.batches import Batches
from keras_physreg.replicas.best import Best
from keras_physreg.replicas.optimizers import constrain, stacked_optimizer
from keras_physreg.replicas.replica_step import ReplicaStep, Updates
from keras_physreg.replicas.unlabelled_rows import UnlabelledRows


@dataclass(frozen=True)
class Settings:
    """What all programs of a training have in common.

    Args:
        train: Training data, cut into batches.
        validation: Validation data, or `None`.
        epochs: Epochs that one call of a program trains at most.
        terms: Positions of the term weights that are swept, among the state variables.
        monitor: Log by which each replica's best epoch is kept.
        sign: 1 where a smaller monitor is better, -1 where a larger one is.
        unlabelled: Unlabelled rows that join the training steps, or `None`.
    """

    train: Batches
    validation: Batches | None
    epochs: int
    terms: list[int]
    monitor: str
    sign: int
    unlabelled: UnlabelledRows | None = None

    def train_batch(self, rows: Any, more: Any = None) -> Any:
        """Returns the batch of a training step, from row numbers."""
        batch = self.train.take(rows)
        return batch if self.unlabelled is None else self.unlabelled.beside(batch, more)

    def train_rows(self, order: Any, more: Any, step: Any) -> tuple:
        """Returns the row numbers of a training step, from the orders of its epoch."""
        last = isinstance(step, int) and step == self.train.full
        rows = self.train.rest_rows(order) if last else self.train.rows(order, step)
        return (rows,) if self.unlabelled is None else (rows, self.unlabelled.rows(more, step))


class Program:
    """A compiled program that holds `size` replicas and trains them for some epochs a call.

    Args:
        step: The step of one replica.
        settings: What all programs have in common.
        size: Number of replicas.
        mapper: Applies a function to every replica; see `engines`.
        jit: Whether to compile with XLA.
    """

    def __init__(
        self, step: ReplicaStep, settings: Settings, size: int, mapper: Callable, jit: bool
    ) -> None:
        self.step, self.settings, self.size, self._map = step, settings, size, mapper
        self.trainable = [self._stacked(v) for v in step.variables.trainable]
        self.state = [self._stacked(v) for v in step.variables.state]
        self.metrics = [self._stacked(v) for v in step.variables.metrics]
        self._fresh_metrics = [convert_to_numpy(v) for v in step.variables.metrics]
        self.optimizer = stacked_optimizer(step.model.optimizer, self.trainable)
        self.fresh_optimizer = [convert_to_numpy(v) for v in self.optimizer.variables]
        self.best = Best([*self.trainable, *self.state], size)
        self.run = tf.function(self._run, autograph=False, jit_compile=jit)

    def load(self, weights: list[np.ndarray], optimizer: list[np.ndarray]) -> None:
        """Puts replicas into the program: arrays of shape `(size, ...)`, replicas first."""
        for variable, value in zip([*self.trainable, *self.state], weights, strict=True):
            variable.assign(value)
        for variable, value in zip(self.optimizer.variables, optimizer, strict=True):
            variable.assign(value)
        self.best.reset()

    def weights(self) -> list[np.ndarray]:
        """Returns the present weights and state, replicas first."""
        return [convert_to_numpy(v) for v in [*self.trainable, *self.state]]

    def finish(self) -> None:
        """Does what `fit` does after its last epoch: averaged weights replace the others."""
        self.optimizer.finalize_variable_values(self.trainable)

    def _run(self, orders: Any, more: Any, table: Any, first: Any, count: Any) -> dict[str, Any]:
        """Trains `count` epochs; returns the logs, of shape `(settings.epochs, size, ...)`."""

        def epoch(e: Any, logs: dict[str, Any]) -> Any:
            self._train(orders[e], more[e], table[e])
            values = self._logs()
            if self.settings.validation is not None:
                self._validate()
                values |= {f"val_{key}": value for key, value in self._logs().items()}
            score = self.settings.sign * tf.cast(values[self.settings.monitor], tf.float32)
            self.best.update(score, first + e)
            return e + 1, {key: log.write(e, values[key]) for key, log in logs.items()}

        _, logs = tf.while_loop(lambda e, _: e < count, epoch, [tf.constant(0), self._empty_logs()])
        return {key: log.stack() for key, log in logs.items()}

    def _train(self, order: Any, more: Any, table: Any) -> None:
        data, rows = self.settings.train, self.settings.train_rows
        self._reset_metrics()
        self._loop(data.full, lambda s: self._train_batch(rows(order, more, s), table[s]))
        if data.rest:
            self._train_batch(rows(order, more, data.full), table[data.full])

    def _validate(self) -> None:
        data = self.settings.validation
        assert data is not None
        order = tf.range(data.size)
        self._reset_metrics()
        self._loop(data.full, lambda s: self._test_batch(data.rows(order, s)))
        if data.rest:
            self._test_batch(data.rest_rows(order))

    def _train_batch(self, rows: tuple, weights: Any) -> None:
        for column, position in enumerate(self.settings.terms):
            self.state[position].assign(weights[:, column])
        updates = self._on_batch(self.step.train, self.settings.train_batch, rows)
        gradients = [updates.gradients.get(i) for i in range(len(self.trainable))]
        self.optimizer.apply(gradients, self.trainable)
        constrain(self.step.variables.trainable, self.trainable, self._map)
        self._assign(updates)

    def _test_batch(self, rows: Any) -> None:
        assert self.settings.validation is not None
        self._assign(self._on_batch(self.step.test, self.settings.validation.take, (rows,)))

    def _on_batch(self, function: Callable, take: Callable, rows: tuple) -> Updates:
        shared = None if len(rows[0].shape) > 1 else take(*rows)

        def replica(values: Any) -> Any:
            batch = take(*values["rows"]) if shared is None else shared
            updates = function(values["trainable"], values["state"], values["metrics"], batch)
            return updates.gradients, updates.state, updates.metrics

        values: dict[str, Any] = {
            "trainable": _tensors(self.trainable),
            "state": _tensors(self.state),
            "metrics": _tensors(self.metrics),
        }
        if shared is None:
            values["rows"] = rows
        return Updates(*self._map(replica, values))

    def _assign(self, updates: Updates) -> None:
        for position, value in updates.state.items():
            self.state[position].assign(value)
        for position, value in updates.metrics.items():
            self.metrics[position].assign(value)

    def _reset_metrics(self) -> None:
        for variable, value in zip(self.metrics, self._fresh_metrics, strict=True):
            variable.assign(tf.broadcast_to(tf.constant(value, variable.dtype), variable.shape))

    def _logs(self) -> dict[str, Any]:
        return self._map(self.step.logs, _tensors(self.metrics))

    def _empty_logs(self) -> dict[str, tf.TensorArray]:
        logs = self.step.logs([tf.constant(value) for value in self._fresh_metrics])
        if self.settings.validation is not None:
            logs |= {f"val_{key}": value for key, value in logs.items()}
        return {
            key: tf.TensorArray(
                value.dtype, self.settings.epochs, element_shape=(self.size, *value.shape)
            )
            for key, value in logs.items()
        }

    def _loop(self, count: int, body: Callable) -> None:
        if count <= 1:  # Without a loop less is compiled.
            if count:
                body(0)
            return

        def step(s: Any) -> Any:
            body(s)
            return s + 1

        tf.while_loop(lambda s: s < count, step, [tf.constant(0)], parallel_iterations=1)

    def _stacked(self, variable: keras.Variable) -> keras.Variable:
        return keras.Variable(
            np.zeros((self.size, *variable.shape)),
            dtype=variable.dtype,
            trainable=variable.trainable,
            name=variable.name,
        )


def _tensors(variables: list[keras.Variable]) -> list[Any]:
    return [convert_to_tensor(variable) for variable in variables]
