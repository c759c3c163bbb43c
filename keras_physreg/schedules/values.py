"""Whatever a user may give as a schedule, and the weight that it gives, checked."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_physreg._utils.errors import received
from keras_physreg.schedules.staircases import Staircase
from keras_physreg.terms.weights import MAX_WEIGHT, MIN_WEIGHT


def as_schedule(name: str, value: Any) -> Callable[[Any], Any]:
    """Turns a list or 1-D array of weights into a schedule; leaves callables as they are.

    Args:
        name: Name of the term, for error messages.
        value: A schedule, a Keras `LearningRateSchedule`, any callable `time -> weight`, or a list
            or 1-D array with one weight per unit of time, the last of which stays.

    Returns:
        A callable from time to weight.

    Raises:
        TypeError: If the value is none of these.
        ValueError: If a list is empty or holds something that cannot be a weight.
    """
    if callable(value):
        return value
    if isinstance(value, list | tuple | np.ndarray):
        try:
            return Staircase(list(value), every=1)
        except (TypeError, ValueError) as error:
            raise type(error)(f"The weights of term '{name}' are no schedule. {error}") from error
    raise TypeError(
        f"Term '{name}' needs a schedule, a callable `time -> weight` or a list of weights; "
        "a weight that does not move is set once, in the PhysicsTerm or by set_term_weights. "
        + received("schedule", value)
    )


def weight_at(name: str, schedule: Callable[[Any], Any], time: int) -> float:
    """Returns the weight that a schedule gives at a time.

    Args:
        name: Name of the term, for error messages.
        schedule: A callable from time to weight.
        time: The time, in epochs or steps.

    Returns:
        The weight: finite and at least 0; what is closer to 0 than a weight can be becomes 0.

    Raises:
        TypeError: If the schedule returned something that is no number.
        ValueError: If it returned a vector, NaN, infinity or a negative number.
    """
    weight = schedule(time)
    source = f"The schedule of term '{name}' must return one number, 0 or above."
    told = f"At time {time} it returned {weight!r} (of type {type(weight)})"
    try:
        value = np.asarray(ops.convert_to_numpy(weight))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{source} {told}") from error
    if value.dtype.kind not in "iuf":
        raise TypeError(f"{source} {told}")
    if value.shape:
        raise ValueError(f"{source} {told}, of shape {value.shape}")
    if not 0 <= float(value) <= MAX_WEIGHT:
        raise ValueError(f"{source} {told}")
    return float(value) if value >= MIN_WEIGHT else 0.0
