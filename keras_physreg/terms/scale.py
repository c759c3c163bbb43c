"""The scale of a term: it makes deviations, and so the loss and its weight, dimensionless."""

from typing import Any

import numpy as np
from keras import ops

from keras_physreg._utils.errors import received

Scale = float | tuple[float, ...] | None


def standardize_scale(term_name: str, scale: Any) -> Scale:
    """Returns a scale as a float, or as a tuple of floats for the last axis.

    Args:
        term_name: Name of the term, for messages.
        scale: A number above 0, a sequence or an array of shape `(components,)` of them, or `None`.

    Raises:
        TypeError: If it does not hold numbers.
        ValueError: If a number is not above 0 and finite, or the array has more than one axis.
    """
    if scale is None:
        return None
    of = f"`scale` of physics term '{term_name}'"
    values = np.asarray(scale)
    if values.dtype.kind not in "iuf":
        raise TypeError(
            f"{of} must be a number above 0, or one per component of the output, such as "
            f"`x.std(axis=0)`. {received('scale', scale)}"
        )
    if values.ndim > 1 or not values.size:
        raise ValueError(
            f"{of} must be a number, or an array with one number per component of the output: of "
            f"shape (components,). Received: scale of shape {values.shape}"
        )
    values = values.astype("float64")
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)).reshape(-1))
    if wrong.size:
        which = f" at component {wrong[0]}" if values.ndim else ""
        raise ValueError(
            f"{of} must be above 0 and finite, but is {values.reshape(-1)[wrong[0]]}{which}. A "
            "column that never changes has a standard deviation of 0: give it a scale of its own."
        )
    return tuple(values.tolist()) if values.ndim else float(values)


def scaled(term_name: str, scale: Scale, output: Any, reference: Any) -> tuple[Any, Any]:
    """Returns output and reference in units of the scale.

    Args:
        term_name: Name of the term, for messages.
        scale: What `standardize_scale` returned.
        output: The physics output, of shape `(batch, ...)`.
        reference: What it is compared with, of the same shape.

    Raises:
        ValueError: If the scale has another length than the last axis of the output.
    """
    if scale is None:
        return output, reference
    shape = tuple(output.shape)
    if isinstance(scale, tuple) and (len(shape) < 2 or shape[-1] != len(scale)):
        raise ValueError(
            f"`scale` of physics term '{term_name}' has {len(scale)} numbers, but its output has "
            f"shape {shape}. Give one number, or one per component on the last axis."
        )
    divisor = ops.convert_to_tensor(np.asarray(scale), dtype=output.dtype)
    return output / divisor, reference / divisor
