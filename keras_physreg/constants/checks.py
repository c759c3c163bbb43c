"""Checks of the arguments of a constant."""

from typing import Any

import numpy as np

from keras_physreg._utils.errors import number, received
from keras_physreg._utils.vectors import MAX_MAGNITUDE, MIN_MAGNITUDE, beyond_float32, vector


def standardize_like(name: str, value: Any, what: str, initial: np.ndarray) -> np.ndarray | None:
    """Returns a bound or scale as a float64 array of the shape of `initial`, or raises.

    Args:
        name: Name of the constant, for messages.
        value: Number, sequence of numbers or `None`, which is returned.
        what: Name of the argument.
        initial: Array of the initial values.
    """
    if value is None:
        return None
    array = vector(f"constant '{name}'", what, value)
    if array.shape not in ((), initial.shape):
        raise ValueError(
            f"`{what}` of constant '{name}' must be a number, or have the shape {initial.shape} "
            f"of `initial`. {received(what, value)}"
        )
    return np.broadcast_to(array, initial.shape).copy()


def check_values(
    name: str,
    initial: np.ndarray,
    low: np.ndarray | None,
    high: np.ndarray | None,
    log: bool,
    dtype: str,
) -> None:
    """Raises unless the bounds are in order and `initial` lies between them.

    Args:
        name: Name of the constant, for messages.
        initial: Array of the initial values.
        low: Array of the same shape, or `None`.
        high: Array of the same shape, or `None`.
        log: Whether the logarithm is learned: all values must then be above 0.
        dtype: Dtype of the constant's variable, in which the values must differ.
    """
    of = f"of constant '{name}'"
    given = {"initial": initial, "low": low, "high": high}
    shown = ", ".join(f"{k}={None if v is None else v.tolist()}" for k, v in given.items())
    shown = f"Received: {shown}, log={log}"
    known = {what: array for what, array in given.items() if array is not None}
    if any(beyond_float32(array).any() for array in known.values()):
        raise ValueError(
            f"`initial`, `low` and `high` {of} must be 0 or within float32: {MIN_MAGNITUDE:g} to "
            f"{MAX_MAGNITUDE:g}. {shown}"
        )
    for what, array in known.items() if log else ():
        if (array <= 0).any():
            raise ValueError(
                f"`{what}` {of} must be above 0 with `log=True`, which takes its logarithm. Leave "
                f"out a bound of 0: with `log=True` the constant is always positive. {shown}"
            )
    if low is not None and high is not None and (low >= high).any():
        raise ValueError(f"`low` {of} must be less than `high`. {shown}")
    in_dtype = {what: array.astype(dtype) for what, array in known.items()}
    outside = ("low" in known and (in_dtype["low"] >= in_dtype["initial"]).any()) or (
        "high" in known and (in_dtype["initial"] >= in_dtype["high"]).any()
    )
    if outside:
        raise ValueError(
            f"`initial` {of} must lie between its bounds, and differ from them in {dtype}. {shown}"
        )


def check_scale(name: str, scale: np.ndarray | None) -> None:
    """Raises unless a scale is `None`, or above 0 and within float32."""
    if scale is not None and ((scale <= 0) | beyond_float32(scale)).any():
        raise ValueError(
            f"`scale` of constant '{name}' must be above 0, and within float32: "
            f"{MIN_MAGNITUDE:g} to {MAX_MAGNITUDE:g}. {received('scale', scale.tolist())}"
        )


def check_rate(name: str, rate: Any) -> float:
    """Returns the rate of a constant as a float; raises unless it is a number above 0."""
    value = number(f"Constant '{name}'", "rate", rate)
    if not MIN_MAGNITUDE <= value <= MAX_MAGNITUDE:
        raise ValueError(
            f"`rate` of constant '{name}' must be above 0, and within float32: "
            f"{MIN_MAGNITUDE:g} to {MAX_MAGNITUDE:g}. To fix a constant, give it "
            f"`trainable=False`. {received('rate', rate)}"
        )
    return value
