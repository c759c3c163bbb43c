"""In which order unlabelled rows come: an endless stream, one permutation after the other."""

import random
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

_seeds: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def lasting_seed(optimizer: Any) -> int:
    """Returns the seed of the unlabelled rows that an optimizer sees, the same in every `fit`.

    Their position follows from its count of steps: with another seed a second `fit` would go on in
    the middle of other permutations.
    """
    if optimizer not in _seeds:
        _seeds[optimizer] = random.getrandbits(31)  # As Keras draws its seeds.
    return _seeds[optimizer]


def row_order(seed: int, number: int, rows: int) -> np.ndarray:
    """Returns the permutation of the rows that a seed gives at a number."""
    return np.random.default_rng([int(seed), int(number)]).permutation(rows)


def unlabelled_order(seed: int, number: int, rows: int) -> np.ndarray:
    """Returns the permutation of unlabelled rows that a seed gives in a pass through them."""
    return np.random.default_rng([int(seed), int(number), 1]).permutation(rows)


class RowStream:
    """Endless stream of row numbers: all rows in one order, then all in the next, and so on.

    It is a function of the position alone, so that a resumed training goes on where it stopped.

    Args:
        rows: Number of rows.
        order: Function from 0, 1, 2 ... to the order of the rows in that pass; `None`: in the
            order in which they are given.
    """

    def __init__(self, rows: int, order: Callable[[int], np.ndarray] | None = None) -> None:
        self.rows = rows
        self._order = order
        self._known: tuple[int, np.ndarray] = (-1, np.zeros(0, "int64"))

    def take(self, first: int, count: int) -> np.ndarray:
        """Returns the row numbers at the positions from `first` on, of shape `(count,)`."""
        positions = np.arange(first, first + count)
        if self._order is None:
            return positions % self.rows
        passes = positions // self.rows
        parts = [self._pass(n)[positions[passes == n] % self.rows] for n in np.unique(passes)]
        return np.concatenate(parts)

    def _pass(self, number: int) -> np.ndarray:
        assert self._order is not None
        if self._known[0] != number:  # Small batches come from one pass many times.
            self._known = (number, np.asarray(self._order(int(number)), "int64"))
        return self._known[1]
