"""The weights of trained replicas, and checks of the replicas that a user selects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_physreg._utils.errors import received, sequence, whole_number
from keras_physreg._utils.names import duplicates
from keras_physreg.replicas.outcome import Outcome


def weights_at(outcome: Outcome, which: str) -> list[np.ndarray]:
    """Returns the weights of all replicas at their best or last epochs, replicas first."""
    if which not in ("best", "last"):
        raise ValueError(f"`which` must be 'best' or 'last'. {received('which', which)}")
    values: list[np.ndarray] = getattr(outcome, which)
    return values


def without_weights(outcome: Outcome, which: str) -> np.ndarray:
    """Returns which replicas have no finite trained weights, as a boolean per replica."""
    values = [v for v in weights_at(outcome, which) if np.issubdtype(v.dtype, np.inexact)]
    finite = [np.isfinite(value).reshape(len(value), -1).all(axis=1) for value in values]
    done = outcome.best_epoch >= 0 if which == "best" else outcome.epochs_done > 0
    return ~np.all([done, *finite], axis=0)


def checked_replicas(outcome: Outcome, which: str, replicas: Sequence[int] | None) -> list[int]:
    """Returns the selected replicas, or raises if one does not exist or is not trained.

    Args:
        outcome: The outcome of the training.
        which: `"best"` or `"last"`.
        replicas: Positions of the replicas; `None` for all.
    """
    count = len(outcome.best_epoch)
    untrained = without_weights(outcome, which)
    if replicas is None:
        found = list(range(count))
    else:
        given: list[Any] = sequence("ensemble", "replicas", replicas)
        found = [whole_number("replicas", replica, minimum=0) for replica in given]
        if max(found) >= count or duplicates([str(replica) for replica in found]):
            raise ValueError(
                f"`replicas` must be different positions in 0..{count - 1}. "
                f"{received('replicas', replicas)}"
            )
    if bad := [replica for replica in found if untrained[replica]]:
        good = [replica for replica in found if not untrained[replica]]
        raise ValueError(
            f"The replicas {bad} have no finite weights at their {which} epoch: they diverged or "
            f"were not trained. Leave them out: replicas={good}"
        )
    return found
