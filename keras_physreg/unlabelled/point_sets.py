"""Point sets of a model while it is fitted: rows on which one term is evaluated, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.unlabelled.point_sources import PointSources


class PointSets:
    """Point sets by term: some the same in every step, the others in the data of the step.

    Sets that are the same in every step are TensorFlow variables, which compiled steps read on
    their device: other points of the same shapes need no new trace.
    """

    def __init__(self) -> None:
        self.terms: tuple[str, ...] = ()
        self._whole: dict[str, Any] = {}
        self._shapes: Any = None

    def set(self, terms: tuple[str, ...], whole: Mapping[str, Any]) -> bool:
        """Replaces the point sets.

        Args:
            terms: The terms that have points, in the order of their rows.
            whole: Tensors of the sets that are the same in every step, by term.

        Returns:
            Whether compiled steps must be traced again.
        """
        shapes = keras.tree.map_structure(_spec, dict(whole))
        changed = (terms, shapes) != (self.terms, self._shapes)
        if changed:
            self._whole = keras.tree.map_structure(_variable, dict(whole))
        else:
            keras.tree.map_structure(_assign, self._whole, dict(whole))
        self.terms, self._shapes = terms, shapes
        return changed

    def holds(self, terms: tuple[str, ...], whole: Mapping[str, Any]) -> bool:
        """Returns whether these are the point sets, value by value."""
        shapes = keras.tree.map_structure(_spec, dict(whole))
        if (terms, shapes) != (self.terms, self._shapes):
            return False
        own, others = keras.tree.flatten(self._whole), keras.tree.flatten(dict(whole))
        return all(
            one is other is None or np.array_equal(one, other)
            for one, other in zip(own, others, strict=True)
        )

    def of_step(self, streamed: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the inputs of all point sets in one step, by term.

        Args:
            streamed: Those in the data of the step.
        """

        def read(variable: Any) -> Any:
            return None if variable is None else tf.convert_to_tensor(variable)

        whole = {name: self._whole[name] for name in self.terms if name not in streamed}
        read_now = keras.tree.map_structure(read, whole)
        return {name: streamed[name] if name in streamed else read_now[name] for name in self.terms}


class ModelPoints:
    """The point sets of a model: in training, in validation, and whether a `fit` uses them now."""

    def __init__(self) -> None:
        self.training, self.validation = PointSets(), PointSets()
        self.are_active = False
        self._changed, self._executed = False, 0

    def set(self, training: PointSources, validation: PointSources) -> None:
        """Replaces the point sets."""
        self._changed = self.training.set(training.terms, training.whole)
        self.validation.set(validation.terms, validation.whole)

    def holds(self, training: PointSources, validation: PointSources) -> bool:
        """Returns whether these are the point sets, value by value."""
        pairs = [(self.training, training), (self.validation, validation)]
        return all(own.holds(other.terms, other.whole) for own, other in pairs)

    def must_trace_again(self, steps_per_execution: int) -> bool:
        """Returns whether the steps of training must be traced again for these point sets.

        Args:
            steps_per_execution: That of this `fit`.
        """
        before, self._executed = self._executed, steps_per_execution
        return self._changed or before != steps_per_execution


def _spec(tensor: Any) -> Any:
    return None if tensor is None else str((tuple(tensor.shape), tensor.dtype.name))


def _variable(tensor: Any) -> Any:
    return None if tensor is None else tf.Variable(tensor, trainable=False, name="points")


def _assign(variable: Any, tensor: Any) -> Any:
    return None if tensor is None else variable.assign(tensor)
