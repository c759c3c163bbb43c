"""DrawnRows: rows that a sampler draws for each step."""

import threading
from typing import Any

import keras
import numpy as np

from keras_physreg.unlabelled.sources import SamplerSource

MAX_KEPT_BYTES = 16 * 2**20  # of the drawn rows of one sampler


class DrawnRows:
    """Rows that a sampler draws: those of `fit`, and so the same for all replicas.

    Args:
        source: The sampler.
    """

    def __init__(self, source: SamplerSource) -> None:
        self._source, self.spec = source, source.spec
        self.batch_size = source.batch_size
        self._lock = threading.Lock()  # A sampler need not be safe for the threads of programs.
        self._known: dict[tuple[int, int], Any] = {}
        self._bytes = 0

    @property
    def bytes_per_step(self) -> int:
        """The bytes of the rows of a step."""
        specs = keras.tree.flatten(self.spec)
        return sum(int(np.prod(spec.shape)) * spec.dtype.size for spec in specs)

    def of(self, first: int, epochs: int, steps: int) -> Any:
        """Returns the rows of some epochs, as NumPy arrays of shape `(epochs, steps, rows, ...)`.

        Args:
            first: Number of steps before these epochs.
            epochs: Number of epochs.
            steps: Steps per epoch.
        """
        count = epochs * steps
        with self._lock:
            drawn = self._known.get((first, count))
            if drawn is None:
                drawn = self._draw(first, count)
        return keras.tree.map_structure(lambda a: a.reshape(epochs, steps, *a.shape[1:]), drawn)

    def _draw(self, first: int, count: int) -> Any:
        each = [self._source.drawn(step) for step in range(first, first + count)]
        drawn = keras.tree.map_structure(lambda *parts: np.stack(parts), *each)
        size = count * self.bytes_per_step
        if self._bytes + size > MAX_KEPT_BYTES:
            self._known, self._bytes = {}, 0
        self._known[first, count] = drawn
        self._bytes += size
        return drawn
