"""CompiledTrainer: trains a job by compiled programs, one per core or per GPU."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.replicas import devices
from keras_physreg.replicas.engines import Engine
from keras_physreg.replicas.feed import Feed
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.optimizers import stacked_values
from keras_physreg.replicas.outcome import Outcome, Trained
from keras_physreg.replicas.program import Program
from keras_physreg.replicas.program_spec import ProgramSpec, program_specs
from keras_physreg.replicas.replica_step import ReplicaStep
from keras_physreg.replicas.runner import Runner

MAX_REPLICAS_PER_PROGRAM = 32  # on a core: larger programs run no faster per replica there
MAX_GROUPS_PER_PROGRAM = 16  # For more groups of replicas, larger programs are compiled.
MIN_REPLICAS_PER_GROUP = 2  # on a core: one alone takes twice as long
FEW_ON_GPU = 64  # slots of a program, which any job may take, since a step is short
MAX_EMPTY_ON_GPU = 4  # times as many slots as replicas; else a smaller program is compiled
MAX_SPECS = 16  # whose programs are kept, since programs hold memory


class CannotCompileError(RuntimeError):
    """An engine cannot trace or compile a model's step."""


@dataclass(frozen=True)
class Compiled:
    """The programs of one specification, one per core or per GPU.

    Args:
        spec: The specification.
        programs: The programs.
        lock: Held during a training: programs keep the state of its replicas.
    """

    spec: ProgramSpec
    programs: list[Program]
    lock: threading.Lock = field(default_factory=threading.Lock, compare=False)

    @property
    def slots(self) -> int:
        """The number of replicas that all programs hold together."""
        return sum(program.size for program in self.programs)

    @contextlib.contextmanager
    def of(self, step: ReplicaStep) -> Iterator[None]:
        """Lends the programs to a training, whose step they run if they are traced again."""
        with self.lock:
            try:
                for program in self.programs:
                    program.lend(step)
                yield
            finally:
                for program in self.programs:
                    program.lend(None)


