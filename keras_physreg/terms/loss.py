"""Computes the unweighted loss of a term: its output against its reference, averaged over rows."""

from typing import Any

import keras
from keras import ops

from keras_physreg._utils.serialization import display_name
from keras_physreg._utils.user_errors import explained
from keras_physreg.terms import references
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
    return ops.broadcast_to(reference, ops.shape(output))


def term_loss(
    term: PhysicsTerm, output: Any, reference: Any, sample_weight: Any | None = None
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

    Returns:
        A scalar tensor.
    """
    loss = keras.losses.get(term.loss)
    values = _values(term, output, reference)
    if sample_weight is None:
        return ops.mean(values)
    if not len(values.shape):
        raise ValueError(
            f"The loss of physics term '{term.name}' returns one number for the whole batch: "
            "`sample_weight` and `class_weight` cannot weight its rows. Return one value per row."
        )
    weights = _align(term, ops.cast(sample_weight, values.dtype), values)
    weighted = values * weights
    if getattr(loss, "reduction", None) == "mean_with_sample_weight":
        return ops.divide_no_nan(
            ops.sum(weighted), ops.sum(ops.broadcast_to(weights, values.shape))
        )
    return ops.mean(weighted)


def row_losses(term: PhysicsTerm, output: Any, reference: Any) -> Any | None:
    """Returns the loss of each row.

    Args:
        term: The term.
        output: Tensor of shape `(batch, ...)`.
        reference: Tensor of the same shape.

    Returns:
        A tensor of shape `(batch,)`, or `None` if output or loss is one number for all rows.
    """
    values = _values(term, output, reference)
    if not len(output.shape) or not len(values.shape):
        return None
    return ops.mean(values, axis=tuple(range(1, len(values.shape))))


def _values(term: PhysicsTerm, output: Any, reference: Any) -> Any:
    loss = keras.losses.get(term.loss)
    compare = loss.call if isinstance(loss, keras.losses.Loss) else loss
    subject = f"The loss `{display_name(loss)}` of physics term '{term.name}'"
    try:
        values = compare(_with_last_axis(reference), _with_last_axis(output))
    except Exception as error:
        raise explained(error, compare, subject) from error
    if not ops.is_tensor(values):
        raise TypeError(
            f"{subject} must return a tensor, or no gradient can flow. It returned {values!r} "
            f"(of type {type(values)}). Compute the loss from `y_pred` with `keras.ops`."
        )
    return values


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


def _with_last_axis(tensor: Any) -> Any:
    """Adds the last axis that losses average over to `(batch,)`, and two axes to a scalar."""
    if not len(tensor.shape):
        return ops.reshape(tensor, (1, 1))
    return ops.expand_dims(tensor, -1) if len(tensor.shape) == 1 else tensor


def _align(term: PhysicsTerm, weights: Any, values: Any) -> Any:
    rank = len(values.shape)
    if len(weights.shape) == rank + 1 and weights.shape[-1] == 1:
        weights = ops.squeeze(weights, -1)
    if len(weights.shape) > rank:
        raise ValueError(
            f"`sample_weight` has shape {tuple(weights.shape)}, which does not fit the loss of "
            f"physics term '{term.name}' of shape {tuple(values.shape)}. Give one weight per row."
        )
    for _ in range(rank - len(weights.shape)):
        weights = ops.expand_dims(weights, -1)
    return weights
