"""Checks of splits that are given as pairs of row numbers, `(training rows, held-out rows)`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]
ADVISED_SPLITS = 20  # With fewer, a gain must be larger before it is sure.
ACCEPTED_CV = (
    "`cv` must be an integer >= 2 (a number of folds), a splitter with a method `split(x, y, "
    "groups)` such as scikit-learn's `GroupKFold()`, or a list of pairs `(training rows, held-out "
    "rows)` of row numbers. "
)


def checked_pair(number: int, pair: Any, rows: int) -> Pair:
    """Returns a pair of sorted row numbers, or raises; `number` is that of the split."""
    parts = list(pair) if isinstance(pair, Iterable) and not isinstance(pair, str | dict) else []
    if len(parts) != 2:
        raise ValueError(
            f"{ACCEPTED_CV}Split {number} is not a pair `(training rows, held-out rows)`. "
            f"Received: {_shown(pair)}"
        )
    train = _checked_rows(f"the training rows of split {number}", parts[0], rows)
    held_out = _checked_rows(f"the held-out rows of split {number}", parts[1], rows)
    both = np.intersect1d(train, held_out)
    if len(both):
        raise ValueError(
            f"`cv`: split {number} trains on rows that it holds out: {_shown(both)}. The score of "
            "a training row says nothing about new rows: remove each from one of the two parts."
        )
    return train, held_out


def _checked_rows(name: str, part: Any, rows: int) -> np.ndarray:
    array = np.asarray(part)
    if array.ndim == 1 and not array.size:
        raise ValueError(f"`cv`: {name} are empty. Every split needs rows on both sides.")
    if array.dtype == bool:
        raise TypeError(
            f"`cv`: {name} are a boolean mask; row numbers are needed: `np.flatnonzero(mask)`."
        )
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise TypeError(
            f"`cv`: {name} must be a one-dimensional array of row numbers (integers). Received: "
            f"shape {array.shape}, dtype {array.dtype}, {_shown(part)}"
        )
    outside = array[(array < 0) | (array >= rows)]
    if len(outside):
        raise ValueError(
            f"`cv`: {name} must be row numbers from 0 to {rows - 1}, as there are {rows} rows. "
            f"Received: {_shown(outside)}"
        )
    values, counts = np.unique(array.astype("int64"), return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"`cv`: {name} contain rows more than once: {_shown(values[counts > 1])}. Give each "
            "once: `np.unique(rows)`."
        )
    return values


def check_different(pairs: Sequence[Pair]) -> None:
    """Raises if there are fewer than two splits, or two are equal."""
    if len(pairs) < 2:
        raise ValueError(
            f"`cv` makes {len(pairs)} split: one split does not show how much the result depends "
            f"on the rows. Give at least 2; {ADVISED_SPLITS} are advised, such as `cv=5, "
            "repeats=4`."
        )
    seen: dict[Any, int] = {}
    for number, (train, held_out) in enumerate(pairs):
        first = seen.setdefault((train.tobytes(), held_out.tobytes()), number)
        if first != number:
            raise ValueError(
                f"`cv`: splits {first} and {number} are equal: one result would count twice. "
                "Remove one, or shuffle: `KFold(shuffle=True)`, `RepeatedKFold`, or an integer "
                "`cv` with `repeats`."
            )


def check_groups_apart(pairs: Iterable[Pair], groups: np.ndarray) -> None:
    """Raises if a group has rows in both parts of a split."""
    for number, (train, held_out) in enumerate(pairs):
        both = np.intersect1d(groups[train], groups[held_out])
        if len(both):
            raise ValueError(
                f"`cv`: split {number} has rows of the same group on both sides: {_shown(both)}. "
                "Use a splitter that keeps groups together, such as scikit-learn's `GroupKFold()`, "
                "or leave `groups` out."
            )


def _shown(values: Any, limit: int = 5) -> str:
    """Returns the first few of many values, as text."""
    if not isinstance(values, Iterable) or isinstance(values, str):
        return repr(values)
    first = [repr(v.item() if isinstance(v, np.generic) else v) for v in islice(values, limit + 1)]
    return f"[{', '.join(first[:limit])}{', ...' if len(first) > limit else ''}]"
