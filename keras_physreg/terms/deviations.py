"""Losses of terms that are means of a function of the deviation of the output from the reference.

They need fewer operations than a Keras loss, which averages over the last axis first, and are equal
to it up to rounding.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.select import select
from keras_physreg.terms.row_weights import holding, is_boolean
from keras_physreg.terms.scale import divided
from keras_physreg.terms.term import PhysicsTerm

_FUNCTIONS = {
    keras.losses.mean_squared_error: ops.square,
    keras.losses.mean_absolute_error: ops.abs,
}


def is_of_deviation(term: PhysicsTerm) -> bool:
    """Returns whether the loss of a term is the mean of a function of deviations."""
    return isinstance(term.loss, str) and keras.losses.get(term.loss) in _FUNCTIONS


def deviation_loss(
    term: PhysicsTerm, output: Any, reference: Any, where: Any, guard: Callable[[Any], Any]
) -> Any:
    """Returns the loss of a term for which `is_of_deviation` holds; 0 if no value counts.

    Args:
        term: The term.
        output: Tensor of shape `(batch, ...)`.
        reference: Tensor of the same shape.
        where: Which values count, as in `term_loss`.
        guard: Function from the deviation to a tensor of the same value, which may change its
            gradient.
    """
    deviation = guard(output if term.reference is None else output - reference)
    # The sum of many values leaves the range of 16 bits.
    dtype = keras.backend.result_type(deviation.dtype, "float32")
    deviation = ops.cast(deviation, dtype)
    deviation = divided(f"physics term '{term.name}'", term.scale, deviation)
    function = _FUNCTIONS[keras.losses.get(term.loss)]
    if where is not None:
        return _loss_where(function, deviation, where)
    values = function(deviation)
    if None not in output.shape and 0 not in output.shape:
        return ops.mean(values)
    return ops.divide_no_nan(ops.sum(values), ops.cast(ops.size(output), dtype))


def _loss_where(function: Callable[[Any], Any], deviation: Any, where: Any) -> Any:
    rest = deviation.shape[len(where.shape) :]
    if None not in rest and math.prod(rest):  # One axis of rows: `select` is quickest with it.
        deviation = ops.reshape(deviation, (-1, math.prod(rest)))
        where = ops.reshape(where, (-1,))
    # A deviation of 0 has the loss 0, and no gradient comes back.
    deviation = select(holding(where), deviation, ops.zeros_like(deviation))
    values, weights = function(deviation), ops.cast(where, deviation.dtype)
    if is_boolean(where):
        shape = ops.shape(values)[len(where.shape) :]
        size = ops.cast(ops.prod(shape) if None in rest else math.prod(rest), values.dtype)
        return ops.divide_no_nan(ops.sum(values), ops.sum(weights) * size)
    values = ops.mean(values, axis=tuple(range(len(where.shape), len(values.shape))))
    return ops.divide_no_nan(ops.sum(weights * values), ops.sum(weights))
