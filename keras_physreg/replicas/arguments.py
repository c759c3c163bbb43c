"""Checks of the arguments of `ReplicaTrainer`."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_physreg._utils.errors import is_whole, received, whole_number


def checked_seeds(seeds: Any) -> list[int] | None:
    """Returns the seeds as a list of integers, or raises."""
    if seeds is None:
        return None
    if np.ndim(seeds) != 1 or not all(is_whole(s) and s >= 0 for s in seeds):
        raise ValueError(
            "`seeds` must be None or a list of whole numbers >= 0, one per replica. "
            f"{received('seeds', seeds)}"
        )
    return [int(seed) for seed in seeds]


def checked_programs(engine: str, replicas_per_program: Any) -> tuple[str, int | None]:
    """Returns the engine and the maximum of replicas per program, or raises."""
    known = ("auto", "stacked", "in-turn", "sequential")
    if engine not in known:
        raise ValueError(f"`engine` must be one of {known}. {received('engine', engine)}")
    return engine, whole_number("replicas_per_program", replicas_per_program, optional=True)
