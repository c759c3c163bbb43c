"""Weights of the rows, or steps, over which a term is averaged."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.errors import received

NOT_NEGATIVE = (
    "Return booleans, such as `q > 0`, or weights >= 0: `keras.ops.maximum(weights, 0.0)`. A NaN "
    "comes from the inputs of these rows."
)


class WhereShapeError(ValueError):
    """The weights of a term do not fit the rows that they weigh."""


def as_weights(weights: Any, what: str) -> Any:
    """Returns weights as a boolean or float32 tensor through which no gradient flows.

    Args:
        weights: Boolean tensor or array, or numbers >= 0.
        what: What the weights are, for messages: "The `where` of physics term 'x'".

    Returns:
        A tensor of the same shape. A negative weight becomes NaN, which makes the loss NaN.

    Raises:
        TypeError: If `weights` is not a tensor or array of numbers or booleans.
    """
    try:
        if weights is None:
            raise TypeError
        tensor = ops.convert_to_tensor(weights)
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if dtype == "string":
            raise TypeError
        if dtype != "bool":
            tensor = ops.stop_gradient(ops.cast(tensor, "float32"))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{what} must be a boolean tensor, or weights >= 0. {received('where', weights)}"
        ) from error
    if dtype == "bool":
        return tensor
    return ops.where(tensor >= 0, tensor, ops.full_like(tensor, float("nan")))


def check_of_batch(weights: Any, output: Any, what: str) -> None:
    """Raises if the number of weights is fixed, although that of the rows of an output is not.

    Args:
        weights: Tensor of weights.
        output: Tensor of shape `(batch, ...)`.
        what: What the weights are, for the message.
    """
    if None in tuple(output.shape)[:1] and None not in (tuple(weights.shape) or (None,))[:1]:
        raise WhereShapeError(
            f"{what} must have one value per row of the batch, whose number of rows varies: "
            "compute it from the inputs. If the output has rows of its own, such as those of a "
            "grid, fix their number by `keras.ops.reshape(output, (n, ...))`. Received: shape "
            f"{tuple(weights.shape)}, for any batch"
        )


def fitted(weights: Any, output: Any, what: str) -> Any:
    """Returns weights whose shape is that of the first axes of an output, or raises.

    Args:
        weights: Tensor of weights; last axes of size 1 are removed.
        output: Tensor of shape `(batch, ...)`.
        what: What the weights are, for the message.

    Raises:
        WhereShapeError: If the shapes do not fit.
    """
    got, wanted = tuple(weights.shape), tuple(output.shape)
    while len(got) > 1 and got[-1] == 1:
        weights, got = ops.squeeze(weights, -1), got[:-1]
    if not got or len(got) > len(wanted) or not all(map(_same_size, got, wanted)):
        raise WhereShapeError(
            f"{what} must have the shape of the output, {wanted}, or of its first axes, such as "
            "one value per row: compute it from all rows. Received: shape "
            f"{tuple(weights.shape)}"
        )
    return weights


def combined(weights: Sequence[Any]) -> Any | None:
    """Returns the product of weights, aligned by their first axes; `None` if there are none.

    It is boolean if all of them are.
    """
    if not weights:
        return None
    rank = max(len(each.shape) for each in weights)
    product, *others = (with_rank(each, rank) for each in weights)
    for other in others:
        if is_boolean(product) and is_boolean(other):
            product = ops.logical_and(product, other)
        else:
            product = ops.cast(product, "float32") * ops.cast(other, "float32")
    return product


def holding(weights: Any) -> Any:
    """Returns a boolean tensor: where weights are not 0."""
    return weights if is_boolean(weights) else weights != 0


def is_boolean(weights: Any) -> bool:
    """Returns whether weights only tell what counts."""
    return bool(keras.backend.standardize_dtype(weights.dtype) == "bool")


def with_rank(weights: Any, rank: int) -> Any:
    """Returns weights with `rank` axes; the new axes are last, and of size 1."""
    for _ in range(rank - len(weights.shape)):
        weights = ops.expand_dims(weights, -1)
    return weights


def _same_size(a: int | None, b: int | None) -> bool:
    # A size of 1 beside an unknown one would broadcast.
    return a == b or (a is None and b != 1) or (b is None and a != 1)
