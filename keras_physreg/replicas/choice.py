"""Chooses the engine: the fastest that trains as `fit` does."""

from dataclasses import replace

import numpy as np

from keras_physreg.replicas import engines
from keras_physreg.replicas.compiled import CannotCompileError, CompiledTrainer
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.outcome import Outcome
from keras_physreg.replicas.probe import Probe
from keras_physreg.replicas.sequential import SequentialTrainer

Trainer = CompiledTrainer | SequentialTrainer


class Failures:
    """Why engines do not serve, in words; what is true of several is said once."""

    def __init__(self) -> None:
        self._engines: dict[str, list[str]] = {}

    def add(self, engine: str, reason: str) -> None:
        """Notes why an engine does not serve."""
        engines = self._engines.setdefault(reason, [])
        if engine not in engines:
            engines.append(engine)

    def __str__(self) -> str:
        return "".join(f"; {' and '.join(e)}: {reason}" for reason, e in self._engines.items())


def first_that_serves(
    job: Job, weights: list[np.ndarray], requested: str, per_program: int | None
) -> tuple[Trainer, Outcome]:
    """Trains a job by the fastest engine that compiles, and whose steps are those of `fit`.

    Args:
        job: What is to be trained.
        weights: What the replicas start from.
        requested: `"auto"`, or the name of an engine.
        per_program: Replicas in one program at most, or `None`.

    Returns:
        What trained it, for further jobs of the kind, and the outcome.

    Raises:
        ValueError: If the engine asked for does not serve.
    """
    failures = Failures()
    probe: Probe | None = None
    for engine in engines.candidates(job.step, job.train, requested, job.unlabelled):
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
            trainer = CompiledTrainer(replace(engine, reason=reason), per_program)
            return trainer, trainer.train(job, weights)
        except CannotCompileError as error:
            failures.add(f"{engine.name}{' by XLA' * engine.jit}", f"failed ({error})")
    raise ValueError(
        f"engine='{requested}' cannot train model '{job.step.model.name}' as `fit` would"
        f"{failures}. Use engine='auto'."
    )
