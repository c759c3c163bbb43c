"""The rows of data that a diagnosis looks at, handed out in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.errors import received, whole_number
from keras_physreg.inspection import find_terms

NUMBERS = "biufc"  # The kinds of NumPy's dtypes that are numbers.


@dataclass(frozen=True)
class Batch:
    """Consecutive chosen rows, and their numbers in the user's data."""

    numbers: np.ndarray
    x: Any
    y: Any
    sample_weight: Any


@dataclass(frozen=True)
class Rows:
    """Chosen rows of arrays; nothing is copied until a batch is asked for.

    Args:
        x: Inputs.
        y: Labels, or `None`.
        sample_weight: Weights of the rows, or `None`.
        numbers: Numbers of the chosen rows.
        at_once: Whether they make one batch: physics may compare the points of a set with one
            another.
    """

    x: Any
    y: Any
    sample_weight: Any
    numbers: np.ndarray
    at_once: bool = False

    def shapes(self) -> str:
        """Returns the shapes of the arrays, in words."""
        named = {"x": self.x, "y": self.y, "sample_weight": self.sample_weight}
        return ", ".join(
            f"{name} of shape {leaf.shape}"
            for name, structure in named.items()
            for leaf in keras.tree.flatten(structure)
            if leaf is not None
        )

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields batches, the last one possibly smaller."""
        batch_size = len(self.numbers) if self.at_once else batch_size
        for start in range(0, len(self.numbers), batch_size):
            numbers = self.numbers[start : start + batch_size]
            data = keras.tree.map_structure(
                lambda array, rows=numbers: None if array is None else _floatx(array[rows]),
                (self.x, self.y, self.sample_weight),
            )
            yield Batch(numbers, *data)


def choose_rows(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    max_samples: int | None = None,
    name: str = "x",
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
        name: What the user calls `x`, for messages.

    Returns:
        The rows.

    Raises:
        TypeError: If `x` is `None`, labels or weights are no numbers, or `max_samples` is no
            integer.
        ValueError: If there are no rows, or `x`, `y` and `sample_weight` differ in their number.
    """
    max_samples = whole_number("max_samples", max_samples, optional=True)
    if x is None:
        raise TypeError(
            f"`{name}` must be an array or a structure of arrays of shape `(rows, ...)`, or a "
            f"dataset. {received(name, x)}"
        )
    if _is_dataset(x):
        if y is not None or sample_weight is not None:
            raise ValueError(
                "`y` and `sample_weight` come with the batches where `x` is a dataset. "
                f"Received: x={x}, and `y` or `sample_weight` beside it."
            )
        x, y, sample_weight = _head(x, max_samples, name)
    x, y, sample_weight = keras.tree.map_structure(_to_array, (x, y, sample_weight))
    count = _row_count({name: x, "y": y, "sample_weight": sample_weight})
    for of, structure in (("y", y), ("sample_weight", sample_weight)):
        for leaf in keras.tree.flatten(structure):
            if leaf is not None and leaf.dtype.kind not in NUMBERS:
                raise TypeError(f"`{of}` must hold numbers. {_received_array(of, leaf)}")
    numbers = np.arange(count)
    if max_samples is not None and count > max_samples:
        numbers = np.sort(np.random.default_rng(0).choice(count, max_samples, replace=False))
    return Rows(x, y, sample_weight, numbers)


def sets_of_rows(
    model: keras.Model, rows: Rows, points: Mapping[str, Rows]
) -> list[tuple[Rows, frozenset[str]]]:
    """Returns each set of rows with the names of the terms that are not computed on it.

    Args:
        model: Any Keras model with physics layers.
        rows: Rows of all terms without points.
        points: Rows by term.
    """
    every = frozenset(find_terms(model))
    sets = [(rows, frozenset(points))] if every - {*points} else []
    return sets + [(own, every - {name}) for name, own in points.items()]


def check_rows(owner: str, model: keras.Model, rows: Rows) -> None:
    """Raises where rows do not fit the inputs of a model, as far as it tells of them.

    Functional models do; others are asked by calling them.

    Args:
        owner: Who took the rows, for the message.
        model: Any Keras model.
        rows: The rows.
    """
    for name, array, wanted in _pairs(rows.x, getattr(model, "inputs", None)):
        of = f"{owner}: model '{model.name}' takes inputs `{name}`"
        if wanted.dtype != "string" and array.dtype.kind not in NUMBERS:
            raise TypeError(f"{of} of numbers ({wanted.dtype}). {_received_array(name, array)}")
        if not _fits(array.shape, tuple(wanted.shape)):
            shape = ("rows", *wanted.shape[1:])
            raise ValueError(
                f"{of} of shape ({', '.join(map(str, shape))}). {_received_array(name, array)}"
            )


def labels_misfit(model: keras.Model, y: Any) -> str:
    """Returns which labels are not of the shape of an output; not wrong by itself, but a cause."""
    outputs = getattr(model, "outputs", None) or []
    names = getattr(model, "output_names", None) or []
    if isinstance(y, dict) and y.keys() == set(names):
        y = [y[name] for name in names]
    labels = keras.tree.flatten(y)
    if y is None or len(labels) != len(outputs):
        return ""
    wrong = [
        f"of shape {label.shape} for an output of shape {tuple(output.shape)}"
        for label, output in zip(labels, outputs, strict=True)
        if label is not None and not _fits(label.shape, tuple(output.shape))
    ]
    return f"cannot be compared with the predictions: it is {', '.join(wrong)}." if wrong else ""


def _pairs(x: Any, inputs: Any) -> list[tuple[str, np.ndarray, Any]]:
    """Returns the arrays beside the symbolic inputs that they are for, as far as that is known."""
    if not inputs:
        return []
    if isinstance(x, dict):
        by_name = {tensor.name: tensor for tensor in inputs}
        known = {n: a for n, a in x.items() if n in by_name and isinstance(a, np.ndarray)}
        return [(f"x['{name}']", array, by_name[name]) for name, array in known.items()]
    arrays = list(x) if isinstance(x, list | tuple) else [x]
    if len(arrays) != len(inputs) or not all(isinstance(a, np.ndarray) for a in arrays):
        return []
    names = ["x"] if len(arrays) == 1 else [f"x[{k}]" for k in range(len(arrays))]
    return list(zip(names, arrays, inputs, strict=True))


def _fits(got: tuple, wanted: tuple) -> bool:
    # As Keras does, a last axis of size 1 may be there or not.
    if len(got) == len(wanted) + 1 and got[-1] == 1:
        got = got[:-1]
    elif len(got) == len(wanted) - 1 and wanted[-1] == 1:
        got = (*got, 1)
    sizes = zip(got[1:], wanted[1:], strict=False)
    return len(got) == len(wanted) and all(b is None or a == b for a, b in sizes)


def _received_array(name: str, array: np.ndarray) -> str:
    return f"Received: {name} of shape {array.shape} and dtype {array.dtype}."


def _is_dataset(x: Any) -> bool:
    return hasattr(x, "element_spec") or isinstance(x, keras.utils.PyDataset)


def _head(dataset: Any, max_samples: int | None, name: str) -> tuple[Any, Any, Any]:
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
        raise ValueError(f"The dataset has no batches. Received: {name}={dataset}")

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
        given = [name for name, structure in arrays.items() if structure is not None]
        raise ValueError(
            f"`{'` and `'.join(given)}` must be arrays, or structures of arrays: turn a list of "
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
