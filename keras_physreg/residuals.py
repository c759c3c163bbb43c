"""Residuals of inequalities and conserved quantities, for terms with `reference=None`.

Each is 0 where the law holds, and else by how much it is broken, in the unit of the quantity; the
first axis is the batch. Divide by a typical size, or choose the term's weight, to balance it
against losses in other units. Where the law holds on all rows the gradient is zero, too.

Example:
>>> import keras, keras_physreg as kp
>>> def limits(z, tank):  # tank: levels in m, of shape (batch, times)
...     return {
...         "level": kp.residuals.bounded(tank, low=0.0, high=3.0),
...         "filling": kp.residuals.monotone(tank),
...     }
>>> z = keras.Input((4,))
>>> tank = keras.layers.Dense(5)(z)
>>> layer = kp.PhysicsRegularization(limits, {"level": 1.0, "filling": 0.1})
>>> model = kp.PhysicsModel(z, layer(z, tank))
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg._utils.errors import boolean, is_whole, received

__all__ = ["bounded", "conserved", "monotone", "positive"]


def positive(values: Any) -> Any:
    """Returns by how much values are below 0: `relu(-values)`.

    Also for what must rise with an input at every point: give it the derivative of the prediction
    by that input, in units of the quantity over the input's.

    Args:
        values: Tensor of shape `(batch, ...)`, in any unit.

    Returns:
        A tensor of the same shape and unit.

    Raises:
        TypeError: If the values are not floating.

    Example:
    >>> import keras, keras_physreg as kp
    >>> values = keras.ops.array([[1.5, -2.0]])
    >>> kp.residuals.positive(values).numpy().tolist()
    [[0.0, 2.0]]

    Monotone in an input, by the derivative at collocation points, here in column 1 (TensorFlow;
    the model must be traced, as it is in `fit`):

    >>> import tensorflow as tf
    >>> def rising(z, x_pred):
    ...     slope = tf.gradients(x_pred[:, 0], z)[0]
    ...     return {"rising": kp.residuals.positive(slope[:, 1])}
    """
    values = _floating("values", values)
    return ops.relu(-values)


def bounded(values: Any, low: Any = None, high: Any = None) -> Any:
    """Returns by how much values are out of bounds: `relu(low - values) + relu(values - high)`.

    Args:
        values: Tensor of shape `(batch, ...)`, in any unit.
        low: Lower bound in the same unit: a number, or a tensor that broadcasts to the values'
            shape, such as one bound per row of shape `(batch, 1)`; `None` for none.
        high: Upper bound, likewise.

    Returns:
        A tensor of the same shape and unit.

    Raises:
        TypeError: If the values are not floating, or a bound is no number.
        ValueError: If both bounds are missing, one is NaN, `low` is not less than `high`, or a
            bound has a shape that would change that of the values.

    Example:
    >>> import keras, keras_physreg as kp
    >>> values = keras.ops.array([[-1.0, 0.5, 4.0]])
    >>> kp.residuals.bounded(values, low=0.0, high=1.0).numpy().tolist()
    [[1.0, 0.0, 3.0]]
    """
    values = _floating("values", values)
    _check_bounds(low, high)
    below = 0.0 if low is None else ops.relu(_bound("low", low, values) - values)
    above = 0.0 if high is None else ops.relu(values - _bound("high", high, values))
    return below + above


def monotone(values: Any, axis: int = -1, increasing: bool = True) -> Any:
    """Returns by how much values fall from one place to the next along an axis.

    With `d = values[k + 1] - values[k]` along the axis it is `relu(-d)`; `relu(d)` where they must
    decrease. Equal neighbours are allowed. For rows that are monotone in an input, which come in
    no order, use `positive` on the derivative.

    Args:
        values: Tensor of shape `(batch, ...)`, in any unit, with at least two places on the axis.
        axis: The axis of the order, such as time or depth; not the batch.
        increasing: Whether values must not fall; else they must not rise.

    Returns:
        A tensor in the same unit, one shorter on the axis.

    Raises:
        TypeError: If the values are not floating, `axis` is no integer or `increasing` no bool.
        ValueError: If the axis is the batch, is not there or has less than two places.

    Example:
    >>> import keras, keras_physreg as kp
    >>> levels = keras.ops.array([[1.0, 3.0, 2.5]])
    >>> kp.residuals.monotone(levels).numpy().tolist()
    [[0.0, 0.5]]
    """
    values = _floating("values", values)
    steps = ops.diff(values, axis=_checked_axis(values, axis))
    return ops.relu(-steps if boolean("increasing", increasing) else steps)


def conserved(values: Any, axis: int = -1) -> Any:
    """Returns by how much a quantity departs, along an axis, from its mean there.

    For a quantity that stays the same along a path, such as the energy at several times. A balance
    of parts, such as inflows and outflows, is a residual by itself: `sum(inflows) - sum(outflows)`.

    Args:
        values: Tensor of shape `(batch, ...)`, in any unit, with at least two places on the axis.
        axis: The axis along which it is conserved; not the batch.

    Returns:
        A tensor of the same shape and unit, of mean 0 along the axis.

    Raises:
        TypeError: If the values are not floating, or `axis` is no integer.
        ValueError: If the axis is the batch, is not there or has less than two places.

    Example:
    >>> import keras, keras_physreg as kp
    >>> energy = keras.ops.array([[2.0, 2.0, 5.0]])
    >>> kp.residuals.conserved(energy).numpy().tolist()
    [[-1.0, -1.0, 2.0]]
    """
    values = _floating("values", values)
    axis = _checked_axis(values, axis)
    return values - ops.mean(values, axis=axis, keepdims=True)


def _floating(what: str, values: Any) -> Any:
    try:
        tensor = ops.convert_to_tensor(values)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`{what}` must be a tensor or an array. {received(what, values)}"
        ) from error
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise TypeError(
            f"`{what}` must be floating: integers and booleans carry no gradient. Received: "
            f"{what} of shape {tuple(tensor.shape)} and dtype {dtype}"
        )
    return tensor


def _check_bounds(low: Any, high: Any) -> None:
    if low is None and high is None:
        raise ValueError("`bounded` needs a bound. Received: low=None, high=None")
    numbers = {
        what: np.asarray(bound)
        for what, bound in (("low", low), ("high", high))
        if bound is not None and not ops.is_tensor(bound)
    }
    for what, bound in numbers.items():
        if bound.dtype.kind not in "iuf":
            raise TypeError(
                f"`{what}` must be a number, or an array of numbers. {received(what, bound)}"
            )
        if np.isnan(bound).any():
            raise ValueError(f"`{what}` must not be NaN. Received: {what}={bound}")
    if len(numbers) == 2 and (numbers["low"] >= numbers["high"]).any():
        raise ValueError(f"`low` must be less than `high`. Received: low={low!r}, high={high!r}")


def _bound(what: str, bound: Any, values: Any) -> Any:
    tensor = ops.cast(ops.convert_to_tensor(bound), values.dtype)
    sizes = tuple(tensor.shape), tuple(values.shape)
    aligned = zip(reversed(sizes[0]), reversed(sizes[1]), strict=False)
    fits = len(sizes[0]) <= len(sizes[1]) and all(a in (1, b) or None in (a, b) for a, b in aligned)
    if not fits:
        raise ValueError(
            f"`{what}` must be a number, or broadcast to the shape of `values` without changing "
            f"it. Received: {what} of shape {sizes[0]} for values of shape {sizes[1]}"
        )
    return tensor


def _checked_axis(values: Any, axis: Any) -> int:
    shape = tuple(values.shape)
    if not is_whole(axis):
        raise TypeError(f"`axis` must be an integer. {received('axis', axis)}")
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"`axis` is not there. Received: axis={axis} for shape {shape}")
    if axis % len(shape) == 0:
        raise ValueError(
            "`axis` must not be the batch: its rows come in no order, and one row must not depend "
            f"on another. Received: axis={axis} for shape {shape}"
        )
    if shape[axis] is not None and shape[axis] < 2:
        raise ValueError(
            f"`axis` needs at least two places. Received: axis={axis} for shape {shape}"
        )
    return int(axis)
