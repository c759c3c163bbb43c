"""The scale of a term: it makes deviations, and so the loss and its weight, dimensionless."""

from typing import Any

import numpy as np
from keras import ops

from keras_physreg._utils.vectors import MAX_MAGNITUDE, MIN_MAGNITUDE, beyond_float32, vector

Scale = float | tuple[float, ...] | None


def standardize_scale(term_name: str, scale: Any) -> Scale:
    """Returns a scale as a float, or as a tuple of floats for the last axis.

    Args:
        term_name: Name of the term, for messages.
        scale: A number above 0, a sequence or an array of shape `(components,)` of them, or `None`.

    Raises:
        TypeError: If it does not hold numbers.
        ValueError: If a number is not above 0 and within float32, or the array has several axes.
    """
    if scale is None:
        return None
    owner = f"physics term '{term_name}'"
    values = vector(owner, "scale", scale)
    wrong = np.flatnonzero((values <= 0) | beyond_float32(values))
    if wrong.size:
        which = f" at component {wrong[0]}" if values.ndim else ""
        raise ValueError(
            f"`scale` of {owner} must be above 0, and within float32 ({MIN_MAGNITUDE:g} to "
            f"{MAX_MAGNITUDE:g}), but is {values.flat[wrong[0]]}{which}. A column that never "
            "changes has a standard deviation of 0: give it a scale of its own."
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
