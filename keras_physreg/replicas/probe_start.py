"""Where the steps start that an engine is judged by, and which rows they take."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_physreg.replicas.job import Job
from keras_physreg.replicas.optimizers import start_values

STEPS = 3
COMPARED = 2  # Replicas that are compared.
REPLICAS = 3  # With one that has diverged, and must not harm the others.
# A multiple of many numbers: what an optimizer does every n steps happens in this one.
LATE = 5040


@dataclass(frozen=True)
class Start:
    """Where steps start from.

    Args:
        weights: The replicas' weights and state, replicas first: those compared, then a diverged.
        optimizer: Values of the model's optimizer.
        batches_before: Number of batches that the optimizer counts as done before.
    """

    weights: list[np.ndarray]
    optimizer: list[np.ndarray]
    batches_before: int

    def of(self, replica: int) -> tuple[list[np.ndarray], list[np.ndarray], int]:
        """Returns the start of one replica, for `OwnSteps.take`."""
        return [value[replica] for value in self.weights], self.optimizer, self.batches_before


def starts(job: Job, weights: list[np.ndarray]) -> Iterator[Start]:
    """Returns the start of the training, and one late in it from other weights.

    Args:
        job: What is to be trained.
        weights: What the replicas start from, replicas first: the first and last are compared.
    """
    optimizer, trainable = job.step.model.optimizer, job.step.variables.trainable
    values = start_values(optimizer, trainable, job.seeds is not None)
    first = [value[[0, -1, 0]] for value in weights]
    for value in first[: len(trainable)]:
        value[COMPARED:] = np.nan
    yield Start(first, values, job.begin)
    rng = np.random.default_rng(0)
    late = LATE * (optimizer.ema_overwrite_frequency or 1)
    late *= optimizer.gradient_accumulation_steps or 1
    moved = [_moved(value, rng) for value in first[: len(trainable)]]
    yield Start([*moved, *first[len(trainable) :]], values, late - STEPS + 1)


def row_numbers(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of the labelled and unlabelled rows, each of shape `(steps, rows)`."""
    size = min(job.train.batch_size, *(job.cut(replica).size for replica in range(job.replicas)))
    rows = np.arange(STEPS * size).reshape(STEPS, size) % job.train.size
    if job.unlabelled is None:
        return rows, np.zeros((STEPS, 0), int)
    each = job.unlabelled.batch_size
    more = job.unlabelled.orders([0], 0, 1, STEPS, shuffle=False)
    return rows, np.asarray(more).reshape(STEPS, each)


def batches(job: Job, rows: np.ndarray, more: np.ndarray) -> list[Any]:
    """Returns the batches of these rows, one per step."""
    found = [job.train.take(numbers) for numbers in rows]
    if job.unlabelled is None:
        return found
    return [job.unlabelled.beside(batch, few) for batch, few in zip(found, more, strict=True)]


def _moved(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (value + 0.05 * rng.standard_normal(value.shape)).astype(value.dtype)
