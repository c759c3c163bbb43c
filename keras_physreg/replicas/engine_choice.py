"""The choice of the engine: the fastest one whose training equals that of `fit`."""

from dataclasses import replace

import numpy as np

from keras_physreg.replicas import engines
from keras_physreg.replicas.compiled import CannotCompileError, CompiledTrainer
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.known_trainers import KnownTrainers, Origin
from keras_physreg.replicas.outcome import Outcome
from keras_physreg.replicas.probe import Probe
from keras_physreg.replicas.sequential import SequentialTrainer

Trainer = CompiledTrainer | SequentialTrainer


class Failures:
    """The reasons why engines are not used, as text; a shared reason appears once."""

    def __init__(self) -> None:
        self._engines: dict[str, list[str]] = {}

    def add(self, engine: str, reason: str) -> None:
        """Records why an engine is not used."""
        engines = self._engines.setdefault(reason, [])
        if engine not in engines:
            engines.append(engine)

    def __str__(self) -> str:
        return "".join(f"; {' and '.join(e)}: {reason}" for reason, e in self._engines.items())


def train_by_fastest(
    job: Job, weights: list[np.ndarray], requested: str, per_program: int | None
) -> tuple[Trainer, Outcome]:
    """Trains a job by the fastest engine that compiles and whose steps equal those of `fit`.

    Programs that trained the model before are used again if they are still the same ones.

    Args:
        job: The training.
        weights: The initial weights and state of the replicas, replicas first.
        requested: `"auto"`, or the name of an engine.
        per_program: Maximum of replicas per program, or `None`.

    Returns:
        The trainer, for further jobs of the same kind, and the outcome.

    Raises:
        ValueError: If the requested engine cannot train as `fit` does.
    """
    origin = known = None
    if requested != "sequential" and engines.why_sequential(job.step.model) is None:
        origin = Origin.of(job, requested, per_program)
        known = KnownTrainers(job.step.model)
        if engines.is_slow_by_xla(origin.graphs.train):
            job = replace(job, step=job.step.with_kernels_of_fit())
        if (trainer := known.find(origin)) is not None:
            try:
                return trainer, trainer.train(job, weights)
            except CannotCompileError:  # For data of another shape.
                known.drop(origin)
    failures = Failures()
    failed: CannotCompileError | None = None
    probe: Probe | None = None
    for engine in engines.candidates(job.step, requested, origin and origin.graphs.train):
        if engine.mapper is None:
            last = SequentialTrainer(replace(engine, reason=f"{engine.reason}{failures}"))
            return last, last.train(job, weights)
        probe = probe or Probe(job, weights)
        try:
            difference = probe.difference(engine)
            if difference is not None:
                failures.add(engine.name, difference)
                continue
            reason = f"{engine.reason}, and {probe.compared}{failures}"
            engine = replace(engine, reason=reason)
            trainer = CompiledTrainer(engine, per_program, job.step.only_random)
            outcome = trainer.train(job, weights)
            if known is not None and origin is not None:
                known.add(origin, trainer)
            return trainer, outcome
        except CannotCompileError as error:
            failed = error
            failures.add(f"{engine.name}{' by XLA' * engine.jit}", f"failed ({error})")
    raise ValueError(
        f"engine='{requested}' cannot train model '{job.step.model.name}' as `fit` would"
        f"{failures}. Use engine='auto'."
    ) from failed
