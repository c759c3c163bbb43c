"""Turns a user's argument into a schedule, and checks the weights that a schedule returns."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_physreg._utils.errors import received
from keras_physreg.schedules.staircases import Staircase
from keras_physreg.terms.weights import MAX_WEIGHT, MIN_WEIGHT


def as_schedule(name: str, value: Any) -> Callable[[Any], Any]:
    """Turns a list or 1-D array of weights into a schedule; returns callables unchanged.

    Args:
        name: Name of the term, for error messages.
        value: A schedule, a Keras `LearningRateSchedule`, any callable `time -> weight`, or a list
            or 1-D array with one weight per unit of time, the last of which stays.

    Returns:
        A callable from time to weight.

    Raises:
        TypeError: If the value is none of these.
        ValueError: If a list is empty or holds something that is not a weight.
    """
    if callable(value):
        return value
    if isinstance(value, list | tuple | np.ndarray):
        try:
            return Staircase(list(value), every=1)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"The list of weights of term '{name}' is not valid. {error}"
            ) from error
    raise TypeError(
        f"The schedule of term '{name}' must be a schedule, a callable `time -> weight` or a list "
        "of weights. Set a constant weight in the PhysicsTerm, or with set_term_weights. "
        + received("schedule", value)
    )


def weight_at(name: str, schedule: Callable[[Any], Any], time: int) -> float:
    """Returns the weight that a schedule gives at a time.

    Args:
        name: Name of the term, for error messages.
        schedule: A callable from time to weight.
        time: The time, in epochs or steps.

    Returns:
        The weight, finite and at least 0. A weight below the smallest one allowed becomes 0.

    Raises:
        TypeError: If the schedule did not return a number.
        ValueError: If it returned a vector, NaN, infinity or a negative number.
    """
    weight = schedule(time)
    wanted = f"The schedule of term '{name}' must return one number from 0 to {MAX_WEIGHT:g}."
    got = f"At time {time} it returned {weight!r} (of type {type(weight)})"
    try:
        value = np.asarray(ops.convert_to_numpy(weight))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{wanted} {got}") from error
    if value.dtype.kind not in "iuf":
        raise TypeError(f"{wanted} {got}")
    if value.shape:
        raise ValueError(f"{wanted} {got}, of shape {value.shape}")
    if not 0 <= float(value) <= MAX_WEIGHT:
        raise ValueError(f"{wanted} {got}")
    return float(value) if value >= MIN_WEIGHT else 0.0
