"""The range of weights that is worth tuning, from what is said of each weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_physreg.sweep.verdict import Verdict


def first(changes: Sequence[Verdict], *kinds: str, after: int = -1) -> int | None:
    """Returns the position of the first weight that does one of these, or `None`.

    Args:
        changes: What is said of each weight.
        kinds: `"helps"`, `"harms"` or both: properties of `Verdict`.
        after: The position after which to look.
    """
    positions = range(after + 1, len(changes))
    return next((i for i in positions if any(getattr(changes[i], k) for k in kinds)), None)


def search_range(
    weights: np.ndarray, changes: Sequence[Verdict], best: int | None, hurts: int | None
) -> tuple[float, float] | None:
    """Returns the ends of the range to tune a weight in, or `None` where nothing is worth it.

    Where a weight helps: from one step below the first helpful weight to the last one before it
    hurts; between the two nothing hurts, and the best weight is among them. Where none does: up to
    the first harmful one, if of some weight below it nothing can be told.

    Args:
        weights: The weights tried, ascending.
        changes: What is said of each.
        best: Position of the best weight, or `None`.
        hurts: Position of the first harmful weight above it, or `None`.
    """
    high = len(weights) - 1 if hurts is None else hurts - 1
    if best is None or not changes[best].helps:
        undecided = Verdict.CANNOT_TELL in changes[: high + 1]
        return _between(weights, 0, high) if undecided else None
    harmful = [i for i in range(best) if changes[i].harms]
    lowest = harmful[-1] + 1 if harmful else 0
    low = next(i for i in range(lowest, best + 1) if changes[i].helps)
    return _between(weights, max(lowest, low - 1), high)


def _between(weights: np.ndarray, low: int, high: int) -> tuple[float, float]:
    """Returns two weights; around a single one half a step, of a factor of 10 at the ends."""
    if low < high:
        return float(weights[low]), float(weights[high])
    padded = [weights[0] / 10, *weights, weights[-1] * 10]
    below, above = np.sqrt([padded[low] * weights[low], weights[low] * padded[low + 2]])
    return float(f"{below:.3g}"), float(f"{above:.3g}")
