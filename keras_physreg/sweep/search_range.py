"""The range of weights that is worth tuning, derived from the verdict on each weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_physreg.sweep.verdict import Verdict


def first(changes: Sequence[Verdict], *kinds: str, after: int = -1) -> int | None:
    """Returns the position of the first weight with a verdict of one of these kinds, or `None`.

    Args:
        changes: The verdict on each weight.
        kinds: `"helps"`, `"harms"` or both: properties of `Verdict`.
        after: The position after which to search.
    """
    positions = range(after + 1, len(changes))
    return next((i for i in positions if any(getattr(changes[i], k) for k in kinds)), None)


def search_range(
    weights: np.ndarray, changes: Sequence[Verdict], best: int | None, hurts: int | None
) -> tuple[float, float] | None:
    """Returns the ends of the range in which to tune a weight, or `None` if tuning is not worth it.

    Where a weight helps, the range goes from one step below the first helpful weight to the last
    one before a harmful one. It contains the best weight and no harmful one. Where no weight helps,
    the range ends below the first harmful weight, if the verdict on a weight in it is "cannot
    tell".

    Args:
        weights: The weights tried, ascending.
        changes: The verdict on each.
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
    """Returns two weights; around a single one half a step, with decades as steps at the ends."""
    if low < high:
        return float(weights[low]), float(weights[high])
    padded = [weights[0] / 10, *weights, weights[-1] * 10]
    below, above = np.sqrt([padded[low] * weights[low], weights[low] * padded[low + 2]])
    return float(f"{below:.3g}"), float(f"{above:.3g}")
