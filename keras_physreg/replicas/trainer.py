"""ReplicaTrainer: trains copies of a model that differ in term weights, seeds and rows."""

import contextlib
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_physreg._utils.backend import needs_tensorflow
from keras_physreg.replicas import preparation
from keras_physreg.replicas.arguments import checked_programs, checked_seeds
from keras_physreg.replicas.compiled import CannotCompileError
from keras_physreg.replicas.engine_choice import Trainer, train_by_fastest
from keras_physreg.replicas.history import ReplicaHistory
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.new_job import FitArguments, first_job, next_job
from keras_physreg.replicas.outcome import Outcome
from keras_physreg.replicas.trained_replicas import TrainedReplicas
from keras_physreg.replicas.weight_table import WeightTable


class ReplicaTrainer(TrainedReplicas):
    """Trains K copies of a model, which differ in term weights and seeds, in compiled programs.

    Every replica is trained as `model.fit` trains the model with these term weights: with the same
    loss, optimizer, metrics and batches. The model itself keeps its weights, and each `fit` starts
    from them again. With a small model, `fit` spends most of its time on the dispatch of steps,
    which the replicas share. Logged losses are means over rows; Keras' `fit` averages those of
    several outputs over batches, however small the last one is.

    Random numbers are equal to those of `fit` in distribution only: `Dropout` and `SpatialDropout`
    draw their masks from the same seeds in another way, which XLA computes faster, and XLA draws
    all others itself. The same seeds give the same numbers again.

    Another trainer, or sweep, uses the programs that were compiled before if it is of the same
    model, or of one that was built alike: same layers, compilation, physics and shape of a batch.
    The programs of the last 4 kinds are kept. What TensorFlow compiles by XLA it never frees.

    With visible GPUs there is one program per GPU, which holds all replicas that fit; several GPUs
    share the replicas. A step of 64 small networks took four times that of one: a GPU is good for
    many. One GPU was measured (`tests/benchmarks/README.md`); sharing by several was tested on
    logical devices of a CPU only.

    Args:
        model: A compiled Keras model, with or without physics terms.
        weights: Dict from term name to a sequence of K weights (numbers >= 0 in units of 1 / loss)
            or schedules. Terms that are left out keep the model's present weight.
        seeds: `None`: all replicas start from the model's present weights and optimizer state, and
            get the same batches. A sequence of K integers: each replica draws new weights for all
            layers with trainable variables, new seeds of dropout, and its own order of the rows.
        unit: What schedules count: `"epoch"`, or `"step"` for steps of the optimizer.
        engine: `"stacked"` runs each operation on all replicas of a program at once. `"in-turn"`
            runs the replicas of a program one after the other. `"sequential"` calls `fit` once per
            replica. `"auto"` takes the fastest engine whose first steps equal those of `fit`, up to
            rounding: "stacked" up to 250 000 trainable weights, "in-turn" for larger models and for
            recurrent layers. `history.engine` names the engine and the reason.
        replicas_per_program: Maximum of replicas per program; `None` for 32, and on GPUs for all
            that fit. There is one program per core, or per GPU; more replicas run in several calls.
            What is compiled by XLA is compiled once for all cores.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If the model is not compiled, a term is unknown, a weight is negative or not
            finite, or the numbers of weights and seeds differ.

    Example:
    >>> import keras, keras_physreg as kp
    >>> z = keras.Input((3,))
    >>> x = keras.layers.Dense(3)(z)
    >>> identity = kp.PhysicsRegularization(lambda z, x: x - z, {"identity": 0.0})
    >>> model = kp.PhysicsModel(z, identity(z, x))
    >>> model.compile("sgd", "mse")
    >>> trainer = kp.ReplicaTrainer(model, {"identity": [0.0, 1e-3, 1.0]})
    >>> data = keras.ops.ones((8, 3))
    >>> history = trainer.fit(data, data, epochs=2, verbose=0)
    >>> history.history["identity_loss"].shape
    (2, 3)
    >>> trainer.load_replica(2)
    >>> kp.get_term_weights(model)
    {'identity': 1.0}
    """

    def __init__(
        self,
        model: keras.Model,
        weights: dict[str, Any],
        seeds: Sequence[int] | None = None,
        unit: str = "epoch",
        engine: str = "auto",
        replicas_per_program: int | None = None,
    ) -> None:
        needs_tensorflow("`ReplicaTrainer`")
        preparation.check_model(model)
        super().__init__(model)
        self.seeds = checked_seeds(seeds)
        self.table = WeightTable(model, weights, self.seeds, unit)
        self.engine, self.replicas_per_program = checked_programs(engine, replicas_per_program)
        self._job: Job | None = None
        self._trainer: Trainer | None = None

    @property
    def replicas(self) -> int:
        """The number of replicas."""
        return self.table.replicas

    @property
    def compiles(self) -> int:
        """How many programs `fit` and `refit` compiled: one per number of rows, for all cores."""
        return 0 if self._trainer is None else self._trainer.compiles

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        validation_data: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        validation_batch_size: int | None = None,
        shuffle: bool = True,
        monitor: str | None = None,
        mode: str = "min",
        verbose: str | int = "auto",
        unlabelled: Any = None,
        unlabelled_batch_size: int | None = None,
        unlabelled_share: float | None = None,
        rows: Sequence[Any] | None = None,
        validation_rows: Sequence[Any] | None = None,
        points: Mapping[str, Any] | None = None,
        validation_points: Mapping[str, Any] | None = None,
        steps_per_epoch: int | None = None,
        points_batch_size: int | Mapping[str, int] | None = None,
    ) -> ReplicaHistory:
        """Trains all replicas.

        Ctrl-C ends the training after the epochs in progress, and the finished epochs are returned.

        Args:
            x: Inputs, in memory: an array or a structure of arrays of shape `(rows, ...)`.
            y: Labels, likewise.
            validation_data: Tuple `(x, y)` or `(x, y, sample_weight)`.
            sample_weight: Weights of the labels, of shape `(rows,)`.
            batch_size: Rows per batch; 32 by default.
            epochs: Number of epochs.
            validation_batch_size: Rows per batch of held-out rows; `batch_size` by default.
            shuffle: Whether to shuffle the rows before each epoch.
            monitor: Log by which each replica's best epoch is found. By default the first of
                `val_data_loss`, `val_loss`, `data_loss` and `loss` that is logged.
            mode: `"min"` or `"max"`: whether a smaller or a larger monitor is better.
            verbose: 0 for silence; `"auto"` or 1 for a progress bar with the remaining time.
            unlabelled: Inputs without labels, as in `PhysicsModel.fit`: arrays, of which each seed
                has its own order; or a sampler, whose rows all replicas share.
            unlabelled_batch_size: Unlabelled rows per step; by default as many as labelled ones.
            unlabelled_share: As in `PhysicsModel.fit`: the share of unlabelled rows in label-free
                terms; `None`: every row counts the same.
            rows: One array of row numbers per replica: its training rows. `None`: all replicas
                train on all rows. Replicas with equally many rows share their compiled programs. A
                replica with one row more than others leaves out one row, drawn by its seed; see
                `ReplicaHistory.left_out`.
            validation_rows: One array of row numbers per replica, different from its `rows`: the
                held-out rows on which it is scored after each epoch, with their `sample_weight`.
                In place of `validation_data`.
            points: Per term, the points on which it is evaluated, as in `PhysicsModel.fit`: arrays
                or a sampler. `x` may then be `None`.
            validation_points: Per term, arrays on which `val_<term>_loss` is computed.
            steps_per_epoch: Steps in an epoch without `x`; 100 by default.
            points_batch_size: Points per step, as in `PhysicsModel.fit`: a number, or a dict of
                numbers by term. Arrays without a number are whole in every step. Those with one are
                taken in batches, of which each seed has its own order. A sampler needs a number:
                its points depend on the step alone, so all replicas share them.

        Returns:
            A `ReplicaHistory`, whose `history` has an array of shape `(epochs, replicas)` for
            every key that `model.fit` logs.

        Raises:
            ValueError: If data, monitor or epochs are invalid, the physics or the prediction is
                random, or the requested engine does not train as `fit` does.
            MemoryError: If not even one replica fits into memory.
        """
        given = FitArguments(
            x=x,
            y=y,
            validation_data=validation_data,
            sample_weight=sample_weight,
            batch_size=batch_size,
            epochs=epochs,
            validation_batch_size=validation_batch_size,
            shuffle=shuffle,
            monitor=monitor,
            mode=mode,
            unlabelled=unlabelled,
            unlabelled_batch_size=unlabelled_batch_size,
            unlabelled_share=unlabelled_share,
            rows=rows,
            validation_rows=validation_rows,
            verbose=verbose,
            points=points,
            points_batch_size=points_batch_size,
            validation_points=validation_points,
            steps_per_epoch=steps_per_epoch,
        )
        progress = functools.partial(_progress, verbose, self.replicas)
        job = first_job(self.model, self.table, self.seeds, progress, given)
        self._trainer = None
        return self._run(job)

    def refit(
        self,
        weights: dict[str, Any],
        seeds: Sequence[int] | None = None,
        verbose: str | int = "auto",
        rows: Sequence[Any] | None = None,
        validation_rows: Sequence[Any] | None = None,
        epochs: int | None = None,
    ) -> ReplicaHistory:
        """Trains like the last `fit`, with other weights, in the programs compiled for it.

        More replicas than before run in several calls of the same programs. Other programs are
        compiled if the sizes of `rows` change, or for more than 16 times as many replicas.

        Args:
            weights: Dict with the same terms as before; the number of replicas may differ.
            seeds: One seed per replica if `fit` had seeds, else `None`.
            verbose: See `fit`.
            rows: See `fit`; `None` for the rows of the last training.
            validation_rows: See `fit`; needed with `rows` if `fit` had held-out rows.
            epochs: Number of epochs; `None` for that of the last training.

        Returns:
            A `ReplicaHistory`.

        Raises:
            RuntimeError: If `fit` was not called.
            ValueError: If the terms differ, only one of the trainings has seeds or held-out rows,
                or the rows are invalid.
        """
        if self._job is None:
            raise RuntimeError("There is no training to repeat yet: call `fit` first.")
        seeds = checked_seeds(seeds)
        table = WeightTable(self.model, weights, seeds, self.table.unit)
        progress = functools.partial(_progress, verbose, table.replicas)
        job = next_job(self._job, table, seeds, progress, epochs, rows, validation_rows)
        self.table, self.seeds = table, seeds
        return self._run(job)

    def _run(self, job: Job) -> ReplicaHistory:
        begin = time.perf_counter()
        self._job, self._outcome = job, self._train(job)
        return self._history(job, self._outcome, time.perf_counter() - begin)

    def _train(self, job: Job) -> Outcome:
        """Trains by the trainer of the last training, or by the fastest engine."""
        weights = job.starting_weights()
        with job.points_in_use():
            if self._trainer is not None:
                with contextlib.suppress(CannotCompileError):  # For rows of another number.
                    return self._trainer.train(job, weights)
            trainer, outcome = train_by_fastest(
                job, weights, self.engine, self.replicas_per_program
            )
            self._trainer = self._trainer or trainer  # Other rows may suit it again.
        return outcome

    def _history(self, job: Job, outcome: Outcome, seconds: float) -> ReplicaHistory:
        return ReplicaHistory(
            history=outcome.logs,
            weights=self.table.constants(),
            seeds=self.seeds,
            engine=outcome.engine,
            monitor=job.monitor,
            best_epoch=outcome.best_epoch,
            epochs_done=outcome.epochs_done,
            interrupted=outcome.interrupted,
            seconds=(outcome.compile_seconds, seconds - outcome.compile_seconds),
            left_out=None if job.rows is None else job.rows.left_out,
        )


def _progress(verbose: str | int, replicas: int, epochs: int) -> Any:
    if verbose == 0:
        return lambda done: None
    bar = keras.utils.Progbar(replicas * epochs, unit_name="replica-epoch")
    return bar.add
