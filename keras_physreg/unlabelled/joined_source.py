"""Source of all rows of a step beside the labelled ones: unlabelled rows, and point sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_physreg.unlabelled.input_rows import MoreRows, check_alike
from keras_physreg.unlabelled.sources import Source


class JoinedSource:
    """A source of `MoreRows`, from several sources.

    Args:
        unlabelled: Source of the unlabelled rows, or `None`.
        points: Sources of those point sets that are not the same in every step, by term.
    """

    def __init__(self, unlabelled: Source | None, points: Mapping[str, Source]) -> None:
        self._unlabelled, self._points = unlabelled, dict(points)
        self._sources = [*([] if unlabelled is None else [unlabelled]), *self._points.values()]
        self.runs_ahead = all(source.runs_ahead for source in self._sources)
        self.spec = self._packed([source.spec for source in self._sources])
        drawn = [source.keys(0, 1) for source in self._sources]
        self._shapes = [keys.shape[1:] for keys in drawn]

    def keys(self, first: int, steps: int) -> np.ndarray:
        """Returns the keys of all sources side by side, of shape `(steps, keys)`."""
        drawn = [source.keys(first, steps).reshape(steps, -1) for source in self._sources]
        return np.concatenate([np.zeros((steps, 0), "int64"), *drawn], axis=1)

    def batch(self, key: Any) -> MoreRows:
        """Returns the rows of these keys, inside a `tf.data` pipeline."""
        rows, first = [], 0
        for source, shape in zip(self._sources, self._shapes, strict=True):
            size = int(np.prod(shape))
            rows.append(source.batch(key[first : first + size] if shape else key[first]))
            first += size
        return self._packed(rows)

    def at(self, step: int) -> MoreRows:
        """Returns the rows of a step, outside a `tf.data` pipeline."""
        return self._packed([source.at(step) for source in self._sources])

    def check(self, x: Any) -> None:
        """Raises if these rows differ from labelled inputs, or specs, in structure or row shape."""
        if self._unlabelled is not None:
            check_alike(x, self._unlabelled.spec)

    def _packed(self, parts: list[Any]) -> MoreRows:
        first = 0 if self._unlabelled is None else 1
        points = dict(zip(self._points, parts[first:], strict=True))
        return MoreRows(parts[0] if first else (), points)
