"""The start values and the rows of the steps by which an engine is compared."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_physreg.replicas.job import Job
from keras_physreg.replicas.optimizers import start_values
from keras_physreg.replicas.streamed_rows import Streamed, joined

STEPS = 3
COMPARED_REPLICAS = 2
PROBE_REPLICAS = 3  # The third has diverged, and must not change the others.
# The late start is at a multiple of many n, for optimizers that do something every n steps.
LATE_BATCHES = 5040


@dataclass(frozen=True)
class Start:
    """The values from which steps start.

    Args:
        weights: The replicas' weights and state, replicas first: the compared ones, then one that
            has diverged.
        optimizer: Values of the model's optimizer.
        batches_before: Number of batches that the optimizer counts as seen before.
    """

    weights: list[np.ndarray]
    optimizer: list[np.ndarray]
    batches_before: int

    def of(self, replica: int) -> tuple[list[np.ndarray], list[np.ndarray], int]:
        """Returns the start of one replica, for `ModelSteps.take`."""
        return [value[replica] for value in self.weights], self.optimizer, self.batches_before


def starts(job: Job, weights: list[np.ndarray]) -> Iterator[Start]:
    """Returns the start of the training, and a start late in it from other weights.

    Args:
        job: The training.
        weights: The initial weights and state of the replicas, replicas first. The first and last
            replica are compared.
    """
    optimizer, trainable = job.step.model.optimizer, job.step.variables.trainable
    values = start_values(optimizer, trainable, job.seeds is not None)
    first = [value[[0, -1, 0]] for value in weights]
    for value in first[: len(trainable)]:
        value[COMPARED_REPLICAS:] = np.nan
    yield Start(first, values, job.begin)
    rng = np.random.default_rng(0)
    late = LATE_BATCHES * (optimizer.ema_overwrite_frequency or 1)
    late *= optimizer.gradient_accumulation_steps or 1
    perturbed = [_perturbed(value, rng) for value in first[: len(trainable)]]
    yield Start([*perturbed, *first[len(trainable) :]], values, late - STEPS + 1)


def row_numbers(job: Job) -> tuple[np.ndarray, Streamed]:
    """Returns the numbers of the labelled rows, of shape `(steps, rows)`, and the other rows."""
    size = min(job.train.batch_size, *(job.cut(replica).size for replica in range(job.replicas)))
    rows = np.arange(STEPS * size).reshape(STEPS, size) % job.train.size
    return rows, job.streamed.of([0], 0, 1, STEPS, shuffle=False, own=False)


def batches(job: Job, rows: np.ndarray, more: Streamed) -> list[Any]:
    """Returns the batches of these rows, one per step."""
    return [
        joined(job.train.take(numbers), job.streamed.of_step(more, step))
        for step, numbers in enumerate(rows)
    ]


def _perturbed(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (value + 0.05 * rng.standard_normal(value.shape)).astype(value.dtype)
