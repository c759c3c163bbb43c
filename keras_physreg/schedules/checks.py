"""Checks of the arguments of schedules."""

from typing import Any

from keras_physreg._utils.errors import number, received
from keras_physreg.terms.weights import checked_weight

MAX_MOMENT = 2**53  # Above it float64 does not represent every integer.


def positive_weight(owner: str, name: str, value: Any) -> float:
    """Returns a weight above 0, which equal ratios need, as a float; or raises."""
    if number(owner, name, value) <= 0:
        raise ValueError(
            f"{owner}: `{name}` must be above 0, because equal ratios never reach 0. The weight is "
            "0 before `begin` anyway; to start or end at 0 use LinearRamp or CosineRamp. "
            + received(name, value)
        )
    return checked_weight(owner, name, value)


def moment(owner: str, name: str, value: Any, minimum: int = 0) -> int | float:
    """Returns a time or duration, or raises; whole numbers as ints, whose arithmetic is exact."""
    result = number(owner, name, value)
    if result < minimum:
        raise ValueError(f"{owner}: `{name}` must be at least {minimum}. {received(name, value)}")
    if result > MAX_MOMENT:
        raise ValueError(f"{owner}: `{name}` must be at most 2**53. {received(name, value)}")
    return int(value) if result.is_integer() else result
