"""Residuals of inequalities and conserved quantities, for terms with `reference=None`.

A residual is 0 where the law holds. Elsewhere it is the size of the violation, in the unit of the
quantity. The first axis is the batch. To balance a residual against losses in other units, divide
it by a typical size, or choose the weight of its term. If the law holds on all rows, the gradient
is zero, too.

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
    """Returns how far values are below 0: `relu(-values)`.

    Use it for a prediction that must increase with an input, too: pass the derivative of the
    prediction by this input, in the unit of the prediction per unit of the input.

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

    A prediction that increases with the input in column 1, by its derivative at collocation points
    (TensorFlow only; `tf.gradients` needs a traced model, as in `fit`):

    >>> import tensorflow as tf
    >>> def rising(z, x_pred):
    ...     slope = tf.gradients(x_pred[:, 0], z)[0]
    ...     return {"rising": kp.residuals.positive(slope[:, 1])}
    """
    values = _floating("values", values)
    return ops.relu(-values)


def bounded(values: Any, low: Any = None, high: Any = None) -> Any:
    """Returns how far values are out of bounds: `relu(low - values) + relu(values - high)`.

    Args:
        values: Tensor of shape `(batch, ...)`, in any unit.
        low: Lower bound in the same unit: a number, or a tensor that broadcasts to the shape of
            `values`, such as one bound per row of shape `(batch, 1)`; `None` for none.
        high: Upper bound, likewise.

    Returns:
        A tensor of the same shape and unit.

    Raises:
        TypeError: If the values are not floating, or a bound is not a number.
        ValueError: If both bounds are missing, one is NaN, `low` is not less than `high`, or a
            bound does not broadcast to the shape of `values`.

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
    """Returns how far values decrease from one element to the next along an axis.

    With `d = values[k + 1] - values[k]` along the axis, the residual is `relu(-d)`, or `relu(d)` if
    values must decrease. Equal neighbours are allowed. For a prediction that is monotone in an
    input, where the rows have no order, use `positive` on the derivative.

    Args:
        values: Tensor of shape `(batch, ...)`, in any unit, with at least two elements on the axis.
        axis: The ordered axis, such as time or depth; not the batch.
        increasing: Whether values must not decrease; with `False` they must not increase.

    Returns:
        A tensor in the same unit, one shorter on the axis.

    Raises:
        TypeError: If the values are not floating, `axis` is not an integer or `increasing` not a
            bool.
        ValueError: If the axis is the batch, does not exist, or has less than two elements.

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
    """Returns the difference of values from their mean along an axis.

    Use it for a quantity that stays constant along an axis, such as the energy at several times.
    A balance of parts needs no function: `sum(inflows) - sum(outflows)` is its residual.

    Args:
        values: Tensor of shape `(batch, ...)`, in any unit, with at least two elements on the axis.
        axis: The axis along which the quantity is conserved; not the batch.

    Returns:
        A tensor of the same shape and unit, with mean 0 along the axis.

    Raises:
        TypeError: If the values are not floating, or `axis` is not an integer.
        ValueError: If the axis is the batch, does not exist, or has less than two elements.

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
        raise ValueError("`bounded` needs `low` or `high`. Received: low=None, high=None")
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
            raise ValueError(f"`{what}` must not be NaN. {received(what, bound)}")
    if len(numbers) == 2 and (numbers["low"] >= numbers["high"]).any():
        raise ValueError(f"`low` must be less than `high`. Received: low={low!r}, high={high!r}")


def _bound(what: str, bound: Any, values: Any) -> Any:
    tensor = ops.cast(ops.convert_to_tensor(bound), values.dtype)
    sizes = tuple(tensor.shape), tuple(values.shape)
    aligned = zip(reversed(sizes[0]), reversed(sizes[1]), strict=False)
    fits = len(sizes[0]) <= len(sizes[1]) and all(a in (1, b) or None in (a, b) for a, b in aligned)
    if not fits:
        raise ValueError(
            f"`{what}` must be a number, or broadcast to the shape of `values`. Received: {what} "
            f"of shape {sizes[0]} for values of shape {sizes[1]}"
        )
    return tensor


def _checked_axis(values: Any, axis: Any) -> int:
    shape = tuple(values.shape)
    if not is_whole(axis):
        raise TypeError(f"`axis` must be an integer. {received('axis', axis)}")
    if not -len(shape) <= axis < len(shape):
        raise ValueError(
            f"`axis` must be an axis of `values`. Received: axis={axis} for shape {shape}"
        )
    if axis % len(shape) == 0:
        raise ValueError(
            "`axis` must not be the batch: its rows have no order and must not depend on each "
            f"other. Received: axis={axis} for shape {shape}"
        )
    if shape[axis] is not None and shape[axis] < 2:
        raise ValueError(
            f"`axis` must have at least two elements. Received: axis={axis} for shape {shape}"
        )
    return int(axis)
