"""Rows that carry the loss of a term, and what they have in common in the inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_physreg.diagnosis.row_values import RowValues
from keras_physreg.diagnosis.thresholds import Thresholds

MAX_COLUMNS = 256
MAX_TRAITS = 2
# Chance that as many rows drawn at random have such a range in any column.
CHANCE = 0.05


@dataclass(frozen=True)
class FewRows:
    """A few rows that carry nearly all of the loss of a term.

    Args:
        numbers: Their numbers in the user's data, the largest loss first.
        count: Of how many rows.
        share: Their share of the loss.
        rest: Mean loss of the other rows.
        at_labels: Whether it is the loss at the labels, not at the prediction.
        traits: What they have in common in the inputs, in words.
        of: Name of the rows: those of `x`, or the points of a term.
    """

    numbers: tuple[int, ...]
    count: int
    share: float
    rest: float
    at_labels: bool
    traits: tuple[str, ...]
    of: str = "x"


def find_few_rows(
    values: RowValues | None, x: Any, at_labels: bool, limits: Thresholds, of: str = "x"
) -> FewRows | None:
    """Returns the rows that carry the loss, or `None` where it is spread over more of them.

    Args:
        values: The term, row by row.
        x: Inputs of the model, array or structure of arrays of all rows.
        at_labels: Whether the values are those at the labels.
        limits: What counts as few rows, and as nearly all of the loss.
        of: What a user calls these rows.
    """
    if values is None or len(values.losses) < limits.few_rows_count:
        return None
    losses = values.losses.astype("float64")
    total = losses.sum()
    if not np.isfinite(total) or not (losses >= 0).all() or total <= 0:
        return None
    order = np.argsort(-losses, kind="stable")
    shares = np.cumsum(losses[order]) / total
    count = int(np.searchsorted(shares, limits.few_rows_share)) + 1
    most = int(limits.few_rows_part * len(losses) + 1e-9)
    if count > most:
        return None
    # Rows alike belong together: the cut is where the losses fall most.
    falling = losses[order[: most + 1]] + np.finfo("float64").tiny
    count += int(np.argmax(falling[count - 1 : most] / falling[count : most + 1]))
    few = values.numbers[order[:count]]
    return FewRows(
        tuple(int(n) for n in few),
        len(losses),
        float(shares[count - 1]),
        float(losses[order[count:]].mean()),
        at_labels,
        tuple(_traits(of, x, few, np.setdiff1d(values.numbers, few))),
        of,
    )


def _traits(of: str, x: Any, few: np.ndarray, others: np.ndarray) -> Iterator[str]:
    """Yields the input columns in which the few rows lie together, the clearest first."""
    columns = list(_columns(of, x))
    found = []
    for name, column in columns:
        inside, outside = column[few], column[others]
        low, high = float(inside.min()), float(inside.max())
        chance = _chance(inside, outside) * len(columns)
        if math.isfinite(low + high) and chance <= CHANCE:
            span = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
            there = f"{name} is {span} there, and {outside.min():.3g} to {outside.max():.3g}"
            found.append((chance, f"{there} elsewhere"))
    found.sort(key=lambda each: each[0])
    yield from (said for _, said in found[:MAX_TRAITS])


def _chance(inside: np.ndarray, outside: np.ndarray) -> float:
    """Returns about how probable it is that rows drawn at random lie as close together."""
    count = len(inside)
    low, high = inside.min(), inside.max()
    if high < outside.min() or low > outside.max():
        return 2 / math.comb(count + len(outside), count)
    between = int(((outside >= low) & (outside <= high)).sum())
    share = (between + count) / (len(outside) + count)
    return min(1.0, count * share ** (count - 1))


def _columns(of: str, x: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the columns of the inputs with their names; none of images or sequences."""
    if isinstance(x, dict):
        named = {f"{of}[{name!r}]": part for name, part in x.items()}
    else:
        parts = keras.tree.flatten(x)
        named = {of if len(parts) == 1 else f"{of}[{k}]": part for k, part in enumerate(parts)}
    left = MAX_COLUMNS
    for name, part in named.items():
        array = np.asarray(part) if hasattr(part, "shape") else None
        if array is None or array.dtype.kind not in "biuf" or array.ndim > 2:
            continue
        columns = array[:, None] if array.ndim == 1 else array
        for k in range(min(columns.shape[1], left)):
            single = columns.shape[1] == 1
            yield (name if single else f"{name}[:, {k}]"), columns[:, k].astype("float64")
        left -= columns.shape[1]
        if left <= 0:
            return
