"""RowSets: the checked training rows and held-out rows of each replica."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_physreg._utils.errors import received


@dataclass(frozen=True, eq=False)
class RowSets:
    """Row numbers of each replica.

    Args:
        train: The training rows of each replica, of shape `(rows,)`.
        held_out: The held-out rows of each replica, or `None`.
        left_out: The row that each replica leaves out to train on as many rows as others, of shape
            `(replicas,)`; -1 if it leaves out none.
    """

    train: list[np.ndarray]
    held_out: list[np.ndarray] | None
    left_out: np.ndarray


def row_sets(
    rows: Any, validation_rows: Any, replicas: int, size: int, seeds: Sequence[int] | None
) -> RowSets | None:
    """Returns the checked rows of each replica, or `None` if all replicas train on all rows.

    Replicas train together in one program if they have equally many rows. A replica with one row
    more than others leaves out one row, drawn by its seed.

    Args:
        rows: One array of row numbers per replica, or `None`.
        validation_rows: The same for the held-out rows, or `None`.
        replicas: Number of replicas.
        size: Number of rows of the data.
        seeds: One seed per replica, or `None`.

    Raises:
        TypeError: If row numbers are not integers.
        ValueError: If there is not one array per replica, or its row numbers are invalid.
    """
    if rows is None:
        if validation_rows is not None:
            raise ValueError(
                "`validation_rows` needs `rows`: without it all replicas train on all rows, and no "
                f"row is held out. Give `rows`, or `validation_data`. {received('rows', rows)}"
            )
        return None
    # Replicas of one split share their arrays; each array is checked once.
    known: dict[int, tuple[Any, np.ndarray]] = {}
    train = _checked("rows", rows, replicas, size, known)
    if validation_rows is None:
        held_out = None
    else:
        held_out = _checked("validation_rows", validation_rows, replicas, size, known)
        _check_apart(train, held_out)
    return RowSets(*_of_few_sizes(train, held_out, seeds))


def _checked(
    name: str, given: Any, replicas: int, size: int, known: dict[int, tuple[Any, np.ndarray]]
) -> list[np.ndarray]:
    wanted = f"`{name}` must be a list of one 1-D array of row numbers per replica"
    if isinstance(given, (str, dict)) or not isinstance(given, (Sequence, np.ndarray)):
        raise TypeError(f"{wanted}. {received(name, given)}")
    entries = list(given)
    if len(entries) != replicas:
        raise ValueError(
            f"{wanted}; there are {replicas} replicas. Received: {name} of length {len(entries)}"
        )
    for replica, entry in enumerate(entries):
        if id(entry) not in known:
            known[id(entry)] = entry, _row_numbers(f"{name}[{replica}]", entry, size)
    return [known[id(entry)][1] for entry in entries]


def _row_numbers(name: str, entry: Any, size: int) -> np.ndarray:
    array = np.asarray(entry)
    if array.ndim != 1:
        raise ValueError(
            f"`{name}` must be a 1-D array of row numbers. Received: an array of shape "
            f"{array.shape}. (One array per replica: `[rows] * replicas`, if all have the same.)"
        )
    if not len(array):
        raise ValueError(
            f"`{name}` is empty: every replica needs at least one row. {received(name, entry)}"
        )
    if array.dtype.kind not in "iu":
        advice = " Use `numpy.flatnonzero(mask)`." if array.dtype.kind == "b" else ""
        raise TypeError(
            f"`{name}` must hold integers, the numbers of rows.{advice} "
            f"Received: an array of dtype {array.dtype}"
        )
    if array.min() < 0 or array.max() >= size:
        raise ValueError(
            f"`{name}` must hold row numbers from 0 to {size - 1}, as the data have {size} rows. "
            f"Received: numbers from {array.min()} to {array.max()}"
        )
    unique, counts = np.unique(array, return_counts=True)
    if len(unique) != len(array):
        raise ValueError(
            f"`{name}` must hold each row once. Received more than once: "
            f"{unique[counts > 1][:5].tolist()}"
        )
    return array.astype("int32")


def _check_apart(train: list[np.ndarray], held_out: list[np.ndarray]) -> None:
    pairs = {
        (id(t), id(h)): replica for replica, (t, h) in enumerate(zip(train, held_out, strict=True))
    }
    for replica in pairs.values():
        both = np.intersect1d(train[replica], held_out[replica])
        if len(both):
            raise ValueError(
                f"Replica {replica} has rows both in `rows` and in `validation_rows`, so they are "
                "not held out: remove them from one of the two. Received in both: "
                f"{both[:5].tolist()}"
            )


def _of_few_sizes(
    train: list[np.ndarray], held_out: list[np.ndarray] | None, seeds: Sequence[int] | None
) -> tuple[list[np.ndarray], list[np.ndarray] | None, np.ndarray]:
    """Leaves out a row of every replica that has one training row more than others."""
    targets: dict[int, int] = {}
    for size in sorted({len(rows) for rows in train}):
        targets[size] = size - 1 if targets.get(size - 1) == size - 1 else size
    kept, left_out = [], np.full(len(train), -1)
    for replica, rows in enumerate(train):
        if targets[len(rows)] < len(rows):
            seed = 0 if seeds is None else seeds[replica]
            position = int(np.random.default_rng([int(seed), 0, 2]).integers(len(rows)))
            left_out[replica] = rows[position]
            rows = np.delete(rows, position)
        kept.append(rows)
    return kept, held_out, left_out
