"""Trains a job by compiled programs, as many at once as there are cores."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.replicas.engines import Engine
from keras_physreg.replicas.feed import Feed
from keras_physreg.replicas.form import Form, forms
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.optimizers import stacked_values
from keras_physreg.replicas.outcome import Outcome, Trained
from keras_physreg.replicas.program import Program
from keras_physreg.replicas.runner import Runner

MAX_SLOTS = 32  # Replicas in one program: more of them run no faster, and few ones slower.
MAX_TURNS = 16  # Of a program in one training: what needs more is worth larger programs.
MAX_FORMS = 16  # Of which programs are kept: they hold memory.


class CannotCompileError(RuntimeError):
    """An engine cannot trace or compile a model's step."""


@dataclass(frozen=True)
class Compiled:
    """The programs of one form, one per core."""

    form: Form
    programs: list[Program]

    @property
    def slots(self) -> int:
        """Replicas that the programs hold together."""
        return sum(program.size for program in self.programs)


class CompiledTrainer:
    """Trains jobs that differ in weights, seeds and rows, by programs compiled once.

    Args:
        engine: How.
        per_program: Replicas in one program at most; `None` for 32.
    """

    def __init__(self, engine: Engine, per_program: int | None) -> None:
        self.engine = engine
        self.compiles = 0
        self._limit = per_program or MAX_SLOTS
        if engine.most is not None:
            self._limit = max(1, min(self._limit, engine.most // cores()))
        self._known: list[Compiled] = []  # The one used last is the last.

    def train(self, job: Job, weights: list[np.ndarray]) -> Outcome:
        """Trains all replicas; where they do not fit into memory, fewer of them per program.

        Replicas that train on equally many rows share their programs.

        Args:
            job: What is to be trained.
            weights: What the replicas start from.

        Raises:
            CannotCompileError: If the engine cannot compile the model's step.
            MemoryError: If not even one replica fits into memory.
        """
        results: list[Trained] = []
        seconds, interrupted, used = 0.0, False, []
        for replicas, form in forms(job):
            if interrupted:
                results.append(Trained(replicas))
                continue
            runner, spent = self._train_in_memory(job, form, replicas, weights)
            results += runner.results
            seconds, interrupted = seconds + spent, runner.interrupted
            used.append((runner, len(replicas)))
        return Outcome.of(
            job.step.variables.weights,
            job.log_names,
            weights,
            results,
            interrupted=interrupted,
            engine=f"{self.engine} ({_described(used)})",
            compile_seconds=seconds,
        )

    def _train_in_memory(
        self, job: Job, form: Form, replicas: np.ndarray, weights: list[np.ndarray]
    ) -> tuple[Runner, float]:
        """Trains replicas of one form; returns what ran, and the seconds to compile it."""
        while True:
            begin = time.perf_counter()
            try:
                compiled = self._compiled(job, form, replicas)
                runner = Runner(compiled.programs, Feed(job, compiled.form), job.epochs)
                seconds = time.perf_counter() - begin
                optimizer = _optimizer_values(job, compiled.programs[0])
                runner.train(replicas, weights, optimizer, job.progress)
                return runner, seconds
            except tf.errors.ResourceExhaustedError as error:
                size = min(self._limit, -(-len(replicas) // cores()))
                self._known = []
                if size == 1:
                    raise MemoryError(
                        "Not even one replica at a time fits into memory. Use a smaller "
                        "`batch_size`, less data or a smaller model. TensorFlow says: "
                        f"{error.message}"
                    ) from error
                self._limit = -(-size // 2)

    def _compiled(self, job: Job, form: Form, replicas: np.ndarray) -> Compiled:
        """Returns programs for a form: those that are there, or new ones."""
        for compiled in self._known:
            enough = len(replicas) <= MAX_TURNS * compiled.slots
            full = compiled.programs[0].size >= self._limit and len(compiled.programs) == cores()
            if compiled.form.serves(form) and (enough or full):
                self._known.remove(compiled)
                self._known.append(compiled)
                return compiled
        self._known = [known for known in self._known if not form.serves(known.form)]
        groups = -(-len(replicas) // self._limit)
        groups = min(-(-groups // cores()) * cores(), len(replicas))  # As many on every core.
        size = -(-len(replicas) // groups)
        self._forget(size * cores())
        compiled = self._compile(job, form, replicas, size, min(groups, cores()))
        self._known.append(compiled)
        return compiled

    def _compile(
        self, job: Job, form: Form, replicas: np.ndarray, size: int, count: int
    ) -> Compiled:
        mapper, jit = self.engine.mapper, self.engine.jit
        assert mapper is not None
        with compiling():
            programs = [Program(job.step, form, size, mapper, jit) for _ in range(count)]
            Runner(programs, Feed(job, form), job.epochs).compile(replicas)
        self.compiles += sum(program.compiles for program in programs)
        return Compiled(form, programs)

    def _forget(self, slots: int) -> None:
        """Drops the programs that were not used for longest, to make room for so many replicas."""
        most = MAX_FORMS * slots if self.engine.most is None else self.engine.most
        held = sum(compiled.slots for compiled in self._known)
        while self._known and (len(self._known) >= MAX_FORMS or held + slots > most):
            held -= self._known.pop(0).slots


def cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Turns errors of tracing and compiling into `CannotCompileError`; memory is another matter."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise
    except Exception as error:
        raise CannotCompileError(_first_line(error)) from error


def _optimizer_values(job: Job, program: Program) -> list[np.ndarray]:
    """Returns the optimizer's state to start from: fresh where replicas are drawn by seed."""
    optimizer = job.step.model.optimizer
    if job.seeds is None and optimizer.built:
        return stacked_values(optimizer, program.optimizer)
    return program.fresh_optimizer


def _described(used: list[tuple[Runner, int]]) -> str:
    """Returns how many programs ran, of how many replicas each, and how often."""
    parts = []
    for runner, replicas in used:
        programs, size = len(runner.programs), runner.programs[0].size
        groups = -(-replicas // size)
        text = f"{programs} program{'s' * (programs > 1)} of {size}"
        parts.append(text if groups <= programs else f"{text}, {groups} groups")
    return "; ".join(parts)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
