"""RowOrders: the orders in which replicas train on their rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_physreg.unlabelled.row_order import row_order

MAX_KEPT_BYTES = 64 * 2**20


class RowOrders:
    """Draws the orders of rows by seed, and caches them, since replicas share seeds."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, int], np.ndarray] = {}
        self._bytes = 0

    def of(
        self, seeds: Sequence[int], first: int, epochs: int, rows: int, shuffle: bool
    ) -> np.ndarray:
        """Returns the positions of the rows in some epochs.

        Args:
            seeds: The seed of each order.
            first: The first of these epochs, counted from 0.
            epochs: Number of epochs.
            rows: Number of rows.
            shuffle: Whether to shuffle the rows, in each epoch anew.

        Returns:
            Integers of shape `(epochs, seeds, rows)`.
        """
        if not shuffle:
            return np.broadcast_to(np.arange(rows, dtype="int32"), (epochs, len(seeds), rows))
        drawn = {seed: self._drawn(seed, first, epochs, rows) for seed in dict.fromkeys(seeds)}
        return np.stack([drawn[seed] for seed in seeds], axis=1)

    def _drawn(self, seed: int, first: int, epochs: int, rows: int) -> np.ndarray:
        key = (seed, first, epochs, rows)
        found = self._known.get(key)
        if found is None:
            found = np.array([row_order(seed, first + e, rows) for e in range(epochs)], "int32")
            if self._bytes + found.nbytes <= MAX_KEPT_BYTES:
                self._known[key] = found
                self._bytes += found.nbytes
        return found
