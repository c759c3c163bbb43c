"""The order of unlabelled rows: an endless stream of permutations."""

import random
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

_seeds: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def lasting_seed(optimizer: Any) -> int:
    """Returns the seed of the order of unlabelled rows, the same for an optimizer in every `fit`.

    The position in this order follows from `optimizer.iterations`. With another seed, a second
    `fit` would continue in the middle of other permutations.
    """
    if optimizer not in _seeds:
        _seeds[optimizer] = random.getrandbits(31)  # As Keras draws its seeds.
    return _seeds[optimizer]


def row_order(seed: int, number: int, rows: int) -> np.ndarray:
    """Returns the permutation of labelled rows for a seed and the number of an epoch or step."""
    return np.random.default_rng([int(seed), int(number)]).permutation(rows)


def unlabelled_order(seed: int, number: int, rows: int) -> np.ndarray:
    """Returns the permutation of unlabelled rows for a seed and the number of a pass."""
    return np.random.default_rng([int(seed), int(number), 1]).permutation(rows)


class RowStream:
    """Endless stream of row numbers: pass after pass through all rows, each in its own order.

    It is a pure function of the position, so that a resumed training continues where it stopped.

    Args:
        rows: Number of rows.
        order: Function from the number of a pass (0, 1 ...) to the order of the rows in it;
            `None`: the given order in every pass.
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
        if self._known[0] != number:  # Many small batches come from the same pass.
            self._known = (number, np.asarray(self._order(int(number)), "int64"))
        return self._known[1]
