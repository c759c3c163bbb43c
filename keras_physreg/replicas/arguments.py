"""Arguments of `ReplicaTrainer`, checked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from keras_physreg._utils.errors import whole_number
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.row_sets import row_sets


def with_rows(job: Job, rows: Any, validation_rows: Any) -> Job:
    """Returns a job with other rows, or raises where the last training had others."""
    if rows is None and validation_rows is None:
        if job.rows is not None and len(job.rows.train) != job.replicas:
            raise ValueError(
                f"The last training had {len(job.rows.train)} replicas with rows of their own: "
                f"give `rows` for {job.replicas} ones. Received: rows=None"
            )
        return job
    before = job.validation is not None or (job.rows is not None and job.rows.held_out is not None)
    if (validation_rows is not None) != before:
        raise ValueError(
            f"`refit` needs {'' if before else 'no '}`validation_rows`, as `fit` had "
            f"{'' if before else 'no '}held-out rows: the logs would differ. "
            f"Received: validation_rows={validation_rows!r}"
        )
    sets = row_sets(rows, validation_rows, job.replicas, job.train.size, job.seeds)
    return replace(job, rows=sets, validation=None)


def checked_seeds(seeds: Any) -> list[int] | None:
    """Returns the seeds as a list of integers, or raises."""
    if seeds is None:
        return None
    if np.ndim(seeds) != 1 or not all(isinstance(s, (int, np.integer)) and s >= 0 for s in seeds):
        raise ValueError(
            "`seeds` must be None or a list of whole numbers >= 0, one per replica. "
            f"Received: seeds={seeds!r}"
        )
    return [int(seed) for seed in seeds]


def checked_programs(engine: str, replicas_per_program: Any) -> tuple[str, int | None]:
    """Returns how replicas are put into programs, or raises."""
    known = ("auto", "stacked", "in-turn", "sequential")
    if engine not in known:
        raise ValueError(f"`engine` must be one of {known}. Received: engine={engine!r}")
    return engine, whole_number("replicas_per_program", replicas_per_program, optional=True)
