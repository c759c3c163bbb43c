"""Checks of the numbers that schedules are built from."""

from typing import Any

from keras_physreg._utils.errors import number, received
from keras_physreg.terms.weights import checked_weight

MAX_MOMENT = 2**53  # Beyond it float64 does not hold every whole number.


def positive_weight(owner: str, name: str, value: Any) -> float:
    """A weight above 0, as equal ratios need it."""
    if number(owner, name, value) <= 0:
        raise ValueError(
            f"{owner}: `{name}` must be above 0, because equal ratios never reach 0. "
            "The weight is 0 before `begin` in any case; use LinearRamp or CosineRamp to move "
            f"from or to 0. {received(name, value)}"
        )
    return checked_weight(owner, name, value)


def moment(owner: str, name: str, value: Any, minimum: int = 0) -> int | float:
    """A point or span of time; whole numbers become ints, whose arithmetic is exact."""
    result = number(owner, name, value)
    if result < minimum:
        raise ValueError(f"{owner}: `{name}` must be at least {minimum}. {received(name, value)}")
    if result > MAX_MOMENT:
        raise ValueError(f"{owner}: `{name}` must be at most 2**53. {received(name, value)}")
    return int(value) if result.is_integer() else result
