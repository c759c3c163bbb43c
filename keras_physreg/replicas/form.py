"""Form: what a compiled program is fixed to; all else is its input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_physreg.replicas.batches import Cut
from keras_physreg.replicas.job import Job

STEPS_PER_CALL = 256  # Of a program: enough to hide the call, few enough to answer Ctrl-C.


@dataclass(frozen=True)
class Form:
    """What a compiled program is fixed to: numbers of rows, and what is done with them.

    Which rows, in which order and with which weights are inputs.

    Args:
        train: How the training rows of a replica are cut into batches.
        validation: How the held-out rows are; several where replicas differ in their number; none
            without held-out rows.
        own_held_out: Whether each replica has held-out rows of its own, among the training data.
        own_orders: Whether each replica has an order of its own: of labelled and of unlabelled
            rows.
        unlabelled: Unlabelled rows per step; 0 for none.
        epochs: Epochs that one call of a program trains at most.
        terms: Positions of the term weights that are swept, among the state variables.
        monitor: Log by which each replica's best epoch is kept.
        sign: 1 where a smaller monitor is better, -1 where a larger one is.
    """

    train: Cut
    validation: tuple[Cut, ...]
    own_held_out: bool
    own_orders: tuple[bool, bool]
    unlabelled: int
    epochs: int
    terms: tuple[int, ...]
    monitor: str
    sign: int

    def serves(self, other: Form) -> bool:
        """Returns whether a program of this form can do what one of the other form does."""
        free = {"validation": (), "epochs": 0}
        same = vars(self) | free == vars(other) | free
        return same and set(other.validation) <= set(self.validation)


def forms(job: Job) -> list[tuple[np.ndarray, Form]]:
    """Returns groups of replicas that train on equally many rows, each with its form."""
    sizes = np.array([job.cut(replica).size for replica in range(job.replicas)])
    groups = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
    return [(group, _form(job, group)) for group in groups]


def _form(job: Job, replicas: np.ndarray) -> Form:
    train = job.cut(replicas[0])
    own = job.rows is not None and job.rows.held_out is not None
    return Form(
        train=train,
        validation=_validation(job, replicas),
        own_held_out=own,
        own_orders=job.own_orders,
        unlabelled=0 if job.unlabelled is None else job.unlabelled.batch_size,
        epochs=max(1, min(job.epochs, STEPS_PER_CALL // train.steps)),
        terms=tuple(job.term_positions),
        monitor=job.monitor,
        sign=job.sign,
    )


def _validation(job: Job, replicas: np.ndarray) -> tuple[Cut, ...]:
    if job.rows is not None and job.rows.held_out is not None:
        sizes = sorted({len(job.rows.held_out[k]) for k in replicas})
        return tuple(Cut(size, job.validation_batch_size) for size in sizes)
    return () if job.validation is None else (job.validation.cut,)
