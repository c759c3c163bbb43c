"""Checks of term weights."""

from typing import Any

from keras_physreg._utils.errors import number, received

# Within float32, whose smallest normal number is 1.2e-38 and whose largest number is 3.4e38.
MIN_WEIGHT, MAX_WEIGHT = 1e-37, 1e37


def check_weight(term: str, value: Any) -> float:
    """Returns the weight of a term as a float, or raises as `checked_weight` does.

    Args:
        term: Name of the term.
        value: The weight received.
    """
    return checked_weight(f"Physics term '{term}'", "weight", value)


def checked_weight(owner: str, name: str, value: Any) -> float:
    """Returns an argument that is a weight as a float, or raises.

    Args:
        owner: What the argument belongs to, for the message.
        name: Name of the argument.
        value: Value of the argument.

    Raises:
        TypeError: If `value` is not a number.
        ValueError: If `value` is negative, not finite, or outside the range of float32.
    """
    result = number(owner, name, value)
    if result != 0 and not MIN_WEIGHT <= result <= MAX_WEIGHT:
        raise ValueError(
            f"{owner}: `{name}` must be 0 (off), or between {MIN_WEIGHT:g} and {MAX_WEIGHT:g}, "
            f"within float32. {received(name, value)}"
        )
    return result
