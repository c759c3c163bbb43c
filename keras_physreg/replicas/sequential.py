"""SequentialTrainer: trains replicas one after the other with `fit`, which works for any model."""

from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.variables import assign, unchanged, values_of
from keras_physreg.inspection import weight_variable
from keras_physreg.replicas.batches import Batches
from keras_physreg.replicas.engines import Engine
from keras_physreg.replicas.hidden_state import hidden_variables
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.optimizers import start_values
from keras_physreg.replicas.outcome import Outcome, Trained
from keras_physreg.replicas.streamed_rows import joined
from keras_physreg.unlabelled.input_rows import NoRows, Rows, without_nones


class OrderedRows(keras.utils.PyDataset):
    """The rows of each epoch in a given order, for the epoch in `epoch`.

    `fit` may read a dataset before the first epoch, so the dataset cannot count epochs itself.

    Args:
        job: The training.
        replicas: The position of the one replica, of shape `(1,)`.
    """

    def __init__(self, job: Job, replicas: np.ndarray) -> None:
        super().__init__()
        self._job, self._replicas, self.epoch = job, replicas, 0

    def __len__(self) -> int:
        return self._job.cut(self._replicas[0]).steps

    def __getitem__(self, index: int) -> Any:
        order, more, _ = self._job.inputs(self._replicas, self.epoch, 1)
        begin, size = index * self._job.train.batch_size, self._job.train.batch_size
        batch = self._job.train.take(order.reshape(-1)[begin : begin + size])
        return without_nones(joined(batch, self._job.streamed.of_step(more, index)))


class ReplicaCallback(keras.callbacks.Callback):
    """Sets the term weights of one replica; keeps its logs, and its weights at the best epoch.

    Args:
        job: The training.
        group: The result of the one replica, to which the logs are added.
        rows: The dataset on which it is trained.
    """

    def __init__(self, job: Job, group: Trained, rows: OrderedRows) -> None:
        super().__init__()
        self._job, self._group, self._rows = job, group, rows
        self._table = np.zeros(0)
        self._score, self.best_epoch = np.inf, -1
        self.best = [convert_to_numpy(v) for v in job.step.variables.weights]

    def on_train_begin(self, logs: Any = None) -> None:
        """Sets the share of unlabelled rows, which is not an argument of this `fit`."""
        if self._job.streamed.has_unlabelled:
            self.model.set_unlabelled_share(self._job.step.unlabelled_share)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the epoch of the rows, and reads the weights of its steps."""
        self._rows.epoch = epoch
        self._table = self._job.inputs(self._group.replicas, epoch, 1)[-1][0, :, 0]

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the weights of this step; an optimizer may count fewer steps than batches."""
        table, weights = self._job.table, self._table[batch]
        if table.unit == "step":
            time = int(convert_to_numpy(self.model.optimizer.iterations))
            weights = table.at(self._group.replicas[0], time)
        for name, weight in zip(table.terms, weights, strict=True):
            weight_variable(self.model, name).assign(weight)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keeps the logs, and the weights if the epoch is the best so far."""
        logs = logs or {}
        self._group.append({key: np.asarray(value)[None, None] for key, value in logs.items()})
        score = self._job.sign * float(logs[self._job.monitor])
        if score < self._score:
            self._score, self.best_epoch = score, epoch
            self.best = [convert_to_numpy(v) for v in self._job.step.variables.weights]
        self._job.progress(1)


class SequentialTrainer:
    """Trains jobs by `fit`, and then restores the model, its optimizer and its hidden state.

    Args:
        engine: The engine, with the reason for it.
    """

    compiles = 0

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def train(self, job: Job, weights: list[np.ndarray]) -> Outcome:
        """Trains all replicas; Ctrl-C ends the training after the epoch in progress.

        Args:
            job: The training.
            weights: The initial weights and state of the replicas, replicas first.
        """
        model, optimizer = job.step.model, job.step.model.optimizer
        start = start_values(optimizer, job.step.variables.trainable, job.seeds is not None)
        hidden = [variable for _, variable in hidden_variables(model)]
        present = values_of(hidden)
        groups = [Trained(np.array([replica])) for replica in range(job.replicas)]
        interrupted = False
        with unchanged([*job.step.variables.weights, *optimizer.variables, *hidden]):
            try:
                for group in groups:
                    assign(job.step.variables.weights, [v[group.replicas[0]] for v in weights])
                    assign(optimizer.variables, start)
                    assign(hidden, present)
                    _train_replica(job, group)
            except KeyboardInterrupt:
                interrupted = True
            finally:
                model.reset_metrics()
        return Outcome.of(
            job.step.variables.weights,
            job.log_names,
            weights,
            groups,
            interrupted=interrupted,
            engine=str(self.engine),
            compile_seconds=0.0,
        )


def _train_replica(job: Job, group: Trained) -> None:
    rows = OrderedRows(job, group.replicas)
    recorder = ReplicaCallback(job, group, rows)
    held_out = job.held_out(group.replicas[0])
    try:
        job.step.model.fit(
            rows,
            validation_data=None if held_out is None else _validation_data(held_out),
            validation_batch_size=None if held_out is None else held_out.batch_size,
            epochs=job.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[recorder],
        )
    finally:
        group.last = [convert_to_numpy(v)[np.newaxis] for v in job.step.variables.weights]
        group.best = [value[np.newaxis] for value in recorder.best]
        group.best_epoch = np.array([recorder.best_epoch])


def _validation_data(held_out: Batches) -> Any:
    """Returns held-out data as `fit` takes them: arrays, or a dataset of one step without rows."""
    x, *others = held_out.data
    if isinstance(x, Rows) and isinstance(x.labelled, NoRows):
        return tf.data.Dataset.from_tensors((x,))
    return without_nones((x.labelled if isinstance(x, Rows) else x, *others))
