"""Total loss and gradient of a model on all rows, as a function of one vector of weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.variables import values_of
from keras_physreg.constants.constant import find_constants
from keras_physreg.models.total_loss import Rows, total_loss
from keras_physreg.refinement.wide_program import in_float64, operations

# Relative difference from which on a loss in float64 is not the loss in float32.
MAX_DIFFERENCE = 1e-2


@dataclass(frozen=True)
class Point:
    """The loss at one vector of weights.

    Args:
        weights: The vector, in float64.
        loss: Total loss.
        gradient: Its gradient, in float64.
        parts: Data loss and unweighted term losses, by the names under which `fit` logs them.
    """

    weights: np.ndarray
    loss: float
    gradient: np.ndarray
    parts: dict[str, float]

    @property
    def is_finite(self) -> bool:
        """Whether the loss and its gradient are finite."""
        return math.isfinite(self.loss) and bool(np.isfinite(self.gradient).all())


class FullBatch:
    """Evaluates a model on all rows, and leaves it as it is.

    Args:
        model: A compiled and built `PhysicsModel`.
        rows: All rows, as tensors.
        unlabelled_share: As in `PhysicsModel.fit`.

    Attributes:
        start: The point at the present weights, computed as a training step does.
        updated: The variables that a training step would update besides the weights: seeds of
            dropout, moving averages of batch normalisation.
        connected: Whether the loss depends on each variable.
        is_random: Whether the loss contains random numbers.
        precision: `"float64"`, or `"float32"` if the program runs in float32 only.
        reason: Why it does, or an empty string.
    """

    def __init__(
        self, model: keras.Model, rows: Rows, unlabelled_share: float | None = None
    ) -> None:
        self._model, self._rows, self._share = model, rows, unlabelled_share
        self.variables = list(model.trainable_variables)
        rates = {id(constant.raw): constant.rate for constant in find_constants(model)}
        self._rates = [rates.get(id(variable), 1.0) for variable in self.variables]
        self.connected: dict[str, bool] = {}
        self.precision, self.reason = "float32", ""
        weights = self.joined(values_of(self.variables))
        program = self._program(weights)
        if len(self._others) < len(self._other_variables()):
            program = self._program(weights)  # The first one has created metrics of the loss.
        self._run: Callable = program
        self._structure = found = program(tf.constant(weights))
        if model.run_eagerly:
            again = program(tf.constant(weights))
            self.is_random = not np.array_equal(found["loss"], again["loss"], equal_nan=True)
        else:
            self.is_random = any("Random" in name for name in operations(program))
        self.updated = [self._others[int(i)] for i, is_new in found["updated"].items() if is_new]
        self.start = self._point(weights, found)
        if self.start.is_finite:
            self._widen(program)

    def at(self, weights: np.ndarray) -> Point:
        """Returns the loss and its gradient at a vector of weights."""
        return self._evaluated(self._run, weights)

    def joined(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the values of the variables as one float64 vector.

        The variable of a `Constant` is multiplied by its rate: the derivative by this product is
        the one that training uses.
        """
        pairs = zip(values, self._rates, strict=True)
        return np.concatenate([np.asarray(value, "float64").ravel() * r for value, r in pairs])

    def split(self, weights: np.ndarray) -> list[np.ndarray]:
        """Returns the value of each variable, in its own type."""
        sizes = np.cumsum([math.prod(variable.shape) for variable in self.variables])
        parts = zip(np.split(weights, sizes[:-1]), self.variables, self._rates, strict=True)
        return [
            (part / rate).reshape(v.shape).astype(keras.backend.standardize_dtype(v.dtype))
            for part, v, rate in parts
        ]

    def _other_variables(self) -> list[keras.Variable]:
        """Returns the variables of the model that are no trainable weights."""
        known = {id(v): v for v in [*self._model.variables, *self._model.metrics_variables]}
        for variable in self.variables:
            known.pop(id(variable))
        return list(known.values())

    def _program(self, weights: np.ndarray) -> Any:
        """Returns the function `_differentiate`, traced unless the model runs eagerly."""
        self._others = self._other_variables()
        # Values, so that the program reads no variable.
        self._values = [tf.constant(value) for value in values_of(self._others)]
        if self._model.run_eagerly:
            return self._differentiate
        program = tf.function(self._differentiate, autograph=False, jit_compile=self._jit_compile)
        return program.get_concrete_function(tf.TensorSpec(weights.shape, "float64"))

    @property
    def _jit_compile(self) -> bool | None:
        return True if self._model.jit_compile else None

    def _differentiate(self, weights: Any) -> dict[str, Any]:
        parts = tf.split(weights, [math.prod(v.shape) for v in self.variables])
        values = [
            tf.cast(tf.reshape(part / rate, v.shape), keras.backend.standardize_dtype(v.dtype))
            for v, part, rate in zip(self.variables, parts, self._rates, strict=True)
        ]
        pairs = [*zip(self.variables, values, strict=True)]
        pairs += zip(self._others, self._values, strict=True)
        with tf.GradientTape() as tape:
            tape.watch(values)
            with keras.StatelessScope(pairs, collect_losses=True) as scope:
                found = total_loss(self._model, self._rows, self._share)
        gradients = [_dense(gradient) for gradient in tape.gradient(found.total, values)]
        paths = [variable.path for variable in self.variables]
        self.connected = {p: g is not None for p, g in zip(paths, gradients, strict=True)}
        filled = [
            tf.zeros_like(v) if g is None else g for v, g in zip(values, gradients, strict=True)
        ]
        return {
            "loss": _wide(found.total),
            "gradient": tf.concat([_wide(tf.reshape(g, [-1])) for g in filled], axis=0),
            "parts": {name: _wide(part) for name, part in found.parts.items()},
            "updated": self._updated(scope),
        }

    def _updated(self, scope: keras.StatelessScope) -> dict[str, Any]:
        """Returns whether a variable was updated, by its index, unless it is one of a metric."""
        metrics = {id(variable) for variable in self._model.metrics_variables}
        found = {}
        for i, (variable, before) in enumerate(zip(self._others, self._values, strict=True)):
            after = scope.get_current_value(variable)
            if id(variable) not in metrics and after is not before:
                found[str(i)] = tf.reduce_any(tf.not_equal(after, before))
        return found

    def _widen(self, program: Any) -> None:
        """Turns to float64, if TensorFlow can run the program in it."""
        if self._model.run_eagerly:
            self.reason = "the model was compiled with `run_eagerly=True`"
            return
        weights, narrow = self.start.weights, self._run
        # Near its minimum a loss in float32 may be rounding alone: then compare farther away.
        away = weights + 0.1 * np.random.default_rng(0).normal(size=weights.shape)
        try:
            wide = in_float64(program, self._jit_compile)
            agree = any(self._agree(narrow, wide, there) for there in (weights, away))
        except Exception as error:  # An operation for float32 only: errors of TensorFlow.
            self.reason = next(iter(str(error).splitlines()), type(error).__name__)
            return
        if not agree:
            self.reason = "in float64 the program computes another loss"
            return
        self._run, self.precision = wide, "float64"
        self.start = self.at(weights)

    def _agree(self, narrow: Callable, wide: Callable, weights: np.ndarray) -> bool:
        """Returns whether two programs compute the same loss, up to the rounding of float32."""
        losses = [self._evaluated(run, weights).loss for run in (narrow, wide)]
        return math.isclose(*losses, rel_tol=MAX_DIFFERENCE)

    def _evaluated(self, run: Callable, weights: np.ndarray) -> Point:
        found = tf.nest.flatten(run(tf.constant(weights)))
        return self._point(weights, tf.nest.pack_sequence_as(self._structure, found))

    @staticmethod
    def _point(weights: np.ndarray, found: dict[str, Any]) -> Point:
        parts = {name: float(part) for name, part in found["parts"].items()}
        return Point(weights, float(found["loss"]), found["gradient"].numpy(), parts)


def _wide(tensor: Any) -> Any:
    return tf.cast(tensor, "float64")


def _dense(gradient: Any) -> Any:
    return None if gradient is None else tf.convert_to_tensor(gradient)
