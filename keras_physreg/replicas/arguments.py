"""Arguments of `ReplicaTrainer`, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_physreg._utils.errors import is_whole, whole_number


def checked_seeds(seeds: Any) -> list[int] | None:
    """Returns the seeds as a list of integers, or raises."""
    if seeds is None:
        return None
    if np.ndim(seeds) != 1 or not all(is_whole(s) and s >= 0 for s in seeds):
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
