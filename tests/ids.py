"""Readable ids of parametrised tests: what an argument holds, in place of `arguments3`."""

import functools

import numpy as np

MAX_LENGTH = 60
BRACKETS = {list: "[]", set: "{}"}


def id_of(value):
    """Returns the id of an argument; `None` leaves it to pytest: numbers, short text, functions."""
    if isinstance(value, str):
        return _short(value) if len(value) > MAX_LENGTH else None
    by_pytest = value is None or isinstance(value, bool | int | float | complex | type)
    return None if by_pytest or hasattr(value, "__name__") else _short(_text(value))


def _text(value):
    if isinstance(value, dict):
        return ", ".join(f"{key}={_text(part)}" for key, part in value.items()) or "nothing"
    if isinstance(value, list | tuple | set):
        opening, closing = BRACKETS.get(type(value), "()")
        return f"{opening}{', '.join(map(_text, value))}{closing}"
    if isinstance(value, np.ndarray):
        return f"array{value.shape}" if value.size > 4 else f"array({value.tolist()})"
    if isinstance(value, functools.partial):
        return _text(value.func)
    return getattr(value, "__name__", None) or _of_object(value)


def _of_object(value):
    """What an object is by itself, unless that is an address, which differs between workers."""
    try:
        text = repr(value)
    except ValueError:  # An integer of more digits than Python writes.
        text = "<"
    return type(value).__name__ if " at 0x" in text or "<" in text else text


def _short(text):
    text = " ".join(text.split())
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."
