"""Trains a job by compiled programs, as many at once as there are cores."""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from keras_physreg.replicas.engines import Engine
from keras_physreg.replicas.job import Job, Outcome
from keras_physreg.replicas.optimizers import stacked_values
from keras_physreg.replicas.program import Program, Settings
from keras_physreg.replicas.runner import Runner

STEPS_A_CALL = 256  # Of a program: enough to hide the call, few enough to answer Ctrl-C.


class CannotCompileError(RuntimeError):
    """An engine cannot trace or compile a model's step."""


class CompiledTrainer:
    """Trains jobs that differ only in weights and seeds, by programs compiled for the first.

    Args:
        engine: How.
        per_program: Replicas in one program at most; `None` spreads them evenly over the cores.
    """

    def __init__(self, engine: Engine, per_program: int | None) -> None:
        self.engine, self.per_program = engine, per_program
        self._programs: list[Program] = []

    def train(self, job: Job, weights: list[np.ndarray]) -> Outcome:
        """Trains all replicas; where they do not fit into memory, fewer of them a program.

        Args:
            job: What is to be trained.
            weights: What the replicas start from.

        Raises:
            CannotCompileError: If the engine cannot compile the model's step.
            MemoryError: If not even one replica fits into memory.
        """
        size = min(self.per_program or job.replicas, -(-job.replicas // cores()))
        if self.engine.most is not None:
            size = max(1, min(size, self.engine.most // cores()))
        while True:
            try:
                return self._train(job, weights, size)
            except tf.errors.ResourceExhaustedError as error:
                self._programs = []
                if size == 1:
                    raise MemoryError(
                        "Not even one replica at a time fits into memory. Use a smaller "
                        "`batch_size`, less data or a smaller model. TensorFlow says: "
                        f"{error.message}"
                    ) from error
                size = -(-size // 2)

    def _train(self, job: Job, weights: list[np.ndarray], limit: int) -> Outcome:
        begin = time.perf_counter()
        runner = self._runner(job, limit)
        seconds = time.perf_counter() - begin
        results = runner.train(weights, _optimizer_values(job, runner.programs[0]))
        return Outcome.of(
            job,
            weights,
            results,
            interrupted=runner.interrupted,
            engine=f"{self.engine} ({_described(runner, job)})",
            compile_seconds=seconds,
        )

    def _runner(self, job: Job, limit: int) -> Runner:
        # To fill a program up, or to let it run twice, costs less than to compile another.
        compiled = bool(self._programs) and limit <= 2 * self._programs[0].size
        if not compiled:
            groups = -(-job.replicas // limit)
            size = -(-job.replicas // groups)
            self._programs = self._new_programs(job, size, min(groups, cores()))
        runner = Runner(self._programs, job.epochs, job.inputs, job.progress)
        if not compiled:
            _compile(runner)
        return runner

    def _new_programs(self, job: Job, size: int, count: int) -> list[Program]:
        mapper, jit = self.engine.mapper, self.engine.jit
        assert mapper is not None
        settings = Settings(
            train=job.train,
            validation=job.validation,
            epochs=max(1, min(job.epochs, STEPS_A_CALL // job.train.steps)),
            terms=job.term_positions,
            monitor=job.monitor,
            sign=job.sign,
            unlabelled=job.unlabelled,
        )
        with _compiling():
            return [Program(job.step, settings, size, mapper, jit) for _ in range(count)]


def cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _compiling() -> Iterator[None]:
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise
    except Exception as error:
        raise CannotCompileError(_first_line(error)) from error


def _compile(runner: Runner) -> None:
    with _compiling():
        runner.compile(np.arange(runner.programs[0].size))


def _optimizer_values(job: Job, program: Program) -> list[np.ndarray]:
    """Returns the optimizer's state to start from: fresh where replicas are drawn by seed."""
    optimizer = job.step.model.optimizer
    if job.seeds is None and optimizer.built:
        return stacked_values(optimizer, program.optimizer)
    return program.fresh_optimizer


def _described(runner: Runner, job: Job) -> str:
    programs, size = len(runner.programs), runner.programs[0].size
    groups = -(-job.replicas // size)
    text = f"{programs} program{'s' * (programs > 1)} of {size}"
    return text if groups <= programs else f"{text}, {groups} groups"


def _first_line(error: Any) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
