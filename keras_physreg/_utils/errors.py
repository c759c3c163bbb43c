"""The parts of error messages, and the checks of plain numbers that every room needs."""

import difflib
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

MAX_SHOWN = 300  # Characters of a value that a message shows.


def received(name: str, value: Any) -> str:
    """Returns the end of an error message, as Keras writes it.

    Example:
    >>> received("epochs", "3")
    "Received: epochs='3' (of type <class 'str'>)"
    """
    return f"Received: {name}={_shown(value)} (of type {type(value)})"


def _shown(value: Any) -> str:
    """Returns the representation of a value, cut where nobody would read it."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits.
        return "..."
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def did_you_mean(name: Any, known: Sequence[str]) -> str:
    """Returns ` Did you mean 'x'?` where one of the known names is near, else nothing."""
    near = difflib.get_close_matches(str(name), known, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def is_whole(value: Any) -> bool:
    """Returns whether a value is an integer, of Python or NumPy, and neither boolean nor array."""
    return (
        hasattr(value, "__index__")
        and not isinstance(value, bool | np.bool_)
        and not getattr(value, "ndim", 0)
    )


def whole_number(name: str, value: Any, minimum: int = 1, optional: bool = False) -> Any:
    """Returns an argument as an `int`, or raises.

    Args:
        name: Name of the argument.
        value: What was received.
        minimum: The least value allowed.
        optional: Whether `None` is allowed, and returned.

    Raises:
        TypeError: If `value` is no integer.
        ValueError: If it is less than `minimum`.
    """
    if value is None and optional:
        return None
    wanted = f"`{name}` must be an integer >= {minimum}{', or None' if optional else ''}. "
    if not is_whole(value):
        raise TypeError(wanted + received(name, value))
    if value < minimum:
        raise ValueError(f"{wanted}Received: {name}={value!r}")
    return int(value)


def boolean(name: str, value: Any) -> bool:
    """Returns an argument as a `bool`, or raises: `"no"` is true to Python."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False. {received(name, value)}")
    return bool(value)


def number(owner: str, name: str, value: Any) -> float:
    """Returns a finite number as a Python float, or raises."""
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
    """Returns whatever can be iterated over in an order of its own as a list, or raises."""
    if isinstance(value, str | bytes | dict | set | frozenset) or not isinstance(value, Iterable):
        raise TypeError(f"{owner}: `{name}` must be a list. {received(name, value)}")
    items = list(value)
    if not items and not may_be_empty:
        raise ValueError(f"{owner}: `{name}` must not be empty. {received(name, value)}")
    return items
