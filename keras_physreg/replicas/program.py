"""Program: trains some replicas in one compiled program, with their state stacked."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy, convert_to_tensor

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.replicas.batches import rows_of_step
from keras_physreg.replicas.best_weights import BestWeights
from keras_physreg.replicas.feed import Data
from keras_physreg.replicas.optimizers import constrain, stacked_optimizer, without_reduction
from keras_physreg.replicas.program_spec import ProgramSpec
from keras_physreg.replicas.replica_step import ReplicaStep, Updates
from keras_physreg.replicas.shared_run import SharedRun
from keras_physreg.replicas.streamed_rows import Streamed, joined
from keras_physreg.unlabelled.arrays import gather


class Program:
    """A compiled program that holds `size` replicas and trains them for some epochs per call.

    Args:
        step: The step of one replica.
        spec: The specification for which the program is compiled.
        size: Number of replicas.
        mapper: Applies a function to every replica; see `engines`.
        jit: Whether to compile with XLA.
        device: Name of the device that holds the variables and runs the program; `None` leaves it
            to TensorFlow.
    """

    def __init__(
        self,
        step: ReplicaStep,
        spec: ProgramSpec,
        size: int,
        mapper: Callable,
        jit: bool,
        device: str | None = None,
    ) -> None:
        self.lend(step)
        self.spec, self.size, self._map, self.device = spec, size, mapper, device
        with self.on_device():
            self._create_variables(step)
        self._owns_run = True
        self._shared = SharedRun(self._run, self._variables, jit, self.on_device)

    def _create_variables(self, step: ReplicaStep) -> None:
        self.trainable = [self._stacked(v) for v in step.variables.trainable]
        self.state = [self._stacked(v) for v in step.variables.state]
        self.metrics = [self._stacked(v) for v in step.variables.metrics]
        self._fresh_metrics = [convert_to_numpy(v) for v in step.variables.metrics]
        self.optimizer = stacked_optimizer(step.model.optimizer, self.trainable)
        self.fresh_optimizer = [convert_to_numpy(v) for v in self.optimizer.variables]
        self.best = BestWeights([*self.trainable, *self.state], self.size)

    def on_device(self) -> AbstractContextManager:
        """Places what is done in the block on the device of the program."""
        return contextlib.nullcontext() if self.device is None else tf.device(self.device)

    @property
    def step(self) -> ReplicaStep:
        """The step of one replica, which runs where the program is traced."""
        assert self._step is not None
        return self._step

    def lend(self, step: ReplicaStep | None) -> None:
        """Sets the step; `None` until the next training, as the step holds the model."""
        self._step = step

    @property
    def _variables(self) -> list[keras.Variable]:
        """The state of the program."""
        own = [*self.trainable, *self.state, *self.metrics]
        return [*own, *self.optimizer.variables, *self.best.variables]

    @property
    def bytes(self) -> int:
        """The bytes that the state of the program takes."""
        return sum(v.value.dtype.size * math.prod(v.shape) for v in self._variables)

    @property
    def compiles(self) -> int:
        """How often the program was compiled: once, unless its inputs change in shape.

        A program that shares what another one compiled counts 0.
        """
        return self._shared.compiles if self._owns_run else 0

    def share(self, other: Program) -> None:
        """Runs what another program compiles, which has the same specification and size."""
        self._owns_run, self._shared = False, other._shared

    def trace(self, *arguments: Any) -> None:
        """Traces the program for inputs of these shapes, unless it shares that of another one."""
        if self._owns_run:
            self._shared.trace(self._variables, *arguments)

    def run(self, *arguments: Any) -> dict[str, Any]:
        """Trains some epochs: see `_run`."""
        return self._shared(self._variables, *arguments)

    def load(self, weights: list[np.ndarray], optimizer: list[np.ndarray]) -> None:
        """Loads replicas into the program: arrays of shape `(size, ...)`, replicas first."""
        for variable, value in zip([*self.trainable, *self.state], weights, strict=True):
            variable.assign(value)
        for variable, value in zip(self.optimizer.variables, optimizer, strict=True):
            variable.assign(value)
        self.best.reset()

    def weights(self) -> list[np.ndarray]:
        """Returns the present weights and state, replicas first."""
        return [convert_to_numpy(v) for v in [*self.trainable, *self.state]]

    def finish(self) -> None:
        """Finalizes the weights, as `fit` does after its last epoch: averages replace them."""
        self.optimizer.finalize_variable_values(self.trainable)

    def _run(
        self, data: Data, orders: Any, more: Streamed, table: Any, first: Any, count: Any
    ) -> dict[str, Any]:
        """Trains `count` epochs; returns the logs, of shape `(spec.epochs, size, ...)`."""

        def epoch(e: Any, logs: dict[str, Any]) -> Any:
            self._train(data, orders[e], gather(more, e), table[e])
            values = self._logs()
            if self.spec.validation:
                self._validate(data)
                values |= self._of_validation(self._logs())
            score = self.spec.sign * tf.cast(values[self.spec.monitor], tf.float32)
            self.best.update(score, first + e)
            return e + 1, {key: log.write(e, values[key]) for key, log in logs.items()}

        _, logs = tf.while_loop(lambda e, _: e < count, epoch, [tf.constant(0), self._empty_logs()])
        return {key: log.stack() for key, log in logs.items()}

    def _train(self, data: Data, order: Any, more: Streamed, table: Any) -> None:
        cut, sizes = self.spec.train, self.spec.streamed

        def step(s: Any, rows: Any) -> None:
            drawn = gather(more.drawn, s)

            def take(rows: Any, *others: Any) -> Any:
                pairs = zip(sizes, others, strict=True)
                found = {name: gather(data.streamed[name], n) for (name, _), n in pairs}
                return joined(gather(data.train, rows), found | drawn)

            beside = [rows_of_step(more.numbers[name], s, count) for name, count in sizes]
            self._train_batch(take, [rows, *beside], table[s])

        self._reset_metrics()
        self._loop(cut.full, lambda s: step(s, cut.rows(order, s)))
        if cut.rest:
            step(cut.full, cut.rest_rows(order))

    def _train_batch(self, take: Callable, rows: list[Any], weights: Any) -> None:
        for column, position in enumerate(self.spec.terms):
            self.state[position].assign(weights[:, column])
        updates = self._on_batch(self.step.train, take, rows)
        self._apply(updates.gradients)
        constrain(self.step.variables.trainable, self.trainable, self._map)
        self._assign(updates)

    def _apply(self, gradients: dict[int, Any]) -> None:
        every = [gradients.get(i) for i in range(len(self.trainable))]
        without_reduction(lambda: self.optimizer.apply(every, self.trainable))

    def _validate(self, data: Data) -> None:
        self._reset_metrics()
        if self.spec.own_held_out:
            self._validate_own(data)
            return
        (cut,) = self.spec.validation
        order = tf.range(cut.size)
        self._loop(cut.full, lambda s: self._test_batch(data.validation, cut.rows(order, s)))
        if cut.rest:
            self._test_batch(data.validation, cut.rest_rows(order))

    def _validate_own(self, data: Data) -> None:
        """Scores each replica on its own held-out rows, in the same batches as `fit`.

        Where replicas have different numbers of held-out rows, a batch counts only for the
        replicas that have it.
        """
        cuts, rows, sizes = self.spec.validation, data.held_out, data.held_out_sizes
        batch = cuts[0].batch_size

        def where(counts: Any) -> Any:
            return None if len(cuts) == 1 else counts

        def full(s: Any) -> None:
            begin = tf.minimum(s * batch, rows.shape[1] - batch)
            some = tf.slice(rows, [0, begin], [self.size, batch])
            self._test_batch(data.train, some, where(sizes >= (s + 1) * batch))

        self._loop(max(cut.full for cut in cuts), full)
        for rest in sorted({cut.rest for cut in cuts} - {0}):
            begin = tf.minimum(sizes // batch * batch, rows.shape[1] - rest)
            some = tf.gather(rows, begin[:, None] + tf.range(rest), batch_dims=1)
            self._test_batch(data.train, some, where(sizes % batch == rest))

    def _test_batch(self, data: Any, rows: Any, where: Any = None) -> None:
        take = lambda numbers: gather(data, numbers)  # noqa: E731
        self._assign(self._on_batch(self.step.test, take, [rows]), where)

    def _on_batch(self, function: Callable, take: Callable, rows: list[Any]) -> Updates:
        """Runs a step of all replicas; row numbers are shared, or of shape `(replicas, rows)`."""
        own = [len(numbers.shape) > 1 for numbers in rows]
        shared = None if any(own) else take(*rows)

        def replica(values: Any) -> Any:
            mine = iter(values["rows"])
            numbers = [next(mine) if o else r for o, r in zip(own, rows, strict=True)]
            batch = take(*numbers) if shared is None else shared
            updates = function(values["trainable"], values["state"], values["metrics"], batch)
            return updates.gradients, updates.state, updates.metrics

        values = {
            "trainable": _tensors(self.trainable),
            "state": _tensors(self.state),
            "metrics": _tensors(self.metrics),
            "rows": [numbers for o, numbers in zip(own, rows, strict=True) if o],
        }
        return Updates(*self._map(replica, values))

    def _assign(self, updates: Updates, where: Any = None) -> None:
        """Assigns new values, for the replicas for which `where` is true; `None` for all."""
        for variables, values in ((self.state, updates.state), (self.metrics, updates.metrics)):
            for position, value in values.items():
                variable = variables[position]
                if where is not None:
                    mask = tf.reshape(where, [-1] + [1] * (len(variable.shape) - 1))
                    value = tf.where(mask, value, variable.value)
                variable.assign(value)

    def _reset_metrics(self) -> None:
        for variable, value in zip(self.metrics, self._fresh_metrics, strict=True):
            variable.assign(tf.broadcast_to(tf.constant(value, variable.dtype), variable.shape))

    def _logs(self) -> dict[str, Any]:
        return self._map(self.step.logs, _tensors(self.metrics))

    def _of_validation(self, logs: dict[str, Any]) -> dict[str, Any]:
        unscored = self.step.unscored
        return {f"val_{key}": value for key, value in logs.items() if key not in unscored}

    def _empty_logs(self) -> dict[str, tf.TensorArray]:
        logs = self.step.logs([tf.constant(value) for value in self._fresh_metrics])
        if self.spec.validation:
            logs |= self._of_validation(logs)
        return {
            key: tf.TensorArray(
                value.dtype, self.spec.epochs, element_shape=(self.size, *value.shape)
            )
            for key, value in logs.items()
        }

    def _loop(self, count: int, body: Callable) -> None:
        if count <= 1:  # Without a loop, compiling is faster.
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
