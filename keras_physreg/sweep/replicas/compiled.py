"""Trains a job by compiled programs, as many at once as there are cores."""

import os
import time
from typing import Any

import numpy as np
import tensorflow as tf

from keras_physreg.sweep.replicas.engines import Engine
from keras_physreg.sweep.replicas.job import Job, Outcome
from keras_physreg.sweep.replicas.optimizers import stacked_values
from keras_physreg.sweep.replicas.program import Program, Settings
from keras_physreg.sweep.replicas.runner import Runner

STEPS_A_CALL = 256  # Of a program: enough to hide the call, few enough to answer Ctrl-C.


class CannotCompileError(RuntimeError):
    """An engine cannot trace or compile a model's step."""


def train(job: Job, engine: Engine, weights: list[np.ndarray], per_program: int | None) -> Outcome:
    """Trains all replicas; where they do not fit into memory, fewer of them a program.

    Args:
        job: What is to be trained.
        engine: How.
        weights: What the replicas start from.
        per_program: Replicas in one program at most; `None` spreads them evenly over the cores.

    Raises:
        CannotCompileError: If the engine cannot compile the model's step.
        MemoryError: If not even one replica fits into memory.
    """
    size = min(per_program or job.replicas, -(-job.replicas // cores()))
    if engine.most is not None:
        size = max(1, min(size, engine.most // cores()))
    while True:
        try:
            return _train(job, engine, weights, size)
        except tf.errors.ResourceExhaustedError as error:
            if size == 1:
                raise MemoryError(
                    "Not even one replica at a time fits into memory. Use a smaller `batch_size`, "
                    f"less data or a smaller model. TensorFlow says: {error.message}"
                ) from error
            size = -(-size // 2)


def cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _train(job: Job, engine: Engine, weights: list[np.ndarray], limit: int) -> Outcome:
    groups = -(-job.replicas // limit)
    size = -(-job.replicas // groups)
    begin = time.perf_counter()
    runner = _runner(job, engine, size, min(groups, cores()))
    seconds = time.perf_counter() - begin
    results = runner.train(weights, _optimizer_values(job, runner.programs[0]))
    return Outcome.of(
        job,
        weights,
        results,
        interrupted=runner.interrupted,
        engine=f"{engine} ({_described(len(runner.programs), groups, size)})",
        compile_seconds=seconds,
    )


def _runner(job: Job, engine: Engine, size: int, programs: int) -> Runner:
    assert engine.mapper is not None
    settings = Settings(
        train=job.train,
        validation=job.validation,
        epochs=max(1, min(job.epochs, STEPS_A_CALL // job.train.steps)),
        terms=job.term_positions,
        monitor=job.monitor,
        sign=job.sign,
        unlabelled=job.unlabelled,
    )
    try:
        runner = Runner(
            [Program(job.step, settings, size, engine.mapper, engine.jit) for _ in range(programs)],
            job.epochs,
            job.inputs,
            job.progress,
        )
        runner.compile(np.arange(size))
    except tf.errors.ResourceExhaustedError:
        raise
    except Exception as error:
        raise CannotCompileError(_first_line(error)) from error
    return runner


def _optimizer_values(job: Job, program: Program) -> list[np.ndarray]:
    """Returns the optimizer's state to start from: fresh where replicas are drawn by seed."""
    optimizer = job.step.model.optimizer
    if job.seeds is None and optimizer.built:
        return stacked_values(optimizer, program.optimizer)
    return program.fresh_optimizer


def _described(programs: int, groups: int, size: int) -> str:
    text = f"{programs} program{'s' * (programs > 1)} of {size}"
    return text if groups == programs else f"{text}, {groups} groups"


def _first_line(error: Any) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
