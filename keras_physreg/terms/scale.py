"""The scale of a loss: it makes deviations, and so the loss and its weight, dimensionless."""

from typing import Any, Literal

import numpy as np
from keras import ops

from keras_physreg._utils.errors import received
from keras_physreg._utils.vectors import MAX_MAGNITUDE, MIN_MAGNITUDE, beyond_float32, vector
from keras_physreg.terms import references

AUTO: Literal["auto"] = "auto"
Numbers = float | tuple[float, ...]
Scale = Numbers | Literal["auto"] | None


def numbers_of_scale(owner: str, scale: Any) -> Numbers:
    """Returns a scale as a float, or as a tuple of floats for the last axis.

    Args:
        owner: What the scale belongs to, for messages: "physics term 'x'".
        scale: A number above 0, or a sequence or an array of shape `(components,)` of them.

    Raises:
        TypeError: If it does not hold numbers.
        ValueError: If a number is not above 0 and within float32, or the array has several axes.
    """
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


def standardize_scale(owner: str, scale: Any, reference: str | None) -> Scale:
    """Returns the scale of a term: numbers, `"auto"` or `None`; or raises.

    Args:
        owner: The term, for messages: "physics term 'x'".
        scale: As in `numbers_of_scale`, `"auto"` or `None`.
        reference: The reference of the term.

    Raises:
        TypeError: If it is something else.
        ValueError: If the numbers are not valid, or there is nothing to take `"auto"` from.
    """
    if scale is None:
        return None
    if not isinstance(scale, str):
        return numbers_of_scale(owner, scale)
    if scale != AUTO:
        raise TypeError(
            f"`scale` of {owner} must be a number, one number per component, 'auto' or None. "
            + received("scale", scale)
        )
    if references.root(reference) not in ("input", "target"):
        has = "is a residual" if reference is None else "compares with the prediction"
        raise ValueError(
            f"`scale='auto'` of {owner} is the standard deviation of an input or a label, but the "
            f"term {has}. Give a number in the unit of the output: what a deviation of 1 means, "
            f"such as `scale=x.std(axis=0)`. {received('reference', reference)}"
        )
    return AUTO


def divided(owner: str, scale: Scale, tensor: Any, what: str = "output") -> Any:
    """Returns a tensor in units of a scale.

    Args:
        owner: What the scale belongs to, for messages.
        scale: What `numbers_of_scale` or `standardize_scale` returned.
        tensor: Tensor of shape `(batch, ...)`.
        what: What the tensor is, for messages.

    Raises:
        ValueError: If the scale has another length than the last axis, or is not known yet.
    """
    if scale is None:
        return tensor
    if scale == AUTO:
        raise ValueError(
            f"`scale='auto'` of {owner} is not known yet: it is the standard deviation of the "
            "reference on the data of the first training. Train first, by `fit` of a "
            "`PhysicsModel`, `ReplicaTrainer` or `sanity_sweep`; or give numbers, such as "
            "`scale=x.std(axis=0)`."
        )
    shape = tuple(tensor.shape)
    if isinstance(scale, tuple) and (len(shape) < 2 or shape[-1] != len(scale)):
        raise ValueError(
            f"`scale` of {owner} has {len(scale)} numbers, but its {what} has shape {shape}. Give "
            "one number, or one per component on the last axis."
        )
    return tensor / ops.convert_to_tensor(np.asarray(scale), dtype=tensor.dtype)
