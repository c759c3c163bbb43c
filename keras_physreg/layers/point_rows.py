"""The rows of point sets in a call of a model on all rows joined."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf


@dataclass(frozen=True)
class PointRows:
    """Where the rows of each term's point set are, after all rows of no point set.

    Args:
        before: Number of rows of no point set, an integer or a tensor; `None`: there are none.
        sizes: Number of rows of each point set, by term, in the order of the rows: an integer, or
            a tensor where batches come from a function in Python.
        parts: For inputs of the model, by identity: the tensor that was joined, and the tensors
            that it was joined from, in order.
        skipped: Terms that are not computed in this call.
    """

    before: Any
    sizes: Mapping[str, Any]
    parts: Mapping[int, tuple[Any, list[Any]]] = field(default_factory=dict)
    skipped: frozenset[str] = frozenset()

    def split(self, structure: Any) -> tuple[Any, dict[str, Any]]:
        """Splits tensors or `None`s that have one row per row of the call.

        A part of a tensor that was joined is the very tensor that it was joined from: physics may
        differentiate the prediction by it.

        Returns:
            The rows of no point set, and the rows of each point set, by term. If there are none of
            no point set, the first are all rows.
        """
        leaves = [self._split(leaf) for leaf in keras.tree.flatten(structure)]

        def packed(number: int) -> Any:
            return keras.tree.pack_sequence_as(structure, [parts[number] for parts in leaves])

        first = 0 if self.before is None else 1
        points = {name: packed(first + i) for i, name in enumerate(self.sizes)}
        return (packed(0) if first else structure), points

    @property
    def is_one(self) -> bool:
        """Whether all rows belong together, so that nothing is split."""
        return len(self.sizes) + (self.before is not None) == 1

    def _split(self, tensor: Any) -> list[Any]:
        count = len(self.sizes) + (self.before is not None)
        if self.is_one or tensor is None or not len(getattr(tensor, "shape", ())):
            return [tensor] * count
        if id(tensor) in self.parts:
            return self.parts[id(tensor)][1]
        sizes = list(self.sizes.values())
        counts = sizes if self.before is None else [self.before, *sizes]
        known = all(isinstance(number, int) for number in counts)
        rows = sum(number for number in counts if isinstance(number, int))
        got = tensor.shape[0]
        if got is not None and (got != rows if known else got < rows):
            raise ValueError(
                f"With point sets, a physics layer got a tensor of shape {tuple(tensor.shape)}, "
                f"but the model was called on {rows if known else 'other'} rows: labelled rows, "
                "then the points of each term. Call the physics layer in the model's `call`, on "
                "tensors with one row per row of the input."
            )
        return list(tf.split(tensor, sizes if self.before is None else [-1, *sizes]))