class CompiledTrainer:
    """Trains jobs that differ in weights, seeds and rows, in programs that are compiled once.

    Args:
        engine: The engine of the programs.
        per_program: Maximum of replicas per program; `None` for 32, and on GPUs for all that fit.
        kernels_of_fit: Whether layers have the kernels of TensorFlow, as in `fit`.
    """

    def __init__(
        self, engine: Engine, per_program: int | None, kernels_of_fit: bool = False
    ) -> None:
        self.engine, self._kernels_of_fit = engine, kernels_of_fit
        self.compiles = 0
        self._places = places()
        on_cores = None in self._places
        self._limit = per_program or (MAX_REPLICAS_PER_PROGRAM if on_cores else sys.maxsize)
        if engine.max_replicas is not None:
            self._limit = max(1, min(self._limit, engine.max_replicas // len(self._places)))
        self._cache: list[Compiled] = []  # The most recently used is the last.

    @property
    def size(self) -> int:
        """The bytes that the state of all programs takes."""
        return sum(program.bytes for known in self._cache for program in known.programs)

    def again(self) -> CompiledTrainer:
        """Returns a trainer for another training, with the programs that there are."""
        other = CompiledTrainer(self.engine, self._limit, self._kernels_of_fit)
        other._cache = [*self._cache]
        return other

    def train(self, job: Job, weights: list[np.ndarray]) -> Outcome:
        """Trains all replicas, with fewer per program if they do not fit into memory.

        Replicas that train on equally many rows share their programs.

        Args:
            job: The training.
            weights: The initial weights and state of the replicas, replicas first.

        Raises:
            CannotCompileError: If the engine cannot compile the model's step.
            MemoryError: If not even one replica fits into memory.
        """
        if self._kernels_of_fit:
            job = replace(job, step=job.step.with_kernels_of_fit())
        results: list[Trained] = []
        seconds, interrupted, used = 0.0, False, []
        for replicas, spec in program_specs(job):
            if interrupted:
                results.append(Trained(replicas))
                continue
            runner, spent = self._train_in_memory(job, spec, replicas, weights)
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
        self, job: Job, spec: ProgramSpec, replicas: np.ndarray, weights: list[np.ndarray]
    ) -> tuple[Runner, float]:
        """Trains replicas of one specification; returns the runner, and the seconds to compile."""
        while True:
            begin = time.perf_counter()
            try:
                compiled = self._programs(job, spec, len(replicas))
                runner = Runner(compiled.programs, Feed(job, compiled.spec), job.epochs)
                with compiled.of(job.step):
                    self._compile(compiled, runner, replicas)
                    seconds = time.perf_counter() - begin
                    optimizer = _optimizer_values(job, compiled.programs[0])
                    runner.train(replicas, weights, optimizer, job.progress)
                return runner, seconds
            except tf.errors.ResourceExhaustedError as error:
                size = min(self._limit, -(-len(replicas) // len(self._places)))
                self._cache = []
                if size == 1:
                    raise MemoryError(
                        "Not even one replica at a time fits into memory. Use a smaller "
                        "`batch_size`, less data or a smaller model. TensorFlow says: "
                        f"{error.message}"
                    ) from error
                self._limit = -(-size // 2)

    def _programs(self, job: Job, spec: ProgramSpec, replicas: int) -> Compiled:
        """Returns programs for a specification, from the cache or new ones."""
        count = len(self._places)
        for compiled in self._cache:
            if compiled.spec.can_replace(spec) and self._suits(compiled, replicas):
                return compiled
        groups = -(-replicas // self._limit)
        groups = min(-(-groups // count) * count, replicas)  # Equally many per core.
        size = -(-replicas // groups)
        self._cache = [
            known
            for known in self._cache
            if known.slots > size * count or not spec.can_replace(known.spec)
        ]
        self._forget(size * count)
        return self._new_programs(job, spec, size, self._places[:groups])

    def _suits(self, compiled: Compiled, replicas: int) -> bool:
        """Returns whether compiling other programs for so many replicas would not pay."""
        slots, is_largest = compiled.slots, len(compiled.programs) == len(self._places)
        is_largest = is_largest and compiled.programs[0].size >= self._limit
        if None in self._places:  # On cores, where a step takes longer the more slots there are.
            is_wide = slots >= min(replicas, MIN_REPLICAS_PER_GROUP * len(self._places))
            return is_largest or (is_wide and replicas <= MAX_GROUPS_PER_PROGRAM * slots)
        is_full_enough = slots <= max(FEW_ON_GPU, MAX_EMPTY_ON_GPU * replicas)
        return is_full_enough and (is_largest or replicas <= slots)

    def _new_programs(
        self, job: Job, spec: ProgramSpec, size: int, places: Sequence[str | None]
    ) -> Compiled:
        mapper, jit = self.engine.mapper, self.engine.jit
        assert mapper is not None
        with compiling():
            programs = [Program(job.step, spec, size, mapper, jit, place) for place in places]
        for program in programs[1:]:
            if program.device is None:  # Each GPU has its own.
                program.share(programs[0])
        return Compiled(spec, programs)

    def _compile(self, compiled: Compiled, runner: Runner, replicas: np.ndarray) -> None:
        """Compiles programs that are new, or get data of another shape, and keeps them."""
        before = sum(program.compiles for program in compiled.programs)
        self._cache = [known for known in self._cache if known is not compiled]
        with compiling():
            runner.compile(replicas)
        self.compiles += sum(program.compiles for program in compiled.programs) - before
        self._cache.append(compiled)

    def _forget(self, slots: int) -> None:
        """Drops the least recently used programs, to make room for so many replicas."""
        every = [compiled.slots for compiled in self._cache]
        held, limit = sum(every), self.engine.max_replicas
        if limit is None:
            limit = MAX_SPECS * max(slots, *every, 0)
        while self._cache and (len(self._cache) >= MAX_SPECS or held + slots > limit):
            held -= self._cache.pop(0).slots


_core_limits: list[int] = []


@contextlib.contextmanager
def limited_cores(count: int) -> Iterator[None]:
    """Limits the cores for which programs are compiled in the block; others use the rest."""
    _core_limits.append(count)
    try:
        yield
    finally:
        _core_limits.pop()


def cores() -> int:
    """Returns the number of cores that this process may use."""
    if _core_limits:
        return _core_limits[-1]
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def places() -> list[str | None]:
    """Returns the device of each program: every GPU, or else `None` for every core."""
    return [*devices.devices()] or [None] * cores()


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Turns errors of tracing and compiling into `CannotCompileError`, except lack of memory."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise
    except Exception as error:
        raise CannotCompileError(_first_line(error)) from error


def _optimizer_values(job: Job, program: Program) -> list[np.ndarray]:
    """Returns the initial state of the optimizer, which is new where replicas have seeds."""
    optimizer = job.step.model.optimizer
    if job.seeds is None and optimizer.built:
        return stacked_values(optimizer, program.optimizer)
    return program.fresh_optimizer


def _described(used: list[tuple[Runner, int]]) -> str:
    """Returns the number of programs, their sizes, and the number of groups, as text."""
    parts = []
    for runner, replicas in used:
        programs, size = len(runner.programs), runner.programs[0].size
        groups = -(-replicas // size)
        text = f"{programs} program{'s' * (programs > 1)} of {size}"
        on = [devices.shown(p.device) for p in runner.programs if p.device is not None]
        text += f" on {', '.join(on)}" * bool(on)
        parts.append(text if groups <= programs else f"{text}, {groups} groups")
    return "; ".join(parts)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
