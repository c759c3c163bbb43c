"""Jobs from the checked arguments of `ReplicaTrainer.fit` and `refit`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras

from keras_physreg._utils.errors import received, whole_number
from keras_physreg.models.auto_scale import check_no_points
from keras_physreg.models.fit_points import check_no_labels
from keras_physreg.models.left_out_rows import check_left_out_rows
from keras_physreg.replicas import preparation
from keras_physreg.replicas.batches import Batches
from keras_physreg.replicas.first_points import FirstPoints
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.optimizers import batches_seen
from keras_physreg.replicas.replica_points import (
    check_before_build,
    replica_points,
    rows_to_build_on,
    steps_without_rows,
)
from keras_physreg.replicas.replica_step import ReplicaStep
from keras_physreg.replicas.row_sets import row_sets
from keras_physreg.replicas.start_weights import StartWeights
from keras_physreg.replicas.streamed_rows import StreamedRows
from keras_physreg.replicas.unlabelled_rows import unlabelled_rows
from keras_physreg.replicas.weight_table import WeightTable

Progress = Callable[[int], None]
# Arguments that say something about labelled rows.
OF_LABELLED_ROWS = ("y", "sample_weight", "batch_size", "unlabelled", "rows", "validation_rows")


@dataclass(frozen=True)
class FitArguments:
    """The arguments of `ReplicaTrainer.fit`, unchecked."""

    x: Any
    y: Any
    validation_data: Any
    sample_weight: Any
    batch_size: int | None
    epochs: int
    validation_batch_size: int | None
    shuffle: bool
    monitor: str | None
    mode: str
    unlabelled: Any
    unlabelled_batch_size: int | None
    unlabelled_share: float | None
    rows: Any
    validation_rows: Any
    verbose: str | int
    points: Any = None
    points_batch_size: Any = None
    validation_points: Any = None
    steps_per_epoch: int | None = None

    def train(self) -> Batches:
        """Returns the labelled data; points in their place if there are none."""
        if self.x is None:
            check_no_labels({name: getattr(self, name) for name in OF_LABELLED_ROWS})
        x = rows_to_build_on(self.x, self.points, self.points_batch_size)
        data = (x, self.y, self.sample_weight)
        return preparation.as_batches("x, y, sample_weight", data, self.batch_size)

    @property
    def first_points(self) -> FirstPoints:
        """The points of a first step."""
        return FirstPoints(self.points, self.points_batch_size, self.x is not None)

    def validation(self, batch_size: int) -> Batches | None:
        """Returns the held-out data that all replicas share, or `None`."""
        if self.validation_data is None:
            return None
        if self.rows is not None:
            raise ValueError(
                "With `rows`, held-out rows are rows of the same data: give `validation_rows` in "
                "place of `validation_data`. Received: validation_data of type "
                f"{type(self.validation_data)}"
            )
        return preparation.as_batches("validation_data", self.validation_data, batch_size)

    def held_out_batch_size(self, default: int) -> int:
        """Returns the number of held-out rows per batch."""
        given = self.validation_batch_size
        return whole_number("validation_batch_size", given, optional=True) or default


def first_job(
    model: keras.Model,
    table: WeightTable,
    seeds: list[int] | None,
    progress: Callable[[int], Progress],
    given: FitArguments,
) -> Job:
    """Returns the job of a first training; builds the model.

    Args:
        model: The model.
        table: The term weights of all replicas.
        seeds: One seed per replica, or `None`.
        progress: Function that takes the number of epochs, and returns the function to call with
            the number of epochs times replicas done.
        given: The arguments of `fit`.
    """
    if given.mode not in ("min", "max"):
        raise ValueError(f"`mode` must be 'min' or 'max'. {received('mode', given.mode)}")
    epochs = whole_number("epochs", given.epochs)
    steps = steps_without_rows(given.x, given.steps_per_epoch)
    train = given.train()
    rows = row_sets(given.rows, given.validation_rows, table.replicas, train.size, seeds)
    held_out_batch_size = given.held_out_batch_size(train.batch_size)
    validation = given.validation(held_out_batch_size)
    check_no_points(model, given.points)
    check_before_build(model, given.points, given.points_batch_size)
    preparation.build(model, train, given.verbose, given.first_points)
    check_left_out_rows(
        model, given.x, given.y, given.sample_weight, given.unlabelled, given.points
    )
    preparation.check_repeatable(model, train, given.first_points)
    streamed = unlabelled_rows(
        model, given.unlabelled, given.unlabelled_batch_size, given.unlabelled_share, train
    )
    scored = validation is not None or given.validation_rows is not None
    points = replica_points(
        model,
        given.points,
        given.points_batch_size,
        given.validation_points,
        has_rows=given.x is not None,
        is_scored=scored,
    )
    unscored = frozenset[str]() if points is None else points.unscored
    if points is not None:
        train = points.training(train, steps)
        validation = validation if scored else points.validation(validation)
        scored = scored or validation is not None
        streamed |= points.streamed
    logs = preparation.log_names(model, scored)
    missing = {f"val_{name}" for name in unscored}
    logs = [name for name in logs if name not in missing]
    step = ReplicaStep(model, given.unlabelled_share, unscored)
    return Job(
        step=step,
        starts=StartWeights(model, step.variables),
        table=table,
        seeds=seeds,
        train=train,
        validation=validation,
        epochs=epochs,
        shuffle=given.shuffle,
        log_names=logs,
        monitor=preparation.choose_monitor(given.monitor, logs),
        sign=1 if given.mode == "min" else -1,
        progress=progress(epochs),
        begin=0 if seeds else batches_seen(model.optimizer),
        streamed=StreamedRows(streamed),
        points=points,
        rows=rows,
        validation_batch_size=held_out_batch_size,
    )


def next_job(
    last: Job,
    table: WeightTable,
    seeds: list[int] | None,
    progress: Callable[[int], Progress],
    epochs: int | None,
    rows: Any,
    validation_rows: Any,
) -> Job:
    """Returns the job of a training like the last one, with other weights.

    Args:
        last: The previous job.
        table: The term weights of all replicas.
        seeds: One seed per replica, or `None`.
        progress: See `first_job`.
        epochs: See `ReplicaTrainer.refit`.
        rows: Likewise.
        validation_rows: Likewise.
    """
    if table.terms != last.table.terms or (seeds is None) != (last.seeds is None):
        raise ValueError(
            f"`refit` needs weights of the terms {last.table.terms} in this order, and "
            f"{'no seeds' if last.seeds is None else 'seeds'}, as in `fit`. "
            f"Received: weights of the terms {table.terms}, seeds={seeds}"
        )
    epochs = whole_number("epochs", epochs, optional=True) or last.epochs
    job = replace(last, table=table, seeds=seeds, epochs=epochs, progress=progress(epochs))
    return _with_rows(job, rows, validation_rows)


def _with_rows(job: Job, rows: Any, validation_rows: Any) -> Job:
    """Returns a job with other rows, or raises if they do not match the last training."""
    if rows is None and validation_rows is None:
        if job.rows is not None and len(job.rows.train) != job.replicas:
            raise ValueError(
                f"The last training had {len(job.rows.train)} replicas with their own rows: give "
                f"`rows` for {job.replicas} replicas. Received: rows=None"
            )
        return job
    before = job.is_scored
    if (validation_rows is not None) != before:
        raise ValueError(
            f"`refit` needs {'' if before else 'no '}`validation_rows`, as `fit` had "
            f"{'' if before else 'no '}held-out rows and the logs must be the same. "
            f"{received('validation_rows', validation_rows)}"
        )
    sets = row_sets(rows, validation_rows, job.replicas, job.train.size, job.seeds)
    return replace(job, rows=sets, validation=None)
