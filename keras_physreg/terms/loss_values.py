"""Computes the values of a term's loss before they are averaged, and aligns weights with them."""

from typing import Any

import keras
from keras import ops

from keras_physreg._utils.select import select
from keras_physreg._utils.serialization import display_name
from keras_physreg._utils.user_errors import explained
from keras_physreg.terms.row_weights import holding, with_rank
from keras_physreg.terms.scale import divided
from keras_physreg.terms.term import PhysicsTerm

# Keras losses that are not means over the last axis.
JOINT_LOSSES = (
    *("cosine_similarity", "categorical_crossentropy", "sparse_categorical_crossentropy"),
    *("kl_divergence", "categorical_hinge", "categorical_focal_crossentropy"),
)


def loss_values(term: PhysicsTerm, output: Any, reference: Any) -> Any:
    """Returns the values of a term's loss before they are averaged, at least one per row."""
    return _compared(term, *_in_units_of_scale(term, output, reference))


def _in_units_of_scale(term: PhysicsTerm, output: Any, reference: Any) -> tuple[Any, Any]:
    owner = f"physics term '{term.name}'"
    output = divided(owner, term.scale, output)
    if term.reference is not None:  # Else it is 0 in any unit.
        reference = divided(owner, term.scale, reference)
    return output, reference


def _compared(term: PhysicsTerm, output: Any, reference: Any) -> Any:
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


def loss_values_where(
    term: PhysicsTerm, output: Any, reference: Any, where: Any
) -> tuple[Any, Any]:
    """Returns the values of the loss, 0 where they do not count, and their weights.

    The derivatives of values that do not count need not be finite; `shield` keeps them out.
    """
    output, reference = _in_units_of_scale(term, output, reference)
    holds = holding(where)
    if not isinstance(term.loss, str):  # It may combine rows.
        output, reference = _finite_where_not(holds, term, output, reference)
    if len(where.shape) == len(output.shape) > 1:  # A loss averages over the last axis.
        _check_elementwise(term)
        output, reference = ops.expand_dims(output, -1), ops.expand_dims(reference, -1)
    values = _compared(term, output, reference)
    check_has_rows(term, values)
    values = select(holds, values, ops.zeros_like(values))
    where = ops.cast(where, values.dtype)
    if len(where.shape) < len(values.shape):
        where = ops.broadcast_to(with_rank(where, len(values.shape)), ops.shape(values))
    return values, where


def _finite_where_not(
    holds: Any, term: PhysicsTerm, output: Any, reference: Any
) -> tuple[Any, Any]:
    """Returns both with 0.5 where values do not count.

    Most losses and their derivatives are finite at two equal numbers other than 0 and 1.
    """
    neutral = ops.full_like(output, 0.5)
    output = select(holds, output, neutral)
    # A residual is compared with 0, which is finite.
    return output, reference if term.reference is None else select(holds, reference, neutral)


def aligned(term: PhysicsTerm, weights: Any, values: Any) -> Any:
    """Returns row weights with as many axes as the values of a loss; raises if they do not fit."""
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


def check_has_rows(term: PhysicsTerm, values: Any) -> None:
    """Raises if a loss is one number for the whole batch."""
    if not len(values.shape):
        raise ValueError(
            f"The loss of physics term '{term.name}' returns one number for the whole batch: "
            "neither `sample_weight` and `class_weight` nor `where` and masks can weight its rows. "
            "Return one value per row."
        )


def _check_elementwise(term: PhysicsTerm) -> None:
    loss = keras.losses.get(term.loss)
    name = getattr(loss, "name", getattr(loss, "__name__", ""))
    if name in JOINT_LOSSES:
        raise ValueError(
            f"Physics term '{term.name}' selects single values (`where` has the shape of the "
            f"output), but its loss '{name}' combines all values on the last axis. Use a `where` "
            "without this axis, or another loss."
        )


def _with_last_axis(tensor: Any) -> Any:
    """Adds the last axis that losses average over to `(batch,)`, and two axes to a scalar."""
    if not len(tensor.shape):
        return ops.reshape(tensor, (1, 1))
    return ops.expand_dims(tensor, -1) if len(tensor.shape) == 1 else tensor
