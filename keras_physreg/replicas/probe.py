"""Probe: compares some steps of a program with those of the model's own `train_step`."""

from dataclasses import dataclass

import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.variables import unchanged, values_of
from keras_physreg.replicas.engines import Engine
from keras_physreg.replicas.hidden_state import hidden_variables, why_hidden
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.model_steps import LOG_PREFIX, ModelSteps, unlabelled_share
from keras_physreg.replicas.probe_start import (
    COMPARED_REPLICAS,
    STEPS,
    Start,
    batches,
    row_numbers,
    starts,
)
from keras_physreg.replicas.program_steps import ProgramSteps
from keras_physreg.replicas.rounding import allowed, change, distance, precision, rounded

TINY = 1e-30
MAX_REPEAT_DIFFERENCE = 1e-3  # Relative to a log; beyond it, repeated steps count as random.
ROUNDED_RUNS = 2  # per replica, from a start with other rounding


@dataclass(frozen=True)
class ReferenceRun:
    """The result of the model's own steps for one replica.

    Args:
        values: All variables after the steps, and the logs, by name.
        changes: Their changes since the start.
        noise: The largest difference that rounding of the start made to each change.
    """

    values: dict[str, np.ndarray]
    changes: dict[str, np.ndarray]
    noise: dict[str, float]


class Probe:
    """Compares engines with some of the model's own steps, on rows of the training data.

    Steps are compared at the start of the training, and late in it from other weights, since an
    optimizer may behave differently then. The comparison covers all variables of the model, the
    optimizer and the metrics, and the logs. The model does not change.

    Args:
        job: The training.
        weights: The initial weights and state of the replicas, replicas first.
    """

    def __init__(self, job: Job, weights: list[np.ndarray]) -> None:
        model = job.step.model
        self._job, self._eps = job, precision(model)
        self._starts = list(starts(job, weights))
        self._rows, self._more = row_numbers(job)
        self._own = ModelSteps(job.step, batches(job, self._rows, self._more))
        self._answers: dict[str, str | None] = {}
        self._references: list[list[ReferenceRun]] = []
        self.compared = f"{STEPS * len(self._starts)} steps equal those of `fit`"
        hidden = hidden_variables(model)
        variables = [variable for _, variable in hidden]
        self._refused: str | None = None
        with unchanged([*self._own.variables, *variables]), unlabelled_share(job.step):
            before = values_of(variables)
            _, first = self._own.take(*self._starts[0].of(0))
            self._refused = why_hidden(model, hidden, before)
            if self._refused is None:
                self._run_references()
                self._refused = _why_not_repeatable(first, self._references[0][0].values)

    def difference(self, engine: Engine) -> str | None:
        """Returns how an engine's steps differ from those of `fit`; `None` if they do not.

        Raises:
            CannotCompileError: If the engine cannot trace the model's step.
        """
        if engine.name not in self._answers:
            self._answers[engine.name] = self._refused or self._compare(engine)
        return self._answers[engine.name]

    def _run_references(self) -> None:
        rng = np.random.default_rng(0)
        for start in self._starts:
            runs = [self._reference(start, k, rng) for k in range(COMPARED_REPLICAS)]
            self._references.append(runs)

    def _reference(self, start: Start, replica: int, rng: np.random.Generator) -> ReferenceRun:
        weights, optimizer, before = start.of(replica)
        count = len(self._job.step.variables.trainable)
        start_values, values = self._own.take(weights, optimizer, before)
        changes = _changes(start_values, values)
        noise = dict.fromkeys(values, 0.0)
        for _ in range(ROUNDED_RUNS):
            moved = [*rounded(weights[:count], self._eps, rng), *weights[count:]]
            others = _changes(*self._own.take(moved, optimizer, before))
            noise = {k: max(n, distance(changes[k], others[k])) for k, n in noise.items()}
        return ReferenceRun(values, changes, noise)

    def _compare(self, engine: Engine) -> str | None:
        try:
            program = ProgramSteps(self._job, engine, self._own, self._rows, self._more)
            for start, references in zip(self._starts, self._references, strict=True):
                for reference, values in zip(references, program.take(start), strict=False):
                    if (found := self._largest_difference(reference, values)) is not None:
                        return found
        except tf.errors.ResourceExhaustedError:
            self.compared = "there is too little memory to compare its steps with those of `fit`"
        return None

    def _largest_difference(
        self, reference: ReferenceRun, values: dict[str, np.ndarray]
    ) -> str | None:
        """Returns where a replica differs most; `None` if rounding explains all differences."""
        if others := sorted(set(values) ^ set(reference.values)):
            return f"its logs are not those of `fit`: {', '.join(others)}"
        worst, off = 1.0, None
        for name, own in reference.values.items():
            gap = distance(own, values[name])
            limit = allowed(own, reference.changes[name], reference.noise[name], self._eps)
            if gap / max(limit, TINY) > worst:
                worst, off = gap / max(limit, TINY), (name, gap, limit)
        return None if off is None else self._off(*off)

    def _off(self, name: str, gap: float, limit: float) -> str:
        optimizer = type(self._job.step.model.optimizer).__name__
        how = (
            f"off by {gap:.2g} after {STEPS} steps, where rounding explains {limit:.2g}"
            if np.isfinite(gap)
            else "not finite once another replica has diverged"
        )
        name = name.split(" (")[0]
        return f"its steps with {optimizer} are not those of `fit`: {name} is {how}"


def _changes(start: dict[str, np.ndarray], values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the changes of values since the start, where logs are 0."""
    return {name: change(value, start.get(name, np.zeros(()))) for name, value in values.items()}


def _why_not_repeatable(values: dict[str, np.ndarray], again: dict[str, np.ndarray]) -> str | None:
    """Returns a reason if the logs of a model's own steps change when they are repeated."""
    for name in (name for name in values if name.startswith(LOG_PREFIX)):
        limit = MAX_REPEAT_DIFFERENCE * np.max(np.abs(values[name]))
        if distance(values[name], again[name]) > limit:
            return (
                "the model's own steps come out differently when they are repeated: it draws "
                "random numbers other than from a `keras.random.SeedGenerator`"
            )
    return None
