"""The rows of data that a diagnosis looks at, handed out in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np


@dataclass(frozen=True)
class Batch:
    """Consecutive chosen rows, and their numbers in the user's data."""

    numbers: np.ndarray
    x: Any
    y: Any
    sample_weight: Any


@dataclass(frozen=True)
class Rows:
    """Chosen rows of arrays; nothing is copied until a batch is asked for."""

    x: Any
    y: Any
    sample_weight: Any
    numbers: np.ndarray

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields batches, the last one possibly smaller."""
        for start in range(0, len(self.numbers), batch_size):
            numbers = self.numbers[start : start + batch_size]
            data = keras.tree.map_structure(
                lambda array, rows=numbers: None if array is None else _floatx(array[rows]),
                (self.x, self.y, self.sample_weight),
            )
            yield Batch(numbers, *data)


def choose_rows(
    x: Any, y: Any = None, sample_weight: Any = None, max_samples: int | None = None
) -> Rows:
    """Returns the rows to look at: all, or `max_samples` drawn without replacement.

    The draw is the same every time, and touches no global random state. Of a dataset, its first
    rows are taken.

    Args:
        x: Array or structure of arrays of shape `(rows, ...)`; or a `tf.data.Dataset` or
            `keras.utils.PyDataset` of batches `(x, y)` or `(x, y, sample_weight)`.
        y: Labels, in the same way; none where `x` is a dataset.
        sample_weight: Weights of the rows.
        max_samples: Most rows to take; `None` for all.

    Returns:
        The rows.

    Raises:
        TypeError: If `max_samples` is no integer.
        ValueError: If there are no rows, or `x`, `y` and `sample_weight` differ in their number.
    """
    if max_samples is not None:
        check_count("max_samples", max_samples)
    if _is_dataset(x):
        if y is not None or sample_weight is not None:
            raise ValueError(
                "`y` and `sample_weight` come with the batches where `x` is a dataset. "
                f"Received: x={x}, and `y` or `sample_weight` beside it."
            )
        x, y, sample_weight = _head(x, max_samples)
    x, y, sample_weight = keras.tree.map_structure(_to_array, (x, y, sample_weight))
    count = _row_count({"x": x, "y": y, "sample_weight": sample_weight})
    numbers = np.arange(count)
    if max_samples is not None and count > max_samples:
        numbers = np.sort(np.random.default_rng(0).choice(count, max_samples, replace=False))
    return Rows(x, y, sample_weight, numbers)


def check_count(name: str, value: Any) -> None:
    """Raises if a number of rows or epochs is no integer >= 1."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(
            f"`{name}` must be an integer >= 1. Received: {name}={value!r} (of type {type(value)})"
        )
    if value < 1:
        raise ValueError(f"`{name}` must be an integer >= 1. Received: {name}={value!r}")


def _is_dataset(x: Any) -> bool:
    return hasattr(x, "element_spec") or isinstance(x, keras.utils.PyDataset)


def _head(dataset: Any, max_samples: int | None) -> tuple[Any, Any, Any]:
    """Returns the first rows of a dataset, joined to arrays."""
    batches, rows = [], 0
    indexed = isinstance(dataset, keras.utils.PyDataset)
    source = (dataset[i] for i in range(dataset.num_batches)) if indexed else iter(dataset)
    for batch in source:
        parts = keras.utils.unpack_x_y_sample_weight(batch)
        batches.append(keras.tree.map_structure(_to_array, parts))
        rows += len(keras.tree.flatten(batches[-1][0])[0])
        if max_samples is not None and rows >= max_samples:
            break
    if not batches:
        raise ValueError(f"The dataset has no batches. Received: x={dataset}")

    def join(*arrays: Any) -> Any:
        return None if arrays[0] is None else np.concatenate(arrays)[:max_samples]

    return keras.tree.map_structure(join, *batches)


def _to_array(value: Any) -> Any:
    return None if value is None else np.asarray(value)


def _floatx(array: np.ndarray) -> np.ndarray:
    # As `fit` does: NumPy's float64 is no wish for double precision.
    return array.astype(keras.config.floatx()) if array.dtype == np.float64 else array


def _row_count(arrays: dict[str, Any]) -> int:
    counts = {
        f"{name} of shape {leaf.shape}": leaf.shape[0] if leaf.ndim else None
        for name, structure in arrays.items()
        for leaf in keras.tree.flatten(structure)
        if leaf is not None
    }
    if None in counts.values():
        raise ValueError(
            "`x`, `y` and `sample_weight` must be arrays, or structures of arrays: turn a list of "
            f"numbers into one by `np.array(...)`. Received: {', '.join(counts)}."
        )
    if len(set(counts.values())) != 1:
        raise ValueError(
            f"All data must have the same number of rows. Received: {', '.join(counts)}."
        )
    (count,) = set(counts.values())
    if not count:
        raise ValueError(f"There are no rows to look at. Received: {', '.join(counts)}.")
    return count
