"""Which numbers can be the weight of a term."""

from typing import Any

from keras_physreg._utils.errors import number, received

# Within float32, whose smallest normal number is 1.2e-38 and whose largest one is 3.4e38.
MIN_WEIGHT, MAX_WEIGHT = 1e-37, 1e37


def check_weight(term: str, value: Any) -> float:
    """Returns the weight of a term as a float, or raises if it is no finite number >= 0.

    Args:
        term: Name of the term.
        value: What was received as its weight.
    """
    return checked_weight(f"Physics term '{term}'", "weight", value)


def checked_weight(owner: str, name: str, value: Any) -> float:
    """Returns an argument that is a weight as a float, or raises.

    Args:
        owner: What the argument belongs to, for the message.
        name: Name of the argument.
        value: What was received.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is negative, not finite, or beyond float32.
    """
    result = number(owner, name, value)
    if result != 0 and not MIN_WEIGHT <= result <= MAX_WEIGHT:
        raise ValueError(
            f"{owner}: `{name}` must be 0 (off), or above 0 and within float32: "
            f"{MIN_WEIGHT:g} to {MAX_WEIGHT:g}. {received(name, value)}"
        )
    return result
