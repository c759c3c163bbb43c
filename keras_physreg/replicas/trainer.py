"""ReplicaTrainer: trains copies of a model that differ in term weights and seeds."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from keras_physreg.replicas import compiled, engines, preparation, sequential
from keras_physreg.replicas.history import ReplicaHistory
from keras_physreg.replicas.job import Job, Outcome
from keras_physreg.replicas.replica_step import ReplicaStep
from keras_physreg.replicas.unlabelled_rows import unlabelled_rows
from keras_physreg.replicas.weight_table import WeightTable


class ReplicaTrainer:
    """Trains K copies of a model, which differ in term weights and seeds, in compiled programs.

    Every replica is trained as `model.fit` would train the model with these term weights: with
    the same loss, optimizer, metrics and batches. The model itself keeps its weights; each `fit`
    begins anew from them. On a small model nearly all of `fit` is the dispatch of steps, which
    the replicas share.

    Args:
        model: A compiled Keras model, with physics terms or without.
        weights: Dict from term name to a sequence of K weights (numbers >= 0 in units of 1 / loss,
            or schedules of the time). Terms left out keep the model's present weight.
        seeds: `None`: all replicas start from the model's present weights (and optimizer state)
            and see the same batches. Or a sequence of K integers: each replica draws new weights
            for all layers that train, the seeds of dropout and its own order of the rows.
        unit: What schedules count: `"epoch"`, or `"step"` of the optimizer.
        engine: `"stacked"` runs each operation on all replicas of a program at once, `"in-turn"`
            runs the replicas of a program one after the other, `"sequential"` calls `fit` once a
            replica. `"auto"` takes the fastest that serves; `history.engine` says which and why.
        replicas_per_program: Replicas that are in memory in one program at most; `None` spreads
            them evenly over one program a core.

    Raises:
        TypeError: If an argument has a type that cannot serve.
        ValueError: If the model is not compiled, a term unknown, a weight negative or not finite,
            or the numbers of entries differ.

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
        preparation.check_model(model)
        self.model = model
        self.seeds = _checked_seeds(seeds)
        self.table = WeightTable(model, weights, self.seeds, unit)
        self.engine, self.replicas_per_program = checked_programs(engine, replicas_per_program)
        self._outcome: Outcome | None = None
        self._job: Job | None = None
        self._compiled: compiled.CompiledTrainer | None = None

    @property
    def replicas(self) -> int:
        """The number of replicas."""
        return self.table.replicas

    def fit(
        self,
        x: Any,
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
    ) -> ReplicaHistory:
        """Trains all replicas.

        Ctrl-C ends the training after the epochs in progress; what was finished is returned.

        Args:
            x: Inputs, in memory: an array or a structure of arrays of shape `(rows, ...)`.
            y: Labels, likewise.
            validation_data: Tuple `(x, y)` or `(x, y, sample_weight)`.
            sample_weight: Trust in the labels, of shape `(rows,)`.
            batch_size: Rows in a batch; 32 by default.
            epochs: Number of epochs.
            validation_batch_size: Rows in a batch of validation data; `batch_size` by default.
            shuffle: Whether to shuffle the rows before each epoch.
            monitor: Log by which each replica's best epoch is found. By default the first that is
                there of `val_data_loss`, `val_loss`, `data_loss`, `loss`.
            mode: `"min"` or `"max"`: whether a smaller or a larger monitor is better.
            verbose: 0: silent; `"auto"` or 1: a progress bar with the time left.
            unlabelled: Inputs without labels, in memory, as in `PhysicsModel.fit`; each seed has
                its own order of them.
            unlabelled_batch_size: Unlabelled rows a step; by default as many as labelled ones.
            unlabelled_share: As in `PhysicsModel.fit`: what unlabelled rows count in label-free
                terms; `None`: as much as labelled ones.

        Returns:
            A `ReplicaHistory`, whose `history` has an array of shape `(epochs, replicas)` for
            every key that `model.fit` logs.

        Raises:
            ValueError: If data, monitor or epochs cannot serve, or the physics is random.
            MemoryError: If not even one replica fits into memory.
        """
        if mode not in ("min", "max"):
            raise ValueError(f"`mode` must be 'min' or 'max'. Received: mode={mode!r}")
        epochs = _checked_count("epochs", epochs)
        train = preparation.as_batches("x, y, sample_weight", (x, y, sample_weight), batch_size)
        validation = None
        if validation_data is not None:
            validation = preparation.as_batches(
                "validation_data", validation_data, validation_batch_size or batch_size
            )
        preparation.build(self.model, train)
        preparation.check_repeatable(self.model, train)
        more = unlabelled_rows(
            self.model, unlabelled, unlabelled_batch_size, unlabelled_share, train
        )
        logs = preparation.log_names(self.model, validation is not None)
        job = Job(
            step=ReplicaStep(self.model, unlabelled_share),
            table=self.table,
            seeds=self.seeds,
            train=train,
            validation=validation,
            epochs=epochs,
            shuffle=shuffle,
            log_names=logs,
            monitor=preparation.choose_monitor(monitor, logs),
            sign=1 if mode == "min" else -1,
            progress=_progress(verbose, epochs * self.replicas),
            begin=0 if self.seeds else int(convert_to_numpy(self.model.optimizer.iterations)),
            unlabelled=more,
        )
        self._compiled = None
        return self._run(job)

    def refit(
        self,
        weights: dict[str, Any],
        seeds: Sequence[int] | None = None,
        verbose: str | int = "auto",
    ) -> ReplicaHistory:
        """Trains as the last `fit` did, with other weights, in the programs compiled for it.

        Args:
            weights: Dict of the same terms as before; the number of replicas may differ.
            seeds: As before: one a replica, or `None` where there were none.
            verbose: See `fit`.

        Returns:
            A `ReplicaHistory`.

        Raises:
            RuntimeError: If `fit` was not called.
            ValueError: If the terms are others, or only one of the trainings has seeds.
        """
        if self._job is None:
            raise RuntimeError("There is no training to repeat yet: call `fit` first.")
        seeds = _checked_seeds(seeds)
        table = WeightTable(self.model, weights, seeds, self.table.unit)
        if table.terms != self.table.terms or (seeds is None) != (self.seeds is None):
            raise ValueError(
                f"`refit` needs weights of the terms {self.table.terms} in this order, and "
                f"{'no seeds' if self.seeds is None else 'seeds'}, as in `fit`. "
                f"Received: weights of {table.terms}, seeds={seeds}"
            )
        self.table, self.seeds = table, seeds
        progress = _progress(verbose, self._job.epochs * table.replicas)
        return self._run(replace(self._job, table=table, seeds=seeds, progress=progress))

    def load_replica(self, replica: int, which: str = "best") -> None:
        """Puts a trained replica's weights and term weights into the model.

        Args:
            replica: Position of the replica.
            which: `"best"`: at its best epoch; `"last"`: at its last; `"initial"`: at its start.

        Raises:
            RuntimeError: If `fit` was not called.
            ValueError: If there is no such replica.
        """
        if self._outcome is None:
            raise RuntimeError("There are no trained replicas yet: call `fit` first.")
        if which not in ("best", "last", "initial"):
            raise ValueError(
                f"`which` must be 'best', 'last' or 'initial'. Received: which={which!r}"
            )
        if not 0 <= replica < self.replicas:
            raise ValueError(
                f"`replica` must be in 0..{self.replicas - 1}. Received: replica={replica!r}"
            )
        values = getattr(self._outcome, which)
        for variable, value in zip(self._outcome.variables, values, strict=True):
            variable.assign(value[replica])

    def _run(self, job: Job) -> ReplicaHistory:
        begin = time.perf_counter()
        self._job, self._outcome = job, self._train(job)
        return self._history(job, self._outcome, time.perf_counter() - begin)

    def _train(self, job: Job) -> Outcome:
        """Trains by the engine that served before, else by the first that serves."""
        weights = job.starting_weights()
        if self._compiled is not None:
            return self._compiled.train(job, weights)
        failures = ""
        for engine in engines.candidates(job.step, job.train, self.engine, job.unlabelled):
            engine = replace(engine, reason=engine.reason + failures)
            if engine.mapper is None:
                return sequential.train(job, engine, weights)
            trainer = compiled.CompiledTrainer(engine, self.replicas_per_program)
            try:
                outcome = trainer.train(job, weights)
                self._compiled = trainer
                return outcome
            except compiled.CannotCompileError as error:
                failures += f"; {engine.name}{' by XLA' * engine.jit} failed ({error})"
        raise ValueError(
            f"engine='{self.engine}' cannot train model '{self.model.name}'{failures}. Use "
            "engine='auto'."
        )

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
        )


def _progress(verbose: str | int, target: int) -> Any:
    if verbose == 0:
        return lambda done: None
    bar = keras.utils.Progbar(target, unit_name="replica-epoch")
    return bar.add


def _checked_seeds(seeds: Any) -> list[int] | None:
    if seeds is None:
        return None
    if np.ndim(seeds) != 1 or not all(isinstance(s, (int, np.integer)) and s >= 0 for s in seeds):
        raise ValueError(
            f"`seeds` must be None or a list of whole numbers >= 0, one a replica. "
            f"Received: seeds={seeds!r}"
        )
    return [int(seed) for seed in seeds]


def checked_programs(engine: str, replicas_per_program: Any) -> tuple[str, int | None]:
    """Returns how replicas are put into programs, or raises."""
    known = ("auto", "stacked", "in-turn", "sequential")
    if engine not in known:
        raise ValueError(f"`engine` must be one of {known}. Received: engine={engine!r}")
    return engine, _checked_count("replicas_per_program", replicas_per_program)


def _checked_count(name: str, value: Any) -> Any:
    if value is None and name == "replicas_per_program":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"`{name}` must be a whole number >= 1. Received: {name}={value!r}")
    return int(value)
