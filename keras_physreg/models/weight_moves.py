"""Moves the weights of terms inside the training steps of a model, by a table in the graph."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.models.run_step import has_own_train_step

STEPS_PER_TABLE = 1024


class WeightTable:
    """The weights of some terms at coming steps of the optimizer, as variables of a graph.

    Args:
        variables: Variables that hold the weights.
    """

    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        self._variables = tuple(variables)
        shape = (STEPS_PER_TABLE, len(self._variables))
        self._table = tf.Variable(np.zeros(shape, "float32"), trainable=False)
        self._begin = tf.Variable(0, trainable=False, dtype="int64")

    def fill(self, begin: int, weights: np.ndarray) -> None:
        """Sets the weights of the steps from `begin` on.

        Args:
            begin: First step of the optimizer.
            weights: Array of shape `(STEPS_PER_TABLE, variables)`.
        """
        self._begin.assign(begin)
        self._table.assign(weights)

    def set_weights(self, step: Any) -> None:
        """Sets the weights for a step of the optimizer, a tensor, that the table holds."""
        weights = tf.gather(self._table, tf.cast(step, "int64") - self._begin)
        for variable, weight in zip(self._variables, tf.unstack(weights), strict=True):
            variable.assign(weight)


class WeightMoves:
    """Whether and how the training steps of a `PhysicsModel` set the weights of its terms.

    The training function of a model is traced with a table or without one. Both functions are
    kept, so that trainings with and without a schedule may follow each other.
    """

    def __init__(self) -> None:
        self.table: WeightTable | None = None
        self._is_fitting = False
        self._without: Any = None  # The training function without a table ...
        self._with: Any = None  # ... and the one made beside it, with its table.
        self._kept: tuple[tuple[int, ...], WeightTable] | None = None

    def begin(self, model: keras.Model, variables: Sequence[keras.Variable]) -> WeightTable | None:
        """Returns a table from which the steps of the present `fit` read their weights.

        Args:
            model: The model.
            variables: Variables that hold the weights.

        Returns:
            The table, to be filled before the first step; `None` if the steps cannot read one.
        """
        if not self._is_fitting or self.table is not None or not _reads_tables(model, variables):
            return None
        kinds = tuple(map(id, variables))
        if (
            self._kept is None
            or self._kept[0] != kinds
            or model.train_function is not self._without
        ):
            self._kept = (kinds, WeightTable(variables))
            self._without = model.train_function
            model.make_train_function(force=True)
            self._with = model.train_function
        self.table, model.train_function = self._kept[1], self._with
        return self.table

    @contextlib.contextmanager
    def fitting(self, model: keras.Model) -> Iterator[None]:
        """Marks a `fit` of the model, after which its steps read no table any more."""
        outer = self._is_fitting, self.table, model.train_function
        self._end(model)
        self._is_fitting = True
        try:
            yield
        finally:
            self._end(model)
            self._is_fitting, self.table, function = outer
            if self.table is not None:  # A callback of another `fit` has called this one.
                model.train_function = function

    def _end(self, model: keras.Model) -> None:
        if self.table is not None and model.train_function is self._with:
            model.train_function = self._without
        self.table = None


def _reads_tables(model: keras.Model, variables: Sequence[keras.Variable]) -> bool:
    """Returns whether the steps of a model can read their weights from a table.

    Steps that run in one execution share a weight, devices share a variable, and a `train_step` of
    the user's may update the weights of the model several times.
    """
    return (
        keras.backend.backend() == "tensorflow"
        and model.steps_per_execution == 1
        and not model.run_eagerly
        and not has_own_train_step(model)
        and bool(model.trainable_weights)
        and not any(isinstance(v.value, tf.distribute.DistributedValues) for v in variables)
    )
