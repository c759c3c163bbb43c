"""Parts of error messages, and checks of numbers, booleans and lists."""

import difflib
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

MAX_SHOWN_CHARACTERS = 300  # Of a value in a message.


def received(name: str, value: Any) -> str:
    """Returns the end of an error message, as Keras writes it.

    Example:
    >>> received("epochs", "3")
    "Received: epochs='3' (of type <class 'str'>)"
    """
    return f"Received: {name}={_shown(value)} (of type {type(value)})"


def _shown(value: Any) -> str:
    """Returns the representation of a value, cut to a readable length."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print an integer of more than 4300 digits.
        return "..."
    if len(text) <= MAX_SHOWN_CHARACTERS:
        return text
    return f"{text[:MAX_SHOWN_CHARACTERS]}..."


def did_you_mean(name: Any, known: Sequence[str]) -> str:
    """Returns ` Did you mean 'x'?` if a known name is similar, else an empty string."""
    near = difflib.get_close_matches(str(name), known, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def is_whole(value: Any) -> bool:
    """Returns whether a value is an integer of Python or NumPy, and no boolean or array."""
    return (
        hasattr(value, "__index__")
        and not isinstance(value, bool | np.bool_)
        and not getattr(value, "ndim", 0)
    )


def whole_number(name: str, value: Any, minimum: int = 1, optional: bool = False) -> Any:
    """Returns an argument as an `int`, or raises.

    Args:
        name: Name of the argument.
        value: Value of the argument.
        minimum: The smallest value allowed.
        optional: Whether `None` is allowed; it is then returned.

    Raises:
        TypeError: If `value` is not an integer.
        ValueError: If `value` is less than `minimum`.
    """
    if value is None and optional:
        return None
    wanted = f"`{name}` must be an integer >= {minimum}{', or None' if optional else ''}. "
    if not is_whole(value):
        raise TypeError(wanted + received(name, value))
    if value < minimum:
        raise ValueError(wanted + received(name, value))
    return int(value)


def boolean(name: str, value: Any) -> bool:
    """Returns an argument as a `bool`, or raises: Python takes `"no"` for true."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False. {received(name, value)}")
    return bool(value)


def number(owner: str, name: str, value: Any) -> float:
    """Returns an argument that is a finite number as a Python float, or raises.

    Args:
        owner: What the argument belongs to, for the message.
        name: Name of the argument.
        value: Value of the argument.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{owner}: `{name}` must be a number. {received(name, value)}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueError(f"{owner}: `{name}` must be finite. {received(name, value)}")
    return result


def sequence(owner: str, name: str, value: Any, may_be_empty: bool = False) -> list[Any]:
    """Returns an ordered iterable as a list, or raises.

    Args:
        owner: What the argument belongs to, for the message.
        name: Name of the argument.
        value: Value of the argument.
        may_be_empty: Whether an empty one is allowed.
    """
    if isinstance(value, str | bytes | dict | set | frozenset) or not isinstance(value, Iterable):
        raise TypeError(f"{owner}: `{name}` must be a list. {received(name, value)}")
    items = list(value)
    if not items and not may_be_empty:
        raise ValueError(f"{owner}: `{name}` must not be empty. {received(name, value)}")
    return items
