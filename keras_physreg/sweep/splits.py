"""Splits of the labelled rows into training and held-out rows, made from the argument `cv`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.errors import is_whole, received, sequence, whole_number
from keras_physreg.sweep.split_checks import (
    ACCEPTED_CV,
    Pair,
    check_different,
    check_groups_apart,
    checked_pair,
)

DEFAULT_REPEATS = 4
MAX_DRAWS = 200  # of one shuffle, until all its folds are new


@dataclass(frozen=True, eq=False)
class Splits:
    """Divisions of the same rows into training and held-out rows.

    Args:
        train: The training rows of every split: sorted row numbers, `int64`, of shape
            `(training rows,)`.
        held_out: The held-out rows of every split, likewise.
        label: Description of the splits, such as "5 folds x 4 shuffles".
        rows: Number of rows that were split.
    """

    train: list[np.ndarray]
    held_out: list[np.ndarray]
    label: str
    rows: int

    @property
    def count(self) -> int:
        """Number of splits."""
        return len(self.train)

    @property
    def mean_ratio(self) -> float:
        """Held-out rows per training row, the mean over the splits."""
        pairs = zip(self.held_out, self.train, strict=True)
        return float(np.mean([len(held_out) / len(train) for held_out, train in pairs]))

    def to_dict(self) -> dict[str, Any]:
        """Returns plain lists, numbers and text, as JSON takes them."""
        return {
            "label": self.label,
            "rows": self.rows,
            "train": [rows.tolist() for rows in self.train],
            "held_out": [rows.tolist() for rows in self.held_out],
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Splits:
        """Returns the splits that `to_dict` was called on."""
        train, held_out = (
            [np.asarray(rows, "int64") for rows in saved[part]] for part in ("train", "held_out")
        )
        return cls(train, held_out, str(saved["label"]), int(saved["rows"]))


def checked_splits(cv: Any, repeats: Any, groups: Any, x: Any, y: Any, seed: int) -> Splits:
    """Returns the splits that `cv` asks for, or raises.

    Args:
        cv: As in scikit-learn. An integer >= 2: the number of folds, of balanced sizes; the rows
            are shuffled anew in each of `repeats`. A splitter with `split(x, y, groups)`. Or pairs
            of row numbers: `(training rows, held-out rows)`.
        repeats: Number of shuffles, only with an integer `cv`; `None` for 4.
        groups: Group of each row, of shape `(rows,)`, for splitters that keep groups together; or
            `None`.
        x: Inputs: an array or a structure of arrays of shape `(rows, ...)`. In place of a
            structure, a splitter gets a column of row numbers, as scikit-learn takes arrays only.
        y: Labels, likewise, or `None`. In place of a structure, a splitter gets `None`.
        seed: Seed of the shuffles, an integer >= 0.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If there are fewer than 2 splits, two splits are equal, a part is empty, a row
            number is out of range or given twice, or a row or a group is on both sides of a split.

    Example:
    >>> import numpy as np
    >>> splits = checked_splits(5, None, None, np.zeros((20, 3)), np.zeros((20, 1)), seed=0)
    >>> splits.label, splits.count, splits.mean_ratio
    ('5 folds x 4 shuffles', 20, 0.25)
    """
    rows = _row_count(x, y)
    if groups is not None:
        groups = _checked_groups(groups, rows)
    if is_whole(cv) and not np.ndim(cv):
        if groups is not None:
            raise ValueError(
                "Folds of an integer `cv` do not keep groups together. With `groups=`, give a "
                "splitter that does: `cv=sklearn.model_selection.GroupKFold()`. "
                f"{received('cv', cv)}"
            )
        return _shuffled_folds(cv, repeats, rows, seed)
    if repeats is not None:
        raise ValueError(
            "`repeats` goes with an integer `cv` only: a splitter or a list of pairs sets the "
            f"number of splits itself. Leave `repeats` out. {received('repeats', repeats)}"
        )
    label, pairs = _label_and_pairs(cv, groups, x, y, rows)
    checked = [checked_pair(number, pair, rows) for number, pair in enumerate(pairs)]
    check_different(checked)
    if groups is not None:
        check_groups_apart(checked, groups)
    return _splits(checked, label or f"{len(checked)} splits given", rows)


def _splits(pairs: list[Pair], label: str, rows: int) -> Splits:
    train, held_out = (list(part) for part in zip(*pairs, strict=True))
    return Splits(train, held_out, label, rows)


def _row_count(x: Any, y: Any) -> int:
    leaves = [leaf for leaf in keras.tree.flatten((x, y)) if leaf is not None]
    sizes = {int(np.shape(leaf)[0]) if np.ndim(leaf) else 0 for leaf in leaves}
    if len(sizes) != 1 or sizes == {0}:
        raise ValueError(
            "All arrays of `x` and `y` must have the same number of rows, at least 1. Received "
            f"shapes: {[tuple(np.shape(leaf)) for leaf in leaves]}"
        )
    return sizes.pop()


def _checked_groups(groups: Any, rows: int) -> np.ndarray:
    array = np.asarray(groups)
    if array.shape != (rows,):
        raise ValueError(
            f"`groups` must have one value per row, and so shape ({rows},). Received: groups of "
            f"shape {array.shape}"
        )
    return array


# An integer: folds of shuffled rows.


def _shuffled_folds(cv: Any, repeats: Any, rows: int, seed: int) -> Splits:
    folds = whole_number("cv", cv, minimum=2)
    repeats = whole_number("repeats", DEFAULT_REPEATS if repeats is None else repeats)
    seed = whole_number("seed", seed, minimum=0)
    if folds > rows:
        raise ValueError(
            f"`cv` asks for {folds} folds of {rows} labelled rows: every fold needs at least one. "
            f"Give at most cv={rows}. {received('cv', folds)}"
        )
    if folds == rows and repeats > 1:
        raise ValueError(
            "With one row per fold, every shuffle has the same folds: give `repeats=1`, or fewer "
            f"folds. Received: cv={folds}, repeats={repeats}, {rows} rows"
        )
    pairs: list[Pair] = []
    for repeat in range(repeats):
        pairs += _new_folds(pairs, folds, rows, np.random.default_rng([seed, repeat]))
    plural = "" if repeats == 1 else "s"
    return _splits(pairs, f"{folds} folds x {repeats} shuffle{plural}", rows)


def _new_folds(known: list[Pair], folds: int, rows: int, rng: np.random.Generator) -> list[Pair]:
    """Returns folds of shuffled rows, all different from the known folds.

    Few rows have so few different folds that shuffles may repeat them.
    """
    seen = {held_out.tobytes() for _, held_out in known}
    for _ in range(MAX_DRAWS):
        parts = [np.sort(part) for part in np.array_split(rng.permutation(rows), folds)]
        if seen.isdisjoint(part.tobytes() for part in parts):
            return [(np.setdiff1d(np.arange(rows), part), part) for part in parts]
    raise ValueError(
        f"{rows} rows have too few different splits into {folds} folds: shuffle "
        f"{len(known) // folds + 1} has a fold of an earlier one. Give fewer `repeats`. Received: "
        f"cv={folds}, {rows} rows"
    )


# A splitter, or pairs of row numbers.


def _label_and_pairs(cv: Any, groups: Any, x: Any, y: Any, rows: int) -> tuple[str, list[Any]]:
    """Returns a label, which is empty for a list of pairs, and the pairs, unchecked."""
    if callable(getattr(cv, "split", None)) and not isinstance(cv, str | bytes):
        if isinstance(cv, type):
            raise TypeError(
                f"`cv` is a class: give an instance, `{cv.__name__}()`. {received('cv', cv)}"
            )
        pairs = _pairs_of_splitter(cv, groups, x, y, rows)
        return f"{type(cv).__name__}({len(pairs)})", pairs
    if isinstance(cv, str | bytes | dict) or not isinstance(cv, Iterable):
        raise TypeError(ACCEPTED_CV + received("cv", cv))
    return "", sequence("cross-validation", "cv", cv)


def _pairs_of_splitter(splitter: Any, groups: Any, x: Any, y: Any, rows: int) -> list[Any]:
    inputs = np.arange(rows)[:, None] if keras.tree.is_nested(x) else _as_array(x)
    labels = None if keras.tree.is_nested(y) else _as_array(y)
    try:
        with warnings.catch_warnings():  # `check_groups_apart` checks the groups afterwards.
            warnings.filterwarnings("ignore", ".*groups parameter is ignored")
            return list(splitter.split(inputs, labels, groups))
    except Exception as error:
        name = type(splitter).__name__
        raise ValueError(
            f"`cv`: `{name}.split(x, y, groups)` failed on these {rows} rows: {error} "
            f"{_advice(name, groups, str(error))}"
        ) from error


def _as_array(array: Any) -> Any:
    return keras.ops.convert_to_numpy(array) if keras.ops.is_tensor(array) else array


def _advice(splitter: str, groups: Any, message: str) -> str:
    if groups is None and "group" in (splitter + message).lower():
        return "Give the group of each row: `groups=`, of shape (rows,)."
    if "Stratified" in splitter or "target type" in message:
        return (
            "It needs classes, and real-valued labels have none: use an integer `cv`, or define "
            f"classes and give the pairs that they make: `cv=list({splitter}().split(x, "
            "classes))`."
        )
    return "Change its arguments, or give an integer or a list of pairs of row numbers as `cv`."
