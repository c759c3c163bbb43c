"""Groups of replicas that a worker trains in one program, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_physreg.replicas.compiled import MAX_REPLICAS_PER_PROGRAM
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.outcome import Outcome, Trained
from keras_physreg.replicas.program_spec import program_specs


@dataclass(frozen=True)
class Group:
    """A group of replicas of one program.

    Args:
        replicas: Positions of the replicas in the training.
        weights: The weight or schedule of each term, one per replica.
        seeds: One seed per replica, or `None`.
        rows: The training rows and held-out rows of each replica, as arguments of
            `ReplicaTrainer.fit`.
        epochs: Number of epochs.
        size: The number of replicas for which a program is compiled, at least as many as here.
    """

    replicas: np.ndarray
    weights: dict[str, list[Any]]
    seeds: list[int] | None
    rows: dict[str, list[np.ndarray]]
    epochs: int
    size: int

    def filled(self) -> Group:
        """Returns the group with copies of its last replica, so that it has `size` replicas."""
        at = np.minimum(np.arange(self.size), len(self.replicas) - 1)

        def some(values: list[Any]) -> list[Any]:
            return [values[i] for i in at]

        return replace(
            self,
            replicas=self.replicas[at],
            weights={name: some(values) for name, values in self.weights.items()},
            seeds=None if self.seeds is None else some(self.seeds),
            rows={name: some(values) for name, values in self.rows.items()},
        )


@dataclass(frozen=True)
class GroupResult:
    """What a worker sends back.

    Args:
        trained: The weights and logs of the replicas, by the epochs that they finished.
        interrupted: Whether Ctrl-C reached the worker.
        engine: The engine, and the reason.
        compile_seconds: Seconds that it took to compile.
    """

    trained: list[Trained]
    interrupted: bool
    engine: str
    compile_seconds: float

    @classmethod
    def of(cls, outcome: Outcome, replicas: np.ndarray) -> GroupResult:
        """Returns the result of a training whose first replicas these are."""
        done = outcome.epochs_done[: len(replicas)]
        trained = []
        for epochs in np.unique(done):
            at = np.flatnonzero(done == epochs)
            part = Trained(replicas[at])
            if epochs:
                part.logs = {key: log[:epochs, at] for key, log in outcome.logs.items()}
                part.last = [value[at] for value in outcome.last]
                part.best = [value[at] for value in outcome.best]
                part.best_epoch = outcome.best_epoch[at]
            trained.append(part)
        return cls(trained, outcome.interrupted, outcome.engine, outcome.compile_seconds)


def groups_of(job: Job, workers: int, per_program: int | None) -> list[Group]:
    """Divides a training into groups of nearly equal sizes, as many for each worker.

    A program of one replica rounds otherwise than programs of several, so no group has one replica
    only, unless there is only one that trains on so many rows.

    Args:
        job: The training.
        workers: Number of workers.
        per_program: Maximum of replicas per group; `None` for 32.
    """
    limit = per_program or MAX_REPLICAS_PER_PROGRAM
    groups = []
    for replicas, _ in program_specs(job):
        count = -(-len(replicas) // limit)
        count = min(-(-count // workers) * workers, max(1, len(replicas) // 2))
        parts = np.array_split(replicas, count)
        groups += [_group(job, part, len(parts[0])) for part in parts]
    return groups


def _group(job: Job, replicas: np.ndarray, size: int) -> Group:
    rows: dict[str, list[np.ndarray]] = {}
    if job.rows is not None:
        rows["rows"] = [job.rows.train[k] for k in replicas]
        if job.rows.held_out is not None:
            rows["validation_rows"] = [job.rows.held_out[k] for k in replicas]
    entries = job.table.entries.items()
    return Group(
        replicas=replicas,
        weights={name: [values[k] for k in replicas] for name, values in entries},
        seeds=None if job.seeds is None else [job.seeds[k] for k in replicas],
        rows=rows,
        epochs=job.epochs,
        size=size,
    )
