"""ProgramSpec: everything for which a program is compiled; all else is its input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_physreg.replicas.batches import Cut
from keras_physreg.replicas.job import Job

STEPS_PER_CALL = 256  # of a program: many hide the cost of a call, few let Ctrl-C act soon


@dataclass(frozen=True)
class ProgramSpec:
    """The properties for which a program is compiled: numbers of rows, and how they are used.

    The rows themselves, their order and the term weights are inputs of the program.

    Args:
        train: The division of a replica's training rows into batches.
        validation: The same for its held-out rows: several where replicas differ in the number of
            held-out rows, none without held-out rows.
        own_held_out: Whether each replica has its own held-out rows, among the training data.
        own_orders: Whether each replica has its own order of labelled, and of other, rows.
        streamed: The arrays of other rows, each with its rows per step.
        epochs: Maximum of epochs per call of the program.
        terms: Positions of the swept term weights among the state variables.
        monitor: Log by which each replica's best epoch is found.
        sign: 1 if a smaller monitor is better, -1 if a larger one is.
    """

    train: Cut
    validation: tuple[Cut, ...]
    own_held_out: bool
    own_orders: tuple[bool, bool]
    streamed: tuple[tuple[str, int], ...]
    epochs: int
    terms: tuple[int, ...]
    monitor: str
    sign: int

    def can_replace(self, other: ProgramSpec) -> bool:
        """Returns whether a program of this specification can replace one of the other."""
        free = {"validation": (), "epochs": 0}
        same = vars(self) | free == vars(other) | free
        return same and set(other.validation) <= set(self.validation)


def program_specs(job: Job) -> list[tuple[np.ndarray, ProgramSpec]]:
    """Returns groups of replicas that train on equally many rows, each with its specification."""
    sizes = np.array([job.cut(replica).size for replica in range(job.replicas)])
    groups = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
    return [(group, _program_spec(job, group)) for group in groups]


def _program_spec(job: Job, replicas: np.ndarray) -> ProgramSpec:
    train = job.cut(replicas[0])
    own = job.rows is not None and job.rows.held_out is not None
    return ProgramSpec(
        train=train,
        validation=_validation(job, replicas),
        own_held_out=own,
        own_orders=job.own_orders,
        streamed=job.streamed.sizes,
        epochs=max(1, min(job.epochs, job.streamed.max_steps(STEPS_PER_CALL) // train.steps)),
        terms=tuple(job.term_positions),
        monitor=job.monitor,
        sign=job.sign,
    )


def _validation(job: Job, replicas: np.ndarray) -> tuple[Cut, ...]:
    if job.rows is not None and job.rows.held_out is not None:
        sizes = sorted({len(job.rows.held_out[k]) for k in replicas})
        return tuple(Cut(size, job.validation_batch_size) for size in sizes)
    return () if job.validation is None else (job.validation.cut,)
