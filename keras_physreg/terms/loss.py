"""Computes the unweighted loss of a term: its output against its reference, averaged over rows."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.terms import references
from keras_physreg.terms.deviations import deviation_loss, is_of_deviation
from keras_physreg.terms.loss_values import (
    aligned,
    check_has_rows,
    loss_values,
    loss_values_where,
)
from keras_physreg.terms.row_weights import holding
from keras_physreg.terms.term import PhysicsTerm


def term_reference(term: PhysicsTerm, output: Any, roots: dict[str, Any]) -> Any:
    """Returns the tensor that a term's output is compared with.

    Args:
        term: The term.
        output: The physics output, of shape `(batch, ...)`.
        roots: Structures that `term.reference` may point into, by name: `"input"`, `"target"`,
            `"prediction"`.

    Returns:
        A tensor of the output's shape and dtype; zeros for a residual.

    Raises:
        ValueError: If the reference does not exist, or differs in shape from the output.
    """
    if term.reference is None:
        return ops.zeros_like(output)
    reference = references.resolve(term.name, term.reference, roots)
    reference = ops.cast(ops.convert_to_tensor(reference), output.dtype)
    if term.components is not None:
        reference = references.take_components(term.name, reference, term.components)
    _check_same_shape(term, output, reference)
    # Sizes that are unknown while tracing are compared here when the program runs: this fails if
    # the physics reduced the batch. (TensorFlow would optimise a reshape to the same shape away.)
    # TensorFlow takes the whole shape in one operation, `keras.ops` in four.
    shape = tf.shape(output) if keras.backend.backend() == "tensorflow" else ops.shape(output)
    return ops.broadcast_to(reference, shape)


def term_loss(
    term: PhysicsTerm,
    output: Any,
    reference: Any,
    sample_weight: Any | None = None,
    where: Any | None = None,
    guard: Callable[..., Any] = lambda tensor, holds=None: tensor,
) -> Any:
    """Returns the scalar loss of a term: the mean over rows, each with its weight.

    The sum of the weighted rows is divided by the number of rows, as in Keras'
    `"sum_over_batch_size"`. For a `keras.losses.Loss` of reduction `"mean_with_sample_weight"` it
    is divided by the sum of the weights.

    Args:
        term: The term.
        output: Tensor of shape `(batch, ...)`.
        reference: Tensor of the same shape.
        sample_weight: Row weights of shape `(batch,)` or `(batch, 1)`, or `None`.
        where: Which values count, or with which weight >= 0: a tensor with the shape of the first
            axes of `output`, by whose sum the sum is then divided; `None`: all count alike.
        guard: Function from a tensor, through which gradients flow, to a tensor of the same value
            that may change them. Its argument `holds` is a boolean tensor with the shape of the
            first axes: where gradients must be 0, it is false.

    Returns:
        A scalar tensor; 0 if `where` is 0 everywhere.
    """
    if sample_weight is None and is_of_deviation(term):
        return deviation_loss(term, output, reference, where, guard)
    holds = None if where is None else holding(where)
    output, reference = (guard(each, holds=holds) for each in (output, reference))
    loss = keras.losses.get(term.loss)
    if where is not None:
        return _loss_where(term, output, reference, sample_weight, where)
    values = loss_values(term, output, reference)
    if sample_weight is None:
        return ops.mean(values)
    check_has_rows(term, values)
    weights = aligned(term, ops.cast(sample_weight, values.dtype), values)
    weighted = values * weights
    if getattr(loss, "reduction", None) == "mean_with_sample_weight":
        return ops.divide_no_nan(
            ops.sum(weighted), ops.sum(ops.broadcast_to(weights, values.shape))
        )
    return ops.mean(weighted)


def row_losses(
    term: PhysicsTerm, output: Any, reference: Any, where: Any | None = None
) -> Any | None:
    """Returns the loss of each row.

    Args:
        term: The term.
        output: Tensor of shape `(batch, ...)`.
        reference: Tensor of the same shape.
        where: Which values count, as in `term_loss`; a row of which none counts has the loss 0.

    Returns:
        A tensor of shape `(batch,)`, or `None` if output or loss is one number for all rows.
    """
    if where is not None:
        values, where = loss_values_where(term, output, reference, where)
        axes = tuple(range(1, len(values.shape)))
        return ops.divide_no_nan(ops.sum(where * values, axis=axes), ops.sum(where, axis=axes))
    values = loss_values(term, output, reference)
    if not len(output.shape) or not len(values.shape):
        return None
    return ops.mean(values, axis=tuple(range(1, len(values.shape))))


def _loss_where(
    term: PhysicsTerm, output: Any, reference: Any, sample_weight: Any | None, where: Any
) -> Any:
    values, where = loss_values_where(term, output, reference, where)
    weighted, counted = where * values, where
    if sample_weight is not None:
        weights = aligned(term, ops.cast(sample_weight, values.dtype), values)
        weighted = weighted * weights
        if getattr(keras.losses.get(term.loss), "reduction", None) == "mean_with_sample_weight":
            counted = where * weights
    return ops.divide_no_nan(ops.sum(weighted), ops.sum(counted))


def _check_same_shape(term: PhysicsTerm, output: Any, reference: Any) -> None:
    got, wanted = tuple(output.shape), tuple(reference.shape)
    if len(got) == len(wanted) and all(map(_same_size, got, wanted)):
        return
    cure = "Return one value per value of the reference, or select some of it with `components`."
    if len(got) != len(wanted) or 1 in got or 1 in wanted:
        cure = (
            "They would broadcast against each other. Reshape one of them: "
            "`keras.ops.expand_dims(..., -1)` or `keras.ops.squeeze(..., -1)`."
        )
    of = f" at components {list(term.components)}" if term.components else ""
    raise ValueError(
        f"The physics output of term '{term.name}' has shape {got}, but its reference "
        f"'{term.reference}'{of} has shape {wanted}. {cure}"
    )


def _same_size(a: int | None, b: int | None) -> bool:
    # A size of 1 beside an unknown one: the physics reduced the batch, and 1 would broadcast.
    return a == b or (a is None and b != 1) or (b is None and a != 1)
