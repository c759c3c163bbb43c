"""Compares some steps of a program with those of the model's own `train_step`."""

from dataclasses import dataclass

import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.variables import unchanged, values_of
from keras_physreg.replicas.engines import Engine
from keras_physreg.replicas.hidden_state import hidden_variables, why_hidden
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.own_steps import LOG, OwnSteps, unlabelled_share
from keras_physreg.replicas.probe_start import COMPARED, STEPS, Start, batches, row_numbers, starts
from keras_physreg.replicas.program_steps import ProgramSteps
from keras_physreg.replicas.rounding import allowed, change, distance, precision, rounded

TINY = 1e-30
REPEATABLE = 1e-3  # Beyond this share of a log, its repetition is another draw.
ROUNDED = 2  # Further runs per replica, from a start that is rounded.


@dataclass(frozen=True)
class Course:
    """What the model's own steps made of one replica.

    Args:
        values: All variables after the steps, and the logs, by name.
        changes: How far they are from where they started.
        noise: How far roundings of the start moved each change.
    """

    values: dict[str, np.ndarray]
    changes: dict[str, np.ndarray]
    noise: dict[str, float]


class Probe:
    """Some own steps of a model, on the rows that its replicas will see, to compare engines with.

    They are taken at the start of the training, and late in it from other weights: an optimizer
    may do other things then. Compared are all variables of model, optimizer and metrics, and the
    logs. The model is left as it was.

    Args:
        job: What is to be trained.
        weights: What the replicas start from, replicas first.
    """

    def __init__(self, job: Job, weights: list[np.ndarray]) -> None:
        model = job.step.model
        self._job, self._eps = job, precision(model)
        self._starts = list(starts(job, weights))
        self._rows, self._more = row_numbers(job)
        self._own = OwnSteps(job.step, batches(job, self._rows, self._more))
        self._answers: dict[str, str | None] = {}
        self._courses: list[list[Course]] = []
        self.compared = f"{STEPS * len(self._starts)} steps equal those of `fit`"
        hidden = hidden_variables(model)
        variables = [variable for _, variable in hidden]
        self._refused: str | None = None
        with unchanged([*self._own.variables, *variables]), unlabelled_share(job.step):
            before = values_of(variables)
            _, first = self._own.take(*self._starts[0].of(0))
            self._refused = why_hidden(model, hidden, before)
            if self._refused is None:
                self._take_own_steps()
                self._refused = _why_not_repeatable(first, self._courses[0][0].values)

    def difference(self, engine: Engine) -> str | None:
        """Returns how an engine's steps differ from those of `fit`; `None` where they do not.

        Raises:
            CannotCompileError: If the engine cannot trace the model's step.
        """
        if engine.name not in self._answers:
            self._answers[engine.name] = self._refused or self._compare(engine)
        return self._answers[engine.name]

    def _take_own_steps(self) -> None:
        rng = np.random.default_rng(0)
        for start in self._starts:
            self._courses.append([self._course(start, k, rng) for k in range(COMPARED)])

    def _course(self, start: Start, replica: int, rng: np.random.Generator) -> Course:
        weights, optimizer, before = start.of(replica)
        count = len(self._job.step.variables.trainable)
        start_values, values = self._own.take(weights, optimizer, before)
        changes = _changes(start_values, values)
        noise = dict.fromkeys(values, 0.0)
        for _ in range(ROUNDED):
            moved = [*rounded(weights[:count], self._eps, rng), *weights[count:]]
            others = _changes(*self._own.take(moved, optimizer, before))
            noise = {k: max(n, distance(changes[k], others[k])) for k, n in noise.items()}
        return Course(values, changes, noise)

    def _compare(self, engine: Engine) -> str | None:
        try:
            program = ProgramSteps(self._job, engine, self._own, self._rows, self._more)
            for start, courses in zip(self._starts, self._courses, strict=True):
                for course, values in zip(courses, program.take(start), strict=False):
                    if (found := self._words(course, values)) is not None:
                        return found
        except tf.errors.ResourceExhaustedError:
            self.compared = "memory does not suffice to compare its steps with those of `fit`"
        return None

    def _words(self, course: Course, values: dict[str, np.ndarray]) -> str | None:
        """Returns where a replica is off by more than rounding explains, farthest first."""
        if others := sorted(set(values) ^ set(course.values)):
            return f"its logs are not those of `fit`: {', '.join(others)}"
        worst, off = 1.0, None
        for name, own in course.values.items():
            gap = distance(own, values[name])
            limit = allowed(own, course.changes[name], course.noise[name], self._eps)
            if gap / max(limit, TINY) > worst:
                worst, off = gap / max(limit, TINY), (name, gap, limit)
        return None if off is None else self._off(*off)

    def _off(self, name: str, gap: float, limit: float) -> str:
        optimizer = type(self._job.step.model.optimizer).__name__
        how = (
            f"off by {gap:.2g} after {STEPS} steps, where rounding explains {limit:.2g}"
            if np.isfinite(gap)
            else "not finite beside a replica that has diverged"
        )
        name = name.split(" (")[0]
        return f"its steps with {optimizer} are not those of `fit`: {name} is {how}"


def _changes(start: dict[str, np.ndarray], values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns how far values are from where they started; logs started at 0."""
    return {name: change(value, start.get(name, np.zeros(()))) for name, value in values.items()}


def _why_not_repeatable(values: dict[str, np.ndarray], again: dict[str, np.ndarray]) -> str | None:
    """Returns that a model's own steps differ from themselves, if they do, judged by the logs."""
    for name in (name for name in values if name.startswith(LOG)):
        if distance(values[name], again[name]) > REPEATABLE * np.max(np.abs(values[name])):
            return (
                "the model's own steps come out differently when they are repeated: it draws "
                "random numbers other than from a `keras.random.SeedGenerator`"
            )
    return None
